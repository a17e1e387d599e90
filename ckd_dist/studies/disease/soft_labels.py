"""Read the soft labels of a run, which stage label wrote: in the order of plans to learn from, or of tables to score.

A split has a plan for each fold (label.py).

    N rows, K labels
"""

from collections.abc import Iterable, Mapping

import numpy as np

from ckd_dist.softlabels.plan import Plan
from ckd_dist.softlabels.read import open_plan, read_labels
from ckd_dist.studies.disease.runfolder import DiseaseRun
from ckd_dist.studies.disease.teacher import Teachers


def open_plans(run: DiseaseRun, teachers: Teachers, plans: Mapping[str, str], split: str) -> list[Plan]:
    """Read a split's plans, one a fold; none where it has no soft labels.

    plans: name -> hash, as the record of stage label has them.  Raises ShardError where one is for other labels or by
    another teacher.
    """
    opened = [Plan.open(run.softlabels, plan_hash) for plan_hash in _hashes_of(plans, split)]
    names = run.label_names()
    return [open_plan(run.softlabels, plan, names, teachers.fingerprint(plan.source.fold)) for plan in opened]


def read_soft_labels(run: DiseaseRun, plans: Iterable[Plan]) -> tuple[np.ndarray, np.ndarray]:
    """Read sample_id_N and raw logits_NK, float32, of finished plans; of no plan, no row.

    Rows of several folds stand in turns, each fold's in its plan's order, so that whoever reads them in this order
    meets all teachers all the time.
    """
    names = run.label_names()
    read = [read_labels(run.softlabels, plan, names) for plan in plans]
    none = np.zeros(0, np.int64), np.zeros((0, len(names)), np.float32)
    sample_id_N, logits_NK = (np.concatenate(part) for part in zip(none, *read, strict=True))
    places_N = np.concatenate([none[0], *(np.arange(len(ids)) / len(ids) for ids, _ in read)])
    order_N = np.argsort(places_N, kind="stable")
    return sample_id_N[order_N], logits_NK[order_N].astype(np.float32)


def read_in_order(run: DiseaseRun, plans: Iterable[Plan]) -> np.ndarray:
    """Read raw logits of finished plans in the order of sample ids, which is that of the tables: float32 [N, K]."""
    sample_id_N, logits_NK = read_soft_labels(run, plans)
    return logits_NK[np.argsort(sample_id_N)]


def _hashes_of(plans: Mapping[str, str], split: str) -> list[str]:
    """Return the hashes of a split's plans, one a fold.  plans: name -> hash, as the record of stage label has them.

    >>> _hashes_of({"train.fold_0": "a1", "tuning.fold_0": "b2", "train.fold_1": "c3"}, "train")
    ['a1', 'c3']
    """
    return [plan_hash for name, plan_hash in plans.items() if name.partition(".")[0] == split]
