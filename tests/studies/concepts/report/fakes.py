"""Results of a synthetic run for the tests of the report: every part of the page is filled."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import polars as pl

from ckd_dist.report.provenance import Provenance
from ckd_dist.studies.concepts.cases.table import CASES, CONCEPTS
from ckd_dist.studies.concepts.report.results import Results, Scored, Space, target_of

EMBEDDINGS = {"one-hot": 0.9, "tiny | <b>teacher": 0.3, "student": 0.5}  # how far its shared model is off
OUTCOMES = ("death in hospital", "stay <over> 7 days", "fever | <b>", "shock", "stroke", "sepsis", "anemia")
REGIMES = ("local", "shared", "frozen", "full")
NUM_CONCEPTS, NUM_SHARED = 60, 20  # 20 of both sites, 20 of one each
RARE = "rare <i>secret"  # in the text of every concept that too few have


def make_cases(num_cases: int, num_outcomes: int, seed: int, sites: Sequence[str] = ("north", "south")) -> pl.DataFrame:
    """Cases of every site, two a subject, each outcome likelier with a concept of its own."""
    random = np.random.default_rng(seed)
    rows = []
    for place, site in enumerate(sites):
        own = NUM_SHARED * (1 + place % 2)
        for number in range(num_cases):
            common = random.choice(NUM_SHARED - 2, 5, replace=False)
            local = own + random.choice(NUM_SHARED - 2, 4, replace=False)
            rare = [own + NUM_SHARED - 1] if number < 3 else []
            chance = 0.15 + 0.5 * np.isin(np.arange(num_outcomes), common)
            rows.append(
                {
                    "case_id": place * num_cases + number,
                    "subject_id": place * num_cases + number // 2,
                    "site": site,
                    "split": ("train", "held_out", "tuning", "held_out")[(number // 2) % 4],
                    "concepts": [*common.tolist(), *local.tolist(), *rare],
                    "outcomes": (random.random(num_outcomes) < chance).astype(int).tolist(),
                    "oracle": chance.tolist(),
                }
            )
    return pl.DataFrame(rows, schema=CASES)


def make_concepts() -> pl.DataFrame:
    rare = (2 * NUM_SHARED - 1, NUM_CONCEPTS - 1)
    texts = [f"{RARE} {v}" if v in rare else f"finding <{v}> & $x_{v}$ | more" for v in range(NUM_CONCEPTS)]
    return pl.DataFrame(
        {
            "concept": range(NUM_CONCEPTS),
            "system": ["own"] * NUM_CONCEPTS,
            "text": texts,
            "code": [f"C{v}" for v in range(NUM_CONCEPTS)],
            "absent": [False] * NUM_CONCEPTS,
        },
        schema=CONCEPTS,
    )


def make_results(
    num_cases: int = 240,
    num_outcomes: int = 1,
    num_seeds: int = 3,
    sites: Sequence[str] = ("north", "south"),
    models: Sequence[str] = ("max",),
    sizes: Sequence[int] = (10, 50),
    curves: bool = True,
    maps: bool = False,
) -> Results:
    """Every part of the page is filled, its slow maps where asked for.  A model is the oracle with noise of its own."""
    cases = make_cases(num_cases, num_outcomes, seed=0, sites=sites)
    random = np.random.default_rng(1)
    baselines = {"prevalence": 0.2, "logistic | regression": 0.3}
    targets = []
    for site in sites:
        plain = target_of(cases, site)
        constant = {name: np.full(plain.outcomes_NK.shape, value) for name, value in baselines.items()}
        targets.append(dataclasses.replace(plain, baselines=constant))
    by_site = {target.site: target for target in targets}

    def experiment(
        embedding: str, model: str, source: str, target: str, regime: str, size: int | None, seed: int
    ) -> Scored:
        at = by_site[target]
        off = EMBEDDINGS[embedding] if regime == "shared" else 0.2 if regime == "full" else 0.35
        off += 0.6 / (1 + size / 20) if size else 0
        noisy = np.log(at.oracle_NK / (1 - at.oracle_NK)) + random.normal(0, 4 * off, at.oracle_NK.shape)
        curve = [(step, 0.6 + 0.02 * step - 0.001 * step**2 + 0.01 * seed) for step in range(0, 20, 4)]
        tuned = curves and regime in ("frozen", "full") and size is None
        return Scored(
            embedding=embedding,
            model=model,
            source=source,
            target=target,
            regime=regime,
            size=size,
            seed=seed,
            case_id_N=at.case_id_N,
            probabilities_NK=1 / (1 + np.exp(-noisy)),
            curve=curve if tuned else (),
            seconds=1.5,
        )

    pairs = [(source, target) for source in sites for target in sites if source != target]
    scored = [
        experiment(embedding, model, source, target, regime, size, seed)
        for embedding in EMBEDDINGS
        for model in models
        for source, target in pairs
        for regime in REGIMES
        for size in ((None,) if regime == "shared" else (*sizes, None))
        for seed in range(num_seeds)
        if regime != "local" or source == next(site for site in sites if site != target)
    ]
    return Results(
        provenance=Provenance(
            title="a synthetic run",
            source="synthetic numbers",
            date="2100-01-01",
            recipe={"grid.seeds": num_seeds},
            versions={"torch": "2"},
            notes=("A note.",),
            was_read={"read": ["3 sites, 900 cases", "lost: 7 rows of DRUGS (no <name>)", "no name for 12% of drugs"]},
        ),
        outcomes=OUTCOMES[:num_outcomes],
        cases=cases,
        concepts=make_concepts(),
        targets=targets,
        scored=scored,
        spaces=[Space(name, random.normal(size=(NUM_CONCEPTS, 8))) for name in list(EMBEDDINGS)[1:] if maps],
        learned={"student": "tiny | <b>teacher"},
        idle_share=0.034,
        left_out={"left_before_it": 12, "never": 0},
        unnamed_drugs={"north": [12, 100], "south": [0, 50]},
        bootstrap_draws=100,
    )
