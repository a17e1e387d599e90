"""Find visits that two runs share, whatever path their tables lie under: by subject and time, not by id alone.

Subject ids of two hospitals may be the same by chance; that the same subject was discharged at the same second is not.
"""

from collections.abc import Sequence

import polars as pl

from ckd_dist.studies.disease.runfolder import DiseaseRun

KEYS = ("subject_id", "prediction_time")
CHANCE = 0.01  # share of visits that two hospitals may have in common by chance


def shared_visits(mine: DiseaseRun, splits: Sequence[str], other: DiseaseRun, theirs: Sequence[str]) -> float:
    """Return the share of the visits of my `splits` that are among the other run's, of its splits `theirs`."""
    visits, known = _visits(mine, splits), _visits(other, theirs)
    return visits.join(known, on=KEYS, how="semi").height / max(1, visits.height)


def reads_the_same(mine: DiseaseRun, other: DiseaseRun) -> bool:
    """Say whether the other run learned from visits that this one learns from too."""
    return shared_visits(mine, ("train",), other, ("train",)) > CHANCE


def _visits(run: DiseaseRun, splits: Sequence[str]) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(run.samples(split), columns=list(KEYS)) for split in splits])
