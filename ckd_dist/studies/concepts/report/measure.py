"""Measure how well every experiment's model does at its target, and which differences are clear of zero.

    N held-out cases of a target, K outcomes, S subjects, D draws, R seeds

A score is the mean over seeds, never the best of them; its interval is over the target's subjects, drawn alike for
every experiment at that target, so that the difference of two lines is paired.  Beside it is the spread over seeds.
Macro: the mean over the outcomes that have both classes.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ckd_dist.report.bootstrap import BootstrapOver, Resamples, interval, resample
from ckd_dist.report.compare import Difference, judge
from ckd_dist.report.metrics import mean_of_known, ranking
from ckd_dist.studies.concepts.report.attribution import carriers, maps, neighbours
from ckd_dist.studies.concepts.report.results import LOCAL, Line, Results, Scored, Target
from ckd_dist.studies.concepts.report.sites import describe_sites, overlaps
from ckd_dist.studies.concepts.report.tables import (
    MACRO,
    BaselineScore,
    ConceptTables,
    Cost,
    HeldOut,
    LineDifference,
    Score,
    SeedEstimate,
    StepCurve,
    StepScore,
)

FEW_POSITIVES = 10  # held-out cases with an outcome, or without it; below: no claim may rest on it
REGIMES = (("full", "local"), ("frozen", "shared"))  # whose difference is reported, of one embedding


@dataclass(frozen=True)
class SeedScores:
    """AUROC and AUPRC of a line's seeds for every outcome and draw."""

    seeds: tuple[int, ...]
    auroc_RKD: np.ndarray
    auprc_RKD: np.ndarray

    def of(self, seeds: Sequence[int]) -> "SeedScores":
        """Return those of some seeds."""
        chosen = [self.seeds.index(seed) for seed in seeds]
        return SeedScores(tuple(seeds), self.auroc_RKD[chosen], self.auprc_RKD[chosen])


def measure(results: Results) -> ConceptTables:
    """Return every number of the report.

    Raises ValueError where the parts of `results` do not fit together.
    """
    results.check()
    draws = {t.site: resample(t.subject_N, results.bootstrap_draws, results.seed) for t in results.targets}
    found = score_lines(results, draws)
    small = {target.site: too_few(target, results.outcomes) for target in results.targets}
    return ConceptTables(
        outcomes=results.outcomes,
        embeddings=results.embeddings(),
        models=results.models(),
        one_hot=results.one_hot,
        learned=results.learned,
        pairs=results.pairs(),
        bootstrap=BootstrapOver(results.bootstrap_draws, results.seed, over="subjects"),
        least_subjects=results.least_subjects,
        few_positives=FEW_POSITIVES,
        left_out={what: times for what, times in results.left_out.items() if times},
        sites=describe_sites(results),
        overlap=overlaps(results),
        targets=[held_out(target, results.outcomes, small[target.site]) for target in results.targets],
        baselines=score_baselines(results, draws),
        scores=[Score(line, *summarise(of_line, results.outcomes)) for line, of_line in found.items()],
        differences=list(differences(found, results, small)),
        steps=steps(results.scored),
        neighbours=neighbours(results),
        maps=maps(results),
        carriers=carriers(results, draws),
        costs=costs(results.scored),
        seconds=sum(one.seconds for one in results.scored),
        experiments=len(results.scored),
        idle_share=results.idle_share,
    )


def score_lines(results: Results, draws: dict[str, Resamples]) -> dict[Line, SeedScores]:
    """Score every line's seeds on the draws of its target."""
    targets = {target.site: target for target in results.targets}
    by_line: dict[Line, list[Scored]] = defaultdict(list)
    for one in results.scored:
        by_line[one.line].append(one)
    found = {}
    for line, seeds in by_line.items():
        seeds = sorted(seeds, key=lambda one: one.seed)
        target, drawn = targets[line.target], draws[line.target]
        ranked = [rank(target.outcomes_NK, one.probabilities_NK, drawn) for one in seeds]
        auroc_RKD, auprc_RKD = (np.stack(part) for part in zip(*ranked, strict=True))
        found[line] = SeedScores(tuple(one.seed for one in seeds), auroc_RKD, auprc_RKD)
    return found


def rank(outcomes_NK: np.ndarray, probabilities_NK: np.ndarray, drawn: Resamples) -> tuple[np.ndarray, np.ndarray]:
    """Return AUROC and AUPRC of every outcome on every draw, [K, D] each; NaN where a draw holds one class."""
    ranked = [
        ranking(outcomes_NK[:, k], probabilities_NK[:, k], drawn.subject_N, drawn.counts_SD)
        for k in range(outcomes_NK.shape[1])
    ]
    auroc_KD, auprc_KD = (np.stack(part) for part in zip(*ranked, strict=True))
    return auroc_KD, auprc_KD


def summarise(
    found: SeedScores, outcomes: Sequence[str]
) -> tuple[int, dict[str, SeedEstimate], dict[str, SeedEstimate]]:
    """Return the number of a line's seeds, and its AUROC and AUPRC over them."""
    return len(found.seeds), by_outcome(found.auroc_RKD, outcomes), by_outcome(found.auprc_RKD, outcomes)


def by_outcome(value_RKD: np.ndarray, outcomes: Sequence[str]) -> dict[str, SeedEstimate]:
    """Return, of macro and every outcome, the mean over seeds, its interval, and least and most of the seeds."""
    return {name: spread_estimate(value_RD) for name, value_RD in columns(value_RKD, outcomes)}


def columns(value_RKD: np.ndarray, outcomes: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield macro, then every outcome where there are several; [R, D] each."""
    yield MACRO, np.stack([mean_of_known(value_KD) for value_KD in value_RKD])
    if len(outcomes) > 1:
        for k, name in enumerate(outcomes):
            yield name, value_RKD[:, k]


def spread_estimate(value_RD: np.ndarray) -> SeedEstimate:
    """Return the mean over seeds with its interval, and least and most of the seeds."""
    observed_R = value_RD[:, 0]
    return SeedEstimate(**vars(interval(value_RD.mean(axis=0))), least=observed_R.min(), most=observed_R.max())


def differences(
    found: dict[Line, SeedScores], results: Results, small: dict[str, list[str]]
) -> Iterator[LineDifference]:
    """Yield first minus second over the seeds that both have, on the same draws; of all of the target's cases."""
    for kind, first, second in compared(found, results):
        seeds = sorted(set(found[first].seeds) & set(found[second].seeds))
        if not seeds:
            continue
        one, other = found[first].of(seeds), found[second].of(seeds)
        yield LineDifference(
            kind,
            first,
            second,
            first.model,
            first.source,
            first.target,
            seeds=len(seeds),
            auroc=judged(one.auroc_RKD, other.auroc_RKD, results.outcomes, small[first.target]),
            auprc=judged(one.auprc_RKD, other.auprc_RKD, results.outcomes, small[first.target]),
        )


def compared(found: dict[Line, SeedScores], results: Results) -> Iterator[tuple[str, Line, Line]]:
    """Yield which lines are compared, and why."""
    for line in found:
        if line.size is not None:
            continue
        against = [("embedding", line._replace(embedding=results.one_hot))]
        if line.embedding in results.learned:
            against.append(("student", line._replace(embedding=results.learned[line.embedding])))
        for first, second in REGIMES:
            if line.regime == first:
                source = line.target if second == LOCAL else line.source
                against.append((f"{first} − {second}", line._replace(regime=second, source=source)))
        yield from ((kind, line, other) for kind, other in against if other != line and other in found)


def judged(
    first_RKD: np.ndarray, second_RKD: np.ndarray, outcomes: Sequence[str], small: list[str]
) -> dict[str, Difference]:
    """Return the difference of the means with its verdict: better, worse, or unclear (as where positives are few)."""
    cells = {}
    for (name, first_RD), (_, second_RD) in zip(
        columns(first_RKD, outcomes), columns(second_RKD, outcomes), strict=True
    ):
        cell = interval(first_RD.mean(axis=0) - second_RD.mean(axis=0))
        silent = len(small) == len(outcomes) if name == MACRO else name in small
        cells[name] = judge(cell, enough=not silent)
    return cells


def too_few(target: Target, outcomes: Sequence[str]) -> list[str]:
    """Return the outcomes that fewer than FEW_POSITIVES of the target's held-out cases have, or lack."""
    positives_K = target.outcomes_NK.sum(axis=0)
    rarer_K = np.minimum(positives_K, len(target.outcomes_NK) - positives_K)
    return [name for name, rarer in zip(outcomes, rarer_K, strict=True) if rarer < FEW_POSITIVES]


def held_out(target: Target, outcomes: Sequence[str], small: list[str]) -> HeldOut:
    """Count the held-out cases of a target.  small: outcomes that no claim may rest on."""
    positives_K = target.outcomes_NK.sum(axis=0)
    return HeldOut(
        target.site,
        cases=len(target.case_id_N),
        subjects=len(np.unique(target.subject_N)),
        positives=dict(zip(outcomes, positives_K.tolist(), strict=True)),
        too_few=small,
    )


def score_baselines(results: Results, draws: dict[str, Resamples]) -> list[BaselineScore]:
    """Score what needs no other site, and the oracle where the law is known, at every target."""
    lines = []
    for target in results.targets:
        given = [(name, "baseline", probabilities_NK) for name, probabilities_NK in target.baselines.items()]
        if target.oracle_NK is not None:
            given.append(("oracle", "oracle", target.oracle_NK))
        for name, role, probabilities_NK in given:
            auroc_KD, auprc_KD = rank(target.outcomes_NK, probabilities_NK, draws[target.site])
            measured = summarise(SeedScores((0,), auroc_KD[None], auprc_KD[None]), results.outcomes)
            lines.append(BaselineScore(name, role, target.site, *measured))
    return lines


def steps(scored: Sequence[Scored]) -> list[StepCurve]:
    """Return the target's macro AUROC while it is tuned on: mean, least, most of the seeds, where all were scored."""
    by_line: dict[Line, list[dict[int, float]]] = defaultdict(list)
    for one in scored:
        if one.curve:
            by_line[one.line].append(dict(one.curve))
    lines = []
    for line, curves in by_line.items():
        common = sorted(set.intersection(*(set(curve) for curve in curves)))
        values = [[curve[step] for curve in curves] for step in common]
        points = [
            StepScore(step, float(np.mean(at)), least=min(at), most=max(at))
            for step, at in zip(common, values, strict=True)
        ]
        lines.append(StepCurve(line, len(curves), points))
    return lines


def costs(scored: Sequence[Scored]) -> list[Cost]:
    """Return the seconds of an experiment by patient model and embedding."""
    by_kind: dict[tuple[str, str], list[float]] = defaultdict(list)
    for one in scored:
        by_kind[one.model, one.embedding].append(one.seconds)
    return [
        Cost(
            model,
            embedding,
            experiments=len(seconds),
            median=float(np.median(seconds)),
            longest=max(seconds),
            total=sum(seconds),
        )
        for (model, embedding), seconds in by_kind.items()
    ]
