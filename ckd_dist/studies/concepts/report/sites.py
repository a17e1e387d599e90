"""Who is at every site, what its vocabulary holds, and how much of it another site knows.

V concepts (rows of table.CONCEPTS)
"""

import numpy as np
import polars as pl

from ckd_dist.schema import SPLITS
from ckd_dist.studies.concepts.grid import REST
from ckd_dist.studies.concepts.report.results import Results
from ckd_dist.studies.concepts.report.tables import Overlap, Quartiles, SiteCounts, SplitCounts


def describe_sites(results: Results) -> list[SiteCounts]:
    """Count cases, subjects and outcomes of every site by split, its concepts a case, vocabulary and unnamed drugs."""
    shares = {site: num / orders for site, (num, orders) in results.unnamed_drugs.items() if orders}
    own = {site: results.cases.filter(pl.col("site") == site) for site in results.sites}
    return [site_of(own[site], site, results.outcomes, shares.get(site)) for site in results.sites]


def site_of(own: pl.DataFrame, site: str, outcomes: tuple[str, ...], unnamed_drugs: float | None) -> SiteCounts:
    """Count one site's own cases."""
    splits = []
    for split in SPLITS:
        part = own.filter(pl.col("split") == split)
        positives = [int(part["outcomes"].list.get(k).sum() or 0) for k in range(len(outcomes))]
        shares = [count / part.height if part.height else None for count in positives]
        splits.append(
            SplitCounts(
                split,
                cases=part.height,
                subjects=part["subject_id"].n_unique(),
                positives=dict(zip(outcomes, positives, strict=True)),
                shares=dict(zip(outcomes, shares, strict=True)),
            )
        )
    lengths = own["concepts"].list.len().to_numpy()
    low, median, high = np.quantile(lengths, (0.25, 0.5, 0.75))
    vocabulary = int((subjects_of(own, None) > 0).sum())
    return SiteCounts(site, splits, Quartiles(median, low, high), vocabulary, unnamed_drugs)


def overlaps(results: Results) -> list[Overlap]:
    """Return, for every pair, the share of the target's concepts, and of its records, that the source has."""
    lines = []
    for source, target in results.pairs():
        if source == target:
            continue
        known_V = subjects_at(results, source, target) > 0
        own = cases_at(results.cases, target)
        used_V = subjects_at(results, target, target) > 0
        recorded = own["concepts"].explode().drop_nulls().to_numpy()
        lines.append(
            Overlap(
                source,
                target,
                concepts=int(used_V.sum()),
                shared_concepts=int((used_V & known_V).sum()),
                share_of_concepts=float(known_V[used_V].mean()) if used_V.any() else None,
                share_of_records=float(known_V[recorded].mean()) if len(recorded) else None,
            )
        )
    return lines


def cases_at(cases: pl.DataFrame, source: str, target: str = "") -> pl.DataFrame:
    """Return the cases of a site, or of all other sites where the source is "all but" the target."""
    return cases.filter(pl.col("site") != target if source == REST + target else pl.col("site") == source)


def subjects_at(results: Results, source: str, target: str) -> np.ndarray:
    """Count the subjects of a source that have each concept, [V]."""
    return subjects_of(cases_at(results.cases, source, target), results.concepts.height)


def subjects_of(cases: pl.DataFrame, num_concepts: int | None) -> np.ndarray:
    """Count the subjects that have each concept in some case, [V]; as long as the highest number where V is None."""
    pairs = cases.select("subject_id", "concepts").explode("concepts").drop_nulls("concepts").unique()
    return np.bincount(pairs["concepts"].to_numpy(), minlength=num_concepts or 0)
