"""What the read stage kept of all sources and what it lost, and a refusal where nothing is left to learn from.

A join that fails leaves whole sites without a concept, or an outcome that never differs: the grid would run for hours
and stop, or end in numbers that say nothing.  What only may be a fault is said: codes that no site shares may be the
question of a study.
"""

from collections.abc import Sequence
from itertools import combinations

import polars as pl

from ckd_dist.account import Account
from ckd_dist.studies.concepts.cases.built import Built

NAMED = 4  # sites, pairs or outcomes that a remark names


def account_of(built: Built) -> Account:
    """Return what was kept and lost of all sources, the largest loss first, and what numbers do not say."""
    kept = {
        "sites": built.cases["site"].n_unique(),
        "subjects": built.cases["subject_id"].n_unique(),
        "cases": len(built.cases),
        "concepts": len(built.concepts),
    }
    left_out = {f"cases ({reason})": excluded for reason, excluded, _ in built.flow.rows if excluded}
    without = {"of the cases without a concept": int((built.cases["concepts"].list.len() == 0).sum())}
    lost = sorted((left_out | dict(built.lost) | without).items(), key=lambda item: -item[1])
    return Account(kept, dict(lost), (*built.remarks, *_remarks(built)))


def check_joined(built: Built, codes: Sequence[str]) -> None:
    """Raise ValueError where no case has a concept, where none of a site has, or where no outcome ever differs.

    codes: prefixes of the events that are concepts; none where no source has events.
    """
    num_cases = f"{len(built.cases):,} cases"
    if not len(built.concepts):
        asked = (
            f"do findings name the cases, or does sites.codes ({', '.join(codes)}) name what the source records by then"
        )
        cause = asked if codes else "has findings.csv a row, and do its rows name the cases"
        raise ValueError(f"none of {num_cases} has a concept, so there is nothing to learn from: {cause}?")
    if empty := _with_concepts(built, least=0.0):
        raise ValueError(
            f"no case of site {_some(empty)} has a concept: mend what the site records, or leave it out by sites.keep"
        )
    positives = _positives(built)
    if all(positive in (0, len(built.cases)) for positive in positives.values()):
        which = (
            f"outcome {_some(list(positives))} is" if len(positives) == 1 else f"each of {len(positives)} outcomes is"
        )
        raise ValueError(
            f"{which} the same in all {num_cases}, so there is nothing to predict: is it the right column, or the "
            "right sites.outcome, and were those read who have it?"
        )


def _remarks(built: Built) -> list[str]:
    """Say which outcomes never differ, where cases are bare of concepts, and which sites share none."""
    said = []
    if constant := [name for name, positive in _positives(built).items() if positive in (0, len(built.cases))]:
        said.append(f"{_some(constant)}: the same in all cases, so not scored")
    if constant := _constant_sites(built):
        said.append(f"no outcome differs between the cases of {_some(constant)}")
    if bare := _with_concepts(built, least=0.5):
        said.append(f"at most half of the cases of {_some(bare)} have a concept")
    if apart := _sites_apart(built):
        said.append(f"{_some(apart)} share no concept: codes do not meet there, vectors may")
    return said


def _with_concepts(built: Built, least: float) -> list[str]:
    """Return the sites of whose cases no more than `least` have a concept."""
    share = (pl.col("concepts").list.len() > 0).mean()
    return built.cases.group_by("site").agg(share=share).filter(pl.col("share") <= least)["site"].sort().to_list()


def _positives(built: Built) -> dict[str, int]:
    """Return outcome -> cases that have it."""
    outcomes = built.cases["outcomes"]
    return {name: int(outcomes.list.get(k).sum()) for k, name in enumerate(built.outcomes)}


def _constant_sites(built: Built) -> list[str]:
    """Return the sites at which no outcome differs."""
    each = pl.col("outcomes").list
    differs = pl.any_horizontal(each.get(k).n_unique() > 1 for k in range(len(built.outcomes)))
    return built.cases.group_by("site").agg(differs=differs).filter(~pl.col("differs"))["site"].sort().to_list()


def _sites_apart(built: Built) -> list[str]:
    """Return the pairs of sites that have no concept in common."""
    of_site = built.cases.select("site", "concepts").explode("concepts").drop_nulls().unique()
    has = {site: set(own["concepts"]) for (site,), own in of_site.group_by("site")}
    return [f"{one} and {other}" for one, other in combinations(sorted(has), 2) if not has[one] & has[other]]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
