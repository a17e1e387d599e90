"""Say the third study's numbers in sentences: what may not be claimed, what is clear of zero, and a summary."""

from typing import Any

from ckd_dist.report.wording import difference, estimate, number

FEW_SUBJECTS = 10  # held out; fewer get no interval at all
MACRO = "macro"  # the mean over outcomes
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


def with_sentences(numbers: dict[str, Any]) -> dict[str, Any]:
    """Return the same numbers with warnings, findings, summary and how to read them."""
    return numbers | {
        "warnings": warnings(numbers),
        "findings": findings(numbers),
        "summary": summary(numbers),
        "reading": reading(numbers),
    }


def place(source: str, target: str) -> str:
    """Name a pair: "north → south", or the target alone."""
    return f"at {target}" if source == target else f"{source} → {target}"


def warnings(numbers: dict[str, Any]) -> list[str]:
    """Say what the numbers themselves forbid to claim."""
    found = []
    for target in numbers["targets"]:
        if target["too_few"]:
            found.append(
                f"Too few for claims at {target['site']}: fewer than {numbers['few_positives']} of its "
                f"{number(target['cases'], 0)} held-out cases have, or lack, {', '.join(target['too_few'])}. "
                "Nothing is called better or worse there."
            )
    seeds = {line["seeds"] for line in numbers["scores"]}
    if max(seeds) == 1:
        found.append("One seed: the chance of another training run is in no number of this page.")
    elif len(seeds) > 1:
        found.append(f"Not all experiments have the same number of seeds: {min(seeds)} to {max(seeds)}.")
    return found


def findings(numbers: dict[str, Any]) -> list[dict[str, Any]]:
    """Say of every kind of difference how many are clear of zero either way, and the largest of them in sentences.

    Of every outcome where they are few enough to be shown beside one another, else of their mean alone.
    """
    found = []
    for kind, heading in KINDS.items():
        lines = [line for line in numbers["differences"] if line["kind"] == kind]
        cells = [(line, outcome, line["auroc"][outcome]) for line in lines for outcome in shown_outcomes(numbers)]
        clear = [entry for entry in cells if entry[2]["verdict"] != "unclear"]
        clear.sort(key=lambda entry: -abs(entry[2]["value"]))
        better, worse = ([one for one in clear if one[2]["verdict"] == verdict] for verdict in ("better", "worse"))
        if lines:
            found.append(
                {
                    "kind": kind,
                    "heading": heading.format(one_hot=numbers["one_hot"]),
                    "compared": len(cells),
                    "better": len(better),
                    "worse": len(worse),
                    "by_chance": 0.05 * len(cells),
                    "said": [sentence(*entry, numbers) for some in (better, worse) for entry in some[:MOST_SAID]],
                }
            )
    return found


def shown_outcomes(numbers: dict[str, Any]) -> list[str]:
    """Return macro alone, or with every outcome where they are several but few."""
    return [MACRO, *(numbers["outcomes"] if 1 < len(numbers["outcomes"]) <= MOST_OUTCOMES else ())]


def sentence(line: dict[str, Any], outcome: str, cell: dict[str, Any], numbers: dict[str, Any]) -> str:
    """Say one difference that is clear of zero."""
    first, second = line["first"], line["second"]
    differ = "regime" if first["regime"] != second["regime"] else "embedding"
    same = first["embedding"] if differ == "regime" else first["regime"]
    parts = [place(line["source"], line["target"])]
    parts += [line["model"]] if len(numbers["models"]) > 1 else []
    parts += [outcome] if len(shown_outcomes(numbers)) > 1 else []
    return (
        f"{', '.join([*parts, same])}: {first[differ]} is {cell['verdict']} than {second[differ]}, {difference(cell)}."
    )


def summary(numbers: dict[str, Any]) -> list[str]:
    """Say in a few sentences how much was run, the first pair in three regimes, and how often a claim holds."""
    num_experiments, pairs = numbers["experiments"], numbers["pairs"]
    source, target = pairs[0]
    sentences = [
        f"{number(num_experiments, 0)} models were trained: {len(numbers['embeddings'])} embeddings, "
        f"{len(pairs)} {'pair' if len(pairs) == 1 else 'pairs'} of sites, "
        f"{max(line['seeds'] for line in numbers['scores'])} seeds each; every number is a mean over seeds."
    ]
    name = next((name for name in numbers["embeddings"] if name != numbers["one_hot"]), numbers["embeddings"][0])
    own = {
        line["regime"]: line["auroc"]["macro"]
        for line in numbers["scores"]
        if line["embedding"] == name
        and line["model"] == numbers["models"][0]
        and line["size"] is None
        and line["target"] == target
        and line["source"] in (source, target)
    }
    uses = {"shared": "used unchanged", "full": "tuned in full", "local": f"learned at {target} alone"}
    parts = [f"{estimate(own[regime])} {use}" for regime, use in uses.items() if regime in own]
    if parts:
        what = "macro AUROC" if len(numbers["outcomes"]) > 1 else "AUROC"
        sentences.append(f"{name}, {place(source, target)}, has {what} {', '.join(parts)}.")
    for found in findings(numbers):
        sentences.append(
            f"{found['heading']}: {found['better']} of {found['compared']} comparisons are clearly better, "
            f"{found['worse']} clearly worse."
        )
    return sentences


def reading(numbers: dict[str, Any]) -> list[str]:
    """Say how the numbers were made, and what they do not cover."""
    compared = sum(found["compared"] for found in findings(numbers))
    return [
        "Every score is the mean over training runs from different seeds, never the best of them. Its 95 % interval "
        f"comes from {number(numbers['bootstrap']['draws'], 0)} draws of the target's held-out subjects, each with all "
        "cases of theirs: it covers the chance of having met other patients of this site. The spread over seeds stands "
        "apart and is not in the interval.",
        "Nor is the chance of another split of the subjects, of other source patients, or of a third site: two sites "
        "are two examples.",
        f"{number(compared, 0)} differences were looked at. Were there none at all, about "
        f"{number(0.05 * compared, 0)} of their intervals would still lie clear of zero; a single mark is a hint, a "
        "pattern over pairs and regimes is evidence.",
        f"Fewer than {numbers['few_positives']} held-out cases with an outcome, or without it, carry no claim; fewer "
        f"than {FEW_SUBJECTS} subjects get no interval.",
        f"A concept that fewer than {numbers['least_subjects']} subjects of a site have is counted and never named.",
        "An overlap of vocabularies is one of exact phrases: what two sites say in other words counts as lacking.",
    ]
