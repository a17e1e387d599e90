"""Let a teacher predict the labelled tuning pairs that its student's hospital sees, then judge it and say the verdict.

Its logits are kept as shards like any soft labels, of a plan of their own that has these rows alone: so it is as quick
as the labels are few, runs wherever labelling runs, and a second look at the same teacher predicts nothing.
"""

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import polars as pl

from ckd_dist.softlabels.plan import Plan, make_plan
from ckd_dist.softlabels.read import read_labels
from ckd_dist.studies.disease.report.validation import Validation, sentence
from ckd_dist.studies.disease.runfolder import DiseaseRun

Key = TypeVar("Key")


def plan_validation(plans: Mapping[Key, Plan], labelled: pl.DataFrame) -> dict[Key, Plan]:
    """Plan the prediction of labelled tuning pairs, by the key of the plan that labels them; none without a pair.

    plans: of all that the teacher labels.  labelled: samples of tuning that have labels.
    """
    wanted = labelled["sample_id"].to_numpy()
    chosen = {}
    for key, plan in plans.items():
        ids = np.intersect1d(plan.sample_id_N, wanted)
        if plan.split == "tuning" and len(ids):
            settings = {"shard_rows": plan.shard_rows, "order_seed": plan.order_seed, "dtype": plan.dtype}
            chosen[key] = make_plan(ids, plan.source, split="tuning", **settings)
    return chosen


def read_logits(run: DiseaseRun, plans: Mapping[Key, Plan]) -> np.ndarray:
    """Read the teacher's raw logits in the order of sample ids, float32 [N, K]."""
    names = run.label_names()
    parts = [read_labels(run.softlabels, plan, names, plan.source.teacher) for plan in plans.values()]
    none = np.zeros(0, np.int64), np.zeros((0, len(names)), np.float32)
    sample_id_N, logits_NK = (np.concatenate(each) for each in zip(none, *parts, strict=True))
    return logits_NK[np.argsort(sample_id_N)].astype(np.float32)


def check_gate(found: Validation, gate: str) -> None:
    """Raise ValueError where `gate` is "refuse" and the teacher is not clearly better than the expectation."""
    if gate == "refuse" and not found.passes:
        raise ValueError(
            f"{sentence(found)}; label.gate=refuse stops before a label is made: give the teacher more labels or other "
            "patients, or set label.gate=say to go on with this one; what is done is kept"
        )


def check_judgeable(num_pairs: int) -> None:
    """Raise ValueError where the gate would refuse any teacher: it has no labelled tuning pair to judge it by."""
    if not num_pairs:
        check_gate(Validation(0, 0, {}, None, "none"), "refuse")
