"""Say the numbers of concepts in sentences: what may not be claimed, what is clear of zero, and a summary."""

from collections.abc import Sequence
from dataclasses import dataclass

from ckd_dist.report.bootstrap import LEAST_SUBJECTS
from ckd_dist.report.compare import Difference
from ckd_dist.report.wording import difference, estimate, number
from ckd_dist.studies.concepts.report.tables import MACRO, ConceptTables, LineDifference

MOST_OUTCOMES = 5  # shown beside one another; the others are in metrics.json alone
MOST_SAID = 8  # differences of a kind that get a sentence, the largest of better and of worse
KINDS = {  # kind of difference -> its heading
    "embedding": "Each embedding against {one_hot}",
    "full − local": "Tuned in full against learned at the target alone",
    "frozen − shared": "Last layer tuned against used unchanged",
    "student": "The student against the embedding that it learned",
}

REGIMES = {
    "local": "Learned at the target alone.",
    "shared": "The source's model, used unchanged.",
    "frozen": "The source's model; its last layer tuned at the target.",
    "full": "The source's model; everything but the vectors tuned at the target.",
    "thawed": "As full, and the vectors too.",
    "pooled": "Learned at both sites together.",
    "adversarial": "Learned at the source, with the sites made alike by their unlabelled cases.",
}


@dataclass(frozen=True)
class KindFindings:
    """How many differences of a kind are clear of zero either way, and the largest of them in sentences."""

    kind: str
    heading: str
    compared: int
    better: int
    worse: int
    by_chance: float
    said: Sequence[str]


@dataclass(frozen=True)
class ConceptSentences:
    """What the report says beside its tables."""

    warnings: Sequence[str]
    findings: Sequence[KindFindings]
    summary: Sequence[str]
    reading: Sequence[str]


def sentences_of(tables: ConceptTables) -> ConceptSentences:
    """Return what the numbers forbid to claim, what is clear of zero, a summary, and how to read them."""
    found = findings(tables)
    return ConceptSentences(warnings(tables), found, summary(tables, found), reading(tables, found))


def place(source: str, target: str) -> str:
    """Name a pair: "north → south", or the target alone."""
    return f"at {target}" if source == target else f"{source} → {target}"


def warnings(tables: ConceptTables) -> list[str]:
    """Say what the numbers themselves forbid to claim."""
    found = [
        f"Too few for claims at {target.site}: fewer than {tables.few_positives} of its "
        f"{number(target.cases, 0)} held-out cases have, or lack, {', '.join(target.too_few)}. "
        "Nothing is called better or worse there."
        for target in tables.targets
        if target.too_few
    ]
    seeds = {score.seeds for score in tables.scores}
    if max(seeds) == 1:
        found.append("One seed: the chance of another training run is in no number of this page.")
    elif len(seeds) > 1:
        found.append(f"Not all experiments have the same number of seeds: {min(seeds)} to {max(seeds)}.")
    return found


def findings(tables: ConceptTables) -> list[KindFindings]:
    """Say of every kind of difference how many are clear of zero either way, and the largest of them in sentences.

    Of every outcome where they are few enough to be shown beside one another, else of their mean alone.
    """
    found = []
    for kind, heading in KINDS.items():
        lines = [line for line in tables.differences if line.kind == kind]
        cells = [(line, outcome, line.auroc[outcome]) for line in lines for outcome in shown_outcomes(tables)]
        clear = sorted((one for one in cells if one[2].verdict != "unclear"), key=lambda one: -abs(one[2].value))
        better, worse = ([one for one in clear if one[2].verdict == verdict] for verdict in ("better", "worse"))
        if lines:
            found.append(
                KindFindings(
                    kind,
                    heading.format(one_hot=tables.one_hot),
                    compared=len(cells),
                    better=len(better),
                    worse=len(worse),
                    by_chance=0.05 * len(cells),
                    said=[sentence(*one, tables) for some in (better, worse) for one in some[:MOST_SAID]],
                )
            )
    return found


def shown_outcomes(tables: ConceptTables) -> list[str]:
    """Return macro alone, or with every outcome where they are several but few."""
    return [MACRO, *(tables.outcomes if 1 < len(tables.outcomes) <= MOST_OUTCOMES else ())]


def sentence(line: LineDifference, outcome: str, cell: Difference, tables: ConceptTables) -> str:
    """Say one difference that is clear of zero."""
    first, second = line.first, line.second
    if first.regime != second.regime:
        same, one, other = first.embedding, first.regime, second.regime
    else:
        same, one, other = first.regime, first.embedding, second.embedding
    parts = [place(line.source, line.target)]
    parts += [line.model] if len(tables.models) > 1 else []
    parts += [outcome] if len(shown_outcomes(tables)) > 1 else []
    return f"{', '.join([*parts, same])}: {one} is {cell.verdict} than {other}, {difference(cell)}."


def summary(tables: ConceptTables, found: Sequence[KindFindings]) -> list[str]:
    """Say in a few sentences how much was run, the first pair in three regimes, and how often a claim holds."""
    pairs = tables.pairs
    source, target = pairs[0]
    sentences = [
        f"{number(tables.experiments, 0)} models were trained: {len(tables.embeddings)} embeddings, "
        f"{len(pairs)} {'pair' if len(pairs) == 1 else 'pairs'} of sites, "
        f"{max(score.seeds for score in tables.scores)} seeds each; every number is a mean over seeds."
    ]
    name = next((name for name in tables.embeddings if name != tables.one_hot), tables.embeddings[0])
    own = {
        line.regime: score.auroc[MACRO]
        for line, score in ((score.line, score) for score in tables.scores)
        if (line.embedding, line.model, line.target, line.size) == (name, tables.models[0], target, None)
        and line.source in (source, target)
    }
    uses = {"shared": "used unchanged", "full": "tuned in full", "local": f"learned at {target} alone"}
    parts = [f"{estimate(own[regime])} {use}" for regime, use in uses.items() if regime in own]
    if parts:
        what = "macro AUROC" if len(tables.outcomes) > 1 else "AUROC"
        sentences.append(f"{name}, {place(source, target)}, has {what} {', '.join(parts)}.")
    sentences += [
        f"{one.heading}: {one.better} of {one.compared} comparisons are clearly better, {one.worse} clearly worse."
        for one in found
    ]
    return sentences


def reading(tables: ConceptTables, found: Sequence[KindFindings]) -> list[str]:
    """Say how the numbers were made, and what they do not cover."""
    compared = sum(one.compared for one in found)
    return [
        "Every score is the mean over training runs from different seeds, never the best of them. Its 95 % interval "
        f"comes from {number(tables.bootstrap.draws, 0)} draws of the target's held-out subjects, each with all "
        "cases of theirs: it covers the chance of having met other patients of this site. The spread over seeds stands "
        "apart and is not in the interval.",
        "Nor is the chance of another split of the subjects, of other source patients, or of a third site: two sites "
        "are two examples.",
        f"{number(compared, 0)} differences were looked at. Were there none at all, about "
        f"{number(0.05 * compared, 0)} of their intervals would still lie clear of zero; a single mark is a hint, a "
        "pattern over pairs and regimes is evidence.",
        f"Fewer than {tables.few_positives} held-out cases with an outcome, or without it, carry no claim; fewer "
        f"than {LEAST_SUBJECTS} subjects get no interval.",
        f"A concept that fewer than {tables.least_subjects} subjects of a site have is counted and never named.",
        "An overlap of vocabularies is one of exact phrases: what two sites say in other words counts as lacking.",
    ]
