"""Write a run's prompts and soft labels as CKD-EHR's own files, for those who train with its scripts.

OUT/prompts_<split>.jsonl     instruction, input, output a line; whole records, no budget
OUT/soft_labels.json          a {disease: probability} for every line of prompts_train.jsonl, once labelled
"""

from collections.abc import Mapping
from pathlib import Path

from ckd_dist.report.calibrate import sigmoid
from ckd_dist.schema import SPLITS
from ckd_dist.studies.disease.prompts.exchange import Row, export_jsonl, export_soft_labels, published_names
from ckd_dist.studies.disease.prompts.render import lay_out, question
from ckd_dist.studies.disease.prompts.write import Rendering, render_samples
from ckd_dist.studies.disease.runfolder import DiseaseRun
from ckd_dist.studies.disease.seen import Seen, read_samples
from ckd_dist.studies.disease.soft_labels import open_plans, read_in_order
from ckd_dist.studies.disease.teacher import Teachers


def export_published(
    run: DiseaseRun,
    out: Path,
    rendering: Rendering,
    teachers: Teachers,
    plans: Mapping[str, str],
    seen: Seen,
) -> dict[str, int]:
    """Write the files; return how many rows each has.

    plans: name -> plan hash of finished soft labels, if any.  seen: labels that are written as answers.
    """
    out.mkdir(parents=True, exist_ok=True)
    names = published_names(rendering.label_names)
    instruction, counts = question(names), {}
    for split in SPLITS:
        samples = read_samples(run, split, seen)
        texts = (lay_out(sample.record).text for chunk in render_samples(samples, rendering) for sample in chunk)
        known = (None if bits is None else tuple(bits) for bits in samples["labels"].to_list())
        rows = (Row(instruction, text, bits) for text, bits in zip(texts, known, strict=True))
        counts[f"prompts_{split}.jsonl"] = export_jsonl(out / f"prompts_{split}.jsonl", rows, names)
    if labelled := open_plans(run, teachers, plans, "train"):
        logits_NK = read_in_order(run, labelled)
        export_soft_labels(out / "soft_labels.json", sigmoid(logits_NK), names)
        counts["soft_labels.json"] = len(logits_NK)
    return counts
