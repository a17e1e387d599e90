"""Subjects and their visits, drawn from the law.  Plain arrays; tables.py writes them down.

    S subjects, V recorded visits (by subject, then time), K phenotypes in the order of the catalogue

A visit's phenotypes are drawn from `law.next_visit` of what the record of the visits before says, and from nothing
else.  About half of the present phenotypes get a drug that works and half, independently, one that does not, whatever
else the patient has: so a drug's own effect can be read off the record.  Whether there is a next visit, and when, is
noise.
"""

from dataclasses import dataclass, fields

import numpy as np

from ckd_dist.hospital import law
from ckd_dist.hospital.catalogue import PHENOTYPES

UNRECORDED = 6  # visits before the first recorded one, so that the first looks like the rest
MAX_VISITS = 30
DEATH = 0.05  # of visits end in it
SAME_DAY = 0.03  # of next visits are a transfer
TREATED = 0.55  # of present phenotypes get a drug that works
DECOYED = 0.5  # of present phenotypes, independently, get one that does not

EPOCH = np.datetime64("2101-01-01T00:00", "m")
MINUTE, DAY = np.timedelta64(1, "m"), np.timedelta64(24 * 60, "m")
DAYS_PER_YEAR = 365.25

K = len(PHENOTYPES)
EFFICACY_KD = np.array([[efficacy for _, efficacy in p.effective] for p in PHENOTYPES])


@dataclass(frozen=True)
class Visits:
    """Recorded visits, one row each."""

    subject_V: np.ndarray  # row of the subject
    admitted_V: np.ndarray  # datetime64[m]
    discharged_V: np.ndarray  # datetime64[m], later than admitted; the time of death where the visit ends in it
    died_V: np.ndarray  # bool
    present_VK: np.ndarray  # bool
    drug_VK: np.ndarray  # which effective drug was given, -1 none
    decoy_VK: np.ndarray  # bool


@dataclass(frozen=True)
class Subjects:
    birth_S: np.ndarray  # datetime64[m], at midnight
    female_S: np.ndarray  # bool
    visits: Visits


def simulate(num_subjects: int, mean_visits: float, rng: np.random.Generator) -> Subjects:
    """Draw subjects and all their visits; `mean_visits` counts the visits that end in death."""
    admitted_S = EPOCH + rng.integers(0, 90 * 365 * 24 * 60, num_subjects) * MINUTE
    age_S = np.clip(rng.normal(63, 15, num_subjects), 18, 95)
    birth_S = (admitted_S - (age_S * DAYS_PER_YEAR).astype(int) * DAY).astype("datetime64[D]").astype("datetime64[m]")
    female_S = rng.random(num_subjects) < 0.45

    go_on = min(1.0, (1 - 1 / mean_visits) / (1 - DEATH))  # so that the number of visits is geometric with that mean
    row_A = np.arange(num_subjects)  # A: subjects that have a visit number `number`
    present_AK, earlier_AK = _unrecorded(age_S, rng), np.zeros((num_subjects, K), dtype=bool)
    recorded: list[Visits] = []
    while len(row_A) and len(recorded) < MAX_VISITS:
        visits = _visits(row_A, admitted_S[row_A], present_AK, rng)
        recorded.append(visits)
        next_AK = _next_phenotypes(visits, earlier_AK, birth_S[row_A], rng)
        stays_A = ~visits.died_V & (rng.random(len(row_A)) < go_on)
        admitted_S[row_A] = _next_admission(visits.discharged_V, rng)
        row_A, earlier_AK, present_AK = row_A[stays_A], present_AK[stays_A], next_AK[stays_A]
    return Subjects(birth_S, female_S, _by_subject(recorded))


def years(birth: np.ndarray, when: np.ndarray) -> np.ndarray:
    """Return the age in years, float64."""
    return (when - birth) / DAY / DAYS_PER_YEAR


def _unrecorded(age_S: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Phenotypes of the first recorded visit: where some visits from health lead to."""
    present_SK = earlier_SK = np.zeros((len(age_S), K), dtype=bool)
    for _ in range(UNRECORDED):
        drug_SK = _treat(present_SK, rng)
        probability_SK = law.next_visit(present_SK, earlier_SK, _efficacy(drug_SK), age_S)
        present_SK, earlier_SK = rng.random(present_SK.shape) < probability_SK, present_SK
    return present_SK


def _visits(row_V: np.ndarray, admitted_V: np.ndarray, present_VK: np.ndarray, rng: np.random.Generator) -> Visits:
    """One visit of each of these subjects: a stay of some nights, discharge by day, treatment."""
    nights_V = np.clip(rng.lognormal(1.6, 0.7, len(row_V)), 1, 60).astype(int)
    discharged_V = (
        admitted_V.astype("datetime64[D]") + nights_V * DAY + rng.integers(10 * 60, 17 * 60, len(row_V)) * MINUTE
    )
    return Visits(
        subject_V=row_V,
        admitted_V=admitted_V,
        discharged_V=discharged_V,
        died_V=rng.random(len(row_V)) < DEATH,
        present_VK=present_VK,
        drug_VK=_treat(present_VK, rng),
        decoy_VK=present_VK & (rng.random(present_VK.shape) < DECOYED),
    )


def _treat(present_NK: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Which effective drug each present phenotype gets, -1 where none."""
    given_NK = present_NK & (rng.random(present_NK.shape) < TREATED)
    return np.where(given_NK, rng.integers(0, EFFICACY_KD.shape[1], present_NK.shape), -1)


def _efficacy(drug_NK: np.ndarray) -> np.ndarray:
    """Logits that the drugs given take off, 0 where none."""
    return np.where(drug_NK >= 0, EFFICACY_KD[np.arange(K), drug_NK], 0.0)


def _next_phenotypes(
    visits: Visits, earlier_VK: np.ndarray, birth_V: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Draw the phenotypes of each subject's next visit from the law."""
    age_V = years(birth_V, visits.discharged_V)
    probability_VK = law.next_visit(visits.present_VK, earlier_VK, _efficacy(visits.drug_VK), age_V)
    return rng.random(probability_VK.shape) < probability_VK


def _next_admission(discharged_V: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Some months later, or within the hour for a transfer."""
    days_V = np.clip(rng.lognormal(4.5, 1.2, len(discharged_V)), 1, 3650)
    later_V = discharged_V + (days_V * 24 * 60).astype(int) * MINUTE
    transfer_V = discharged_V + rng.integers(5, 60, len(discharged_V)) * MINUTE
    return np.where(rng.random(len(discharged_V)) < SAME_DAY, transfer_V, later_V)


def _by_subject(recorded: list[Visits]) -> Visits:
    """First visits, second visits, ... -> all visits of the first subject, of the second, ..."""
    columns = {f.name: np.concatenate([getattr(visits, f.name) for visits in recorded]) for f in fields(Visits)}
    order = np.argsort(columns["subject_V"], kind="stable")
    return Visits(**{name: column[order] for name, column in columns.items()})
