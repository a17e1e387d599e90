"""Attribute scores to concepts: nearest neighbours, a map of the space, and which concepts carried the loss.

    N held-out cases of a target, V concepts (rows of table.CONCEPTS), C of them, D width of a vector or draws,
    S subjects, K outcomes

A concept that fewer than `least_subjects` subjects of a site have is never named: it could identify one person.
"""

from collections import defaultdict

import numpy as np
import polars as pl
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from ckd_dist.report.bootstrap import Estimate, Resamples, interval
from ckd_dist.studies.concepts.report.results import LOCAL, Line, Results, Scored, Target
from ckd_dist.studies.concepts.report.sites import subjects_at
from ckd_dist.studies.concepts.report.tables import Carrier, Carriers, ConceptMap, MapLabel, Neighbour, Neighbours
from ckd_dist.studies.concepts.tables import unit

NEAREST = 3  # neighbours shown of a concept
MOST_TSNE = 3000  # concepts; more are mapped by PCA alone, and as many of them are drawn
LEAST_TSNE = 10  # fewer are mapped by PCA alone too
TSNE_FROM = 50  # directions of PCA that t-SNE starts from
MAP_LABELS = 12  # concepts of each side that a map may name, the most frequent; it names those that find room
MOST_CARRIERS = 10  # concepts shown either way
LEAST_PROBABILITY = 1e-6  # a surer prediction counts as this sure: no single case may be an infinite loss


def neighbours(results: Results) -> list[Neighbours]:
    """Find the nearest source concepts, by every embedding, of the target's most frequent concepts that it lacks."""
    texts, systems = results.concepts["text"].to_list(), results.concepts["system"].to_list()
    lines = []
    for source, target in results.pairs():
        if source == target:
            continue
        there_V, here_V = (subjects_at(results, site, target) for site in (source, target))
        asked = most_frequent(here_V, (there_V == 0) & (here_V >= results.least_subjects), results.neighbours)
        known = np.flatnonzero(there_V >= results.least_subjects)
        if not len(asked) or not len(known):
            continue
        for space in results.spaces:
            cosines_CV = directions(space.vectors_VD[asked]) @ directions(space.vectors_VD[known]).T
            for concept, cosine_V in zip(asked, cosines_CV, strict=True):
                best = np.argsort(-cosine_V, kind="stable")[:NEAREST]
                near = [
                    Neighbour(texts[v], systems[v], float(cosine))
                    for v, cosine in zip(known[best], cosine_V[best], strict=True)
                ]
                text, system, subjects = texts[concept], systems[concept], int(here_V[concept])
                lines.append(Neighbours(source, target, space.embedding, text, system, subjects, near))
    return lines


def most_frequent(subjects_V: np.ndarray, allowed_V: np.ndarray, most: int) -> np.ndarray:
    """Return at most so many allowed concepts, those of most subjects first; ties in the order of their numbers."""
    return np.array([v for v in np.argsort(-subjects_V, kind="stable") if allowed_V[v]][:most], dtype=np.int64)


def directions(vectors_VD: np.ndarray) -> np.ndarray:
    """Return vectors of length 1 in float64; zero stays zero."""
    return unit(vectors_VD.astype(np.float64))


def maps(results: Results) -> list[ConceptMap]:
    """Map every embedding's concepts of the first pair in two dimensions, marked by the site that has them."""
    pair = next(((source, target) for source, target in results.pairs() if source != target), None)
    if pair is None:
        return []
    source, target = pair
    there_V, here_V = (subjects_at(results, site, target) for site in (source, target))
    chosen = np.flatnonzero((there_V > 0) | (here_V > 0))
    if len(chosen) < 3:
        return []
    if len(chosen) > MOST_TSNE:
        drawn = np.sort(np.random.default_rng(results.seed).choice(len(chosen), MOST_TSNE, replace=False))
    else:
        drawn = np.arange(len(chosen))
    there_C, here_C = there_V[chosen][drawn], here_V[chosen][drawn]
    side_C = np.where(here_C == 0, "source", np.where(there_C == 0, "target", "both"))
    # a concept of both sites is named only where both have it often enough
    rarer_C = np.where(side_C == "both", np.minimum(there_C, here_C), np.maximum(there_C, here_C))
    texts = results.concepts["text"].to_list()
    labels = [
        MapLabel(int(place), texts[chosen[drawn[place]]])
        for side in ("source", "target", "both")
        for place in most_frequent(rarer_C, (side_C == side) & (rarer_C >= results.least_subjects), MAP_LABELS)
    ]
    return [
        ConceptMap(
            space.embedding,
            source,
            target,
            concepts=len(chosen),
            method=method,
            places=places_C2[drawn].round(2).tolist(),
            sides=side_C.tolist(),
            labels=labels,
        )
        for space in results.spaces
        for places_C2, method in [flatten(space.vectors_VD[chosen], results.seed)]
    ]


def flatten(vectors_CD: np.ndarray, seed: int) -> tuple[np.ndarray, str]:
    """Return two coordinates of every vector, and the method: t-SNE of directions where they are few, else PCA."""
    directions_CD = directions(vectors_CD)
    if not np.ptp(directions_CD, axis=0).any():
        return np.zeros((len(directions_CD), 2)), "PCA"
    few = LEAST_TSNE <= len(directions_CD) <= MOST_TSNE
    width = min(TSNE_FROM if few else 2, *directions_CD.shape)
    places_CD = PCA(width, random_state=seed).fit_transform(directions_CD)
    places_CD = np.pad(places_CD, ((0, 0), (0, max(0, 2 - width))))
    if not few:
        return places_CD, "PCA"
    perplexity = min(30.0, (len(places_CD) - 1) / 3)
    return TSNE(2, perplexity=perplexity, random_state=seed).fit_transform(places_CD), "t-SNE"


def carriers(results: Results, draws: dict[str, Resamples]) -> list[Carriers]:
    """Find the target's concepts that go along with a loss: log-loss of "shared" minus that of "local" (else "full").

    A concept's number is the mean over the held-out cases that have it, and over outcomes and seeds; its interval is
    over subjects.  Both regimes saw all they may; concepts of few held-out subjects are left out.
    """
    targets = {target.site: target for target in results.targets}
    losses = mean_losses(results.scored, targets)
    lines = []
    for line in losses:
        if line.regime != "shared" or line.source == line.target:
            continue
        others = [line._replace(regime=LOCAL, source=line.target), line._replace(regime="full")]
        against = next((other for other in others if other in losses), None)
        if against is None:
            continue
        target, drawn = targets[line.target], draws[line.target]
        excess_N = losses[line] - losses[against]
        if rows := carried(excess_N, target, drawn, results):
            lines.append(
                Carriers(
                    line.embedding,
                    line.model,
                    line.source,
                    line.target,
                    against=against.regime,
                    overall=overall(excess_N, drawn),
                    concepts=len(rows),
                    lost=sorted((row for row in rows if row.value > 0), key=lambda row: -row.value)[:MOST_CARRIERS],
                    gained=sorted((row for row in rows if row.value < 0), key=lambda row: row.value)[:MOST_CARRIERS],
                )
            )
    return lines


def mean_losses(scored: list[Scored], targets: dict[str, Target]) -> dict[Line, np.ndarray]:
    """Return the log-loss of every case, a mean over outcomes and seeds, [N]; of lines that saw all they may."""
    by_line: dict[Line, list[np.ndarray]] = defaultdict(list)
    for one in scored:
        if one.size is None:
            by_line[one.line].append(log_loss(targets[one.target].outcomes_NK, one.probabilities_NK))
    return {line: np.mean(losses, axis=0) for line, losses in by_line.items()}


def log_loss(outcomes_NK: np.ndarray, probabilities_NK: np.ndarray) -> np.ndarray:
    """Return -log of the probability of what happened, a mean over outcomes, [N]."""
    happened_NK = np.where(outcomes_NK == 1, probabilities_NK, 1 - probabilities_NK.astype(np.float64))
    return -np.log(np.maximum(happened_NK, LEAST_PROBABILITY)).mean(axis=1)


def overall(excess_N: np.ndarray, drawn: Resamples) -> Estimate:
    """Return the mean excess over all cases, with its interval."""
    counts_ND = drawn.counts_SD[drawn.subject_N]
    return interval(excess_N @ counts_ND / counts_ND.sum(axis=0))


def carried(excess_N: np.ndarray, target: Target, drawn: Resamples, results: Results) -> list[Carrier]:
    """Return the mean excess over the cases of every concept that enough held-out subjects have, with its interval."""
    has_VN = held_out_concepts(target, results)
    num_subjects = len(drawn.counts_SD)
    by_subject = (np.ones(len(excess_N)), (np.arange(len(excess_N)), drawn.subject_N))
    who_NS = sparse.csr_array(by_subject, shape=(len(excess_N), num_subjects))
    cases_VS = has_VN @ who_NS
    subjects_V = (cases_VS > 0).sum(axis=1)
    named = np.flatnonzero(subjects_V >= results.least_subjects)
    if not len(named):
        return []
    cases_VD = cases_VS[named] @ drawn.counts_SD
    sums_VD = (has_VN[named] @ (who_NS * excess_N[:, None])) @ drawn.counts_SD
    with np.errstate(invalid="ignore"):
        mean_VD = np.where(cases_VD > 0, sums_VD / cases_VD, np.nan)
    texts = results.concepts["text"].to_list()
    return [
        Carrier(texts[v], int(subjects_V[v]), **vars(interval(mean_D)))
        for v, mean_D in zip(named, mean_VD, strict=True)
    ]


def held_out_concepts(target: Target, results: Results) -> sparse.csr_array:
    """Return which concept every held-out case has, [V, N]."""
    order = pl.DataFrame({"case_id": target.case_id_N, "row": np.arange(len(target.case_id_N))})
    pairs = results.cases.join(order, on="case_id").select("row", "concepts").explode("concepts").drop_nulls().unique()
    where = (pairs["concepts"].to_numpy(), pairs["row"].to_numpy())
    return sparse.csr_array((np.ones(pairs.height), where), shape=(results.concepts.height, len(target.case_id_N)))
