"""Write the teacher's logits of every sample into shards.  Labelling is not training: no labeler waits for another.

Each split has a plan.  Shards are numbered through all plans, so that a labeler is sent one number; it holds a whole
merged teacher and finds plans and tokens in the run folder.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from ckd_dist.files import hash_file
from ckd_dist.models.base import load_tokenizer
from ckd_dist.models.fingerprint import fingerprint, fingerprint_tokenizer
from ckd_dist.models.predict import load_classifier, predict_logits
from ckd_dist.schema import SPLITS
from ckd_dist.softlabels.generate import generate
from ckd_dist.softlabels.plan import LabelSource, Plan, make_plan
from ckd_dist.softlabels.plans import find
from ckd_dist.softlabels.read import read_labels
from ckd_dist.studies.disease.prompts.exchange import import_soft_labels
from ckd_dist.studies.disease.rows import read_table
from ckd_dist.studies.disease.runfolder import DiseaseRun

Predict = Callable[[str, np.ndarray], np.ndarray]  # (split, sample ids) -> raw logits [N, K]


@dataclass(frozen=True)
class Labelling:
    """Whose soft labels are written, and how they are cut into shards."""

    import_from: str | None  # file of another teacher's soft labels; none: by the run's own teacher
    dtype: str  # of stored logits
    shard_rows: int
    order_seed: int
    micro_tokens: int  # padded tokens in a forward pass


def plan_labels(run: DiseaseRun, labelling: Labelling, tokenizer: str) -> dict[str, Plan]:
    """Plan what is to be labelled, by split; a split without samples has no plan.  tokenizer: the teacher's folder.

    Imported soft labels are of train alone, so the report of such a run has no teacher.
    """
    plans, names, teacher = {}, tuple(run.label_names()), teacher_of(run, labelling.import_from)
    for split in ("train",) if labelling.import_from else SPLITS:
        table = read_table(run, split, "teacher")
        if len(table):
            prompts = hash_file(run.tokens(split, "teacher"))
            plans[split] = make_plan(
                table.sample_id_N,
                LabelSource(names, prompts, fingerprint_tokenizer(tokenizer), teacher),
                split=split,
                shard_rows=labelling.shard_rows,
                order_seed=labelling.order_seed,
                dtype=labelling.dtype,
            )
    return plans


def teacher_of(run: DiseaseRun, import_from: str | None) -> str:
    """Return the fingerprint of the teacher, or of the file that soft labels are imported from."""
    return hash_file(Path(import_from)) if import_from else fingerprint(run.teacher)


class Labeler:
    """One worker with a whole teacher, or with the imported soft labels."""

    def __init__(
        self, run: DiseaseRun, labelling: Labelling, planned: dict[str, Plan], dtype: str, tokenizer: str, device: str
    ) -> None:
        """dtype: of the teacher's weights.  tokenizer: the teacher's folder."""
        self.run, self.planned = run, planned
        if labelling.import_from:
            self.predict = predict_by_import(labelling.import_from, planned["train"])
        else:
            self.predict = predict_by_teacher(run, planned, labelling.micro_tokens, dtype, tokenizer, device)

    def do(self, number: int) -> None:
        """Label shard `number`, counted through all plans, and publish it.  Twice is harmless."""
        split, plan, shard = find(self.planned, number)
        generate(plan, self.run.softlabels, [shard], partial(self.predict, split))


def predict_by_teacher(
    run: DiseaseRun, planned: Iterable[str], micro_tokens: int, dtype: str, tokenizer: str, device: str
) -> Predict:
    """Load the trained teacher, and return its predictions.  planned: the splits that will be asked for."""
    model = load_classifier(run.teacher, getattr(torch, dtype), device)
    pad_id = load_tokenizer(tokenizer).pad_token_id
    tables = {split: read_table(run, split, "teacher") for split in planned}

    def predict(split: str, sample_ids: np.ndarray) -> np.ndarray:
        rows = np.searchsorted(tables[split].sample_id_N, sample_ids)
        return predict_logits(model, tables[split], rows, micro_tokens=micro_tokens, pad_id=pad_id, device=device)

    return predict


def predict_by_import(file: str, plan: Plan) -> Predict:
    """Read soft labels of another teacher in CKD-EHR's form, a row a sample of train in order; return its predictions.

    Raises ValueError where the file has other rows than train.
    """
    probabilities_NK = import_soft_labels(Path(file), plan.names)
    if len(probabilities_NK) != plan.num_rows:
        raise ValueError(f"{file} has {len(probabilities_NK)} rows, train has {plan.num_rows} samples")
    clipped_NK = probabilities_NK.clip(1e-6, 1 - 1e-6)
    logits_NK = np.log(clipped_NK / (1 - clipped_NK)).astype(np.float32)
    sample_id_N = np.sort(plan.sample_id_N)
    return lambda split, sample_ids: logits_NK[np.searchsorted(sample_id_N, sample_ids)]


def read_soft_labels(run: DiseaseRun, import_from: str | None, plan_hash: str) -> tuple[np.ndarray, np.ndarray]:
    """Read sample_id_N in plan order and raw logits_NK of a finished set, by this teacher for these labels.

    import_from: the file that they were imported from; none: they are the run's own teacher's.
    """
    sample_id_N, logits_NK = read_labels(run.softlabels, plan_hash, run.label_names(), teacher_of(run, import_from))
    return sample_id_N, logits_NK.astype(np.float32)
