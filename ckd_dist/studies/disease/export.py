"""A run's prompts and soft labels as CKD-EHR's own files, for those who train with its scripts.

OUT/prompts_<split>.jsonl     instruction, input, output a line; whole records, no budget
OUT/soft_labels.json          a {disease: probability} for every line of prompts_train.jsonl, once labelled
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import polars as pl

from ckd_dist.config import Label, Prompt
from ckd_dist.report.calibrate import sigmoid
from ckd_dist.schema import SPLITS, Run
from ckd_dist.studies.disease import label
from ckd_dist.studies.disease.prompts.exchange import Row, export_jsonl, export_soft_labels, published_names
from ckd_dist.studies.disease.prompts.knowledge import Knowledge
from ckd_dist.studies.disease.prompts.render import lay_out, question
from ckd_dist.studies.disease.prompts.write import records


def export(
    run: Run,
    out: Path,
    names: list[str],
    name_of: Callable[[str], str],
    prompt: Prompt,
    labels: Label,
    plans: Mapping[str, str],
) -> dict[str, int]:
    """Write the files; return how many rows each has.  plans: split -> plan hash of finished soft labels, if any."""
    out.mkdir(parents=True, exist_ok=True)
    knowledge = Knowledge.load(run.knowledge) if prompt.efficacies else None
    theirs, instruction, counts = published_names(names), question(published_names(names)), {}
    for split in SPLITS:
        samples = pl.read_parquet(run.samples(split))
        chunks = records(samples, names, name_of, prompt, knowledge)
        texts = (lay_out(each.record).text for chunk in chunks for each in chunk)
        known = (None if bits is None else tuple(bits) for bits in samples["labels"].to_list())
        rows = (Row(instruction, text, bits) for text, bits in zip(texts, known, strict=True))
        counts[f"prompts_{split}.jsonl"] = export_jsonl(out / f"prompts_{split}.jsonl", rows, theirs)
    if "train" in plans:
        sample_id_N, logits_NK = label.read(run, labels, plans["train"], names)
        export_soft_labels(out / "soft_labels.json", sigmoid(logits_NK[np.argsort(sample_id_N)]), theirs)
        counts["soft_labels.json"] = len(sample_id_N)
    return counts
