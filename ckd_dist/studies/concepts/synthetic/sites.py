"""Write two synthetic emergency departments as a folder of findings: who came, what was found, what came of it.

    concepts.csv.gz   concept, system, text: north's list and south's, a line where their names are equal
    cases.csv.gz      case_id, subject_id, site, outcome:NAME (0 or 1) and oracle:NAME (its exact probability) for each
    findings.csv.gz   case_id, concept, state (present or absent); a finding without a line is missing

The departments see other patients and keep other records:

    north writes down nearly all that it finds and two thirds of what it looked for in vain: 48 findings a case
    south misses a fifth of what is there and seldom says what is not: 25 findings a case

Nobody comes to both.  A sixth of the cases are somebody's further visit, and half of that person's findings are as they
were.  Names and effects: findings.py; probabilities: law.py.

    N cases, V findings, K outcomes

Cases come in chunks of fixed size with a seed of their own, so a case does not depend on how many there are, and memory
stays flat: 40,000 cases with 1.5 million findings take 1.5 seconds.  Left out: time within a visit, findings that come
together (each is there or not whatever the others are), and what a person is like beyond its findings.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from ckd_dist.hospital.files import append, tables_in
from ckd_dist.studies.concepts.synthetic.findings import ALL, FINDINGS, OPAQUE, OPAQUE_SYSTEM, OUTCOMES, SITES, SYSTEM
from ckd_dist.studies.concepts.synthetic.law import probabilities

CHUNK = 1000  # cases that share a seed
MOST = 9_999_999  # cases of a site: numbers of the next site's follow
AGAIN = 1 / 6  # of cases belong to the person of the case before: 1.2 cases a person
STILL = 0.5  # of such a person's findings are as they were then
FOUND = {"north": 0.95, "south": 0.80}  # of findings that are there are recorded as present
RULED_OUT = {"north": 0.65, "south": 0.15}  # of those that are not are recorded as absent

FILES = ("concepts", "cases", "findings")


def write_sites(folder: Path, num_cases: int, seed: int) -> dict[str, int]:
    """Write folder/{concepts,cases,findings}.csv.gz with `num_cases` of each site; return how many rows each has.

    The same arguments give the same bytes.  Raises ValueError where the number of cases is out of range.
    """
    if not 1 <= num_cases <= MOST:
        raise ValueError(f"synthetic sites have between 1 and {MOST:,} cases each, got {num_cases}")
    num_rows = dict.fromkeys(FILES, 0)
    with tables_in(folder, FILES) as files:
        for name, table in _tables(num_cases, seed):
            append(files[name], table)
            num_rows[name] += len(table)
    return num_rows


def concepts() -> pl.DataFrame:
    """Return both sites' lists: concept, system, text; a name that both use is one concept."""
    opaque = set(FINDINGS[OPAQUE])
    rows = []
    for v, finding in enumerate(ALL):
        for site, concept, text in zip(SITES, _concept_of(v), finding.names, strict=True):
            system = OPAQUE_SYSTEM if finding in opaque and site == "south" else SYSTEM
            rows.append((concept, system, text))
    return pl.DataFrame(rows, schema=["concept", "system", "text"], orient="row").unique(maintain_order=True)


def _concept_of(v: int) -> tuple[str, str]:
    """Return the name of finding v in each site's list: the same where its words are."""
    north, south = ALL[v].names
    return (f"F{v + 1:02}",) * 2 if north == south else (f"N{v + 1:02}", f"S{v + 1:02}")


def _tables(num_cases: int, seed: int) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield the concepts, then cases and findings of a chunk after the other, first all of north's."""
    yield "concepts", concepts()
    for place, site in enumerate(SITES):
        first = (place + 1) * (MOST + 1)
        concept_V = pl.Series([_concept_of(v)[place] for v in range(len(ALL))])
        for start in range(0, num_cases, CHUNK):
            rng = np.random.default_rng([seed, place, start])
            num = min(CHUNK, num_cases - start)
            subject_N, state_NV, probability_NK, outcome_NK = (part[:num] for part in _draw(place, site, rng))
            case_N = first + start + np.arange(num)
            yield "cases", _cases(case_N, first + start + subject_N, site, outcome_NK, probability_NK)
            yield "findings", _findings(case_N, concept_V, state_NV)


def _draw(place: int, site: str, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Draw a chunk of a site's cases: subject [N], from 0; recorded state [N, V]; probability and outcome [N, K]."""
    share_V = np.array([finding.shares[place] for finding in ALL])
    is_again_N = rng.random(CHUNK) < AGAIN
    is_again_N[0] = False  # a person's cases lie in one chunk
    has_NV = rng.random((CHUNK, len(ALL))) < share_V
    is_still_NV = is_again_N[:, None] & (rng.random(has_NV.shape) < STILL)
    for n in np.flatnonzero(is_again_N):  # in order: a third visit goes on from the second
        has_NV[n] = np.where(is_still_NV[n], has_NV[n - 1], has_NV[n])
    is_recorded_NV = rng.random(has_NV.shape) < np.where(has_NV, FOUND[site], RULED_OUT[site])
    state_NV = np.where(has_NV, 1, -1) * is_recorded_NV
    probability_NK = probabilities(state_NV, site)
    return np.cumsum(~is_again_N) - 1, state_NV, probability_NK, rng.random(probability_NK.shape) < probability_NK


def _cases(
    case_N: np.ndarray, subject_N: np.ndarray, site: str, outcome_NK: np.ndarray, probability_NK: np.ndarray
) -> pl.DataFrame:
    return pl.DataFrame(
        {"case_id": case_N, "subject_id": subject_N, "site": [site] * len(case_N)}
        | {f"outcome:{name}": outcome_NK[:, k].astype(np.int8) for k, name in enumerate(OUTCOMES)}
        | {f"oracle:{name}": probability_NK[:, k] for k, name in enumerate(OUTCOMES)}
    )


def _findings(case_N: np.ndarray, concept_V: pl.Series, state_NV: np.ndarray) -> pl.DataFrame:
    """Return what is recorded, a line each, by case and then in the list's order."""
    row, column = np.nonzero(state_NV)
    state = np.where(state_NV[row, column] > 0, "present", "absent")
    return pl.DataFrame({"case_id": case_N[row], "concept": concept_V[column], "state": state})
