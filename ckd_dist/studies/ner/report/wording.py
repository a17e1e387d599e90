"""Say what the report's numbers mean: what they forbid to claim, how good the primary system is, and how fast."""

from ckd_dist.report.wording import Sentences, brief, difference, estimate, lower_first, number, too_small_for_claims
from ckd_dist.studies.ner.report.results import MICRO, NerResults
from ckd_dist.studies.ner.report.tables import FEW_NOTES, NerReport, held_out_size


def sentences_of(report: NerReport, results: NerResults) -> Sentences:
    """Return the report's sentences."""
    return Sentences(warnings(results), [quality_sentence(report), *cost_sentence(report)])


def warnings(results: NerResults) -> list[str]:
    """Return what the numbers themselves forbid to claim, a sentence each."""
    sentences, held_out = [], held_out_size(results)
    if held_out.too_small:
        sentences.append(too_small_for_claims(f"{held_out.notes} notes", str(FEW_NOTES)))
    absent = [kind for kind, num_mentions in held_out.mentions.items() if num_mentions == 0]
    if absent:
        sentences.append(f"Not in the held-out notes: {', '.join(absent)}. Nothing can be said about finding it.")
    own = [system.title for system in results.systems if system.in_sample]
    if own:
        sentences.append(
            f"Labels of its own training notes: {', '.join(own)}. It repeats there what it learned, better and surer "
            "than on new notes, and the student learned from these labels too."
        )
    titles = results.titles()
    for name, counts in results.answers.items():
        if counts.get("unknown_words"):
            asked, unread, cut = (counts.get(what, 0) for what in ("questions", "unread_answers", "cut_answers"))
            no_place = sum(counts.get(what, 0) for what in ("invented", "unknown_type"))
            sentences.append(
                f"{titles[name]} left {number(counts['unknown_words'], 0)} words unknown, because {number(unread, 0)} "
                f"of its {number(asked, 0)} answers could not be read, {number(cut, 0)} were cut, and "
                f"{number(no_place, 0)} entities stand nowhere in the text or are of an unknown type: no student "
                "learned from its silence about them, and its own scores count them as missed."
            )
    labelers = [system for system in results.systems if system.role == "labeler"]
    if labelers and all(system.kind != "llm" for system in labelers):
        sentences.append(
            "No large language model was asked: the recipe has no endpoint, so this page says nothing about what "
            "prompting one would add or cost."
        )
    return sentences


def quality_sentence(report: NerReport) -> str:
    """Say how good the primary system is; where claims are allowed, beside two others."""
    primary, held_out = report.system(report.primary), report.held_out
    all_types, notes = primary.scores["strict"][MICRO], "note" if held_out.notes == 1 else "notes"
    sentence = (
        f"On {number(held_out.notes, 0)} {notes} it never saw, the {lower_first(primary.title)} finds entities "
        f"with a strict F1 of {estimate(all_types.f1)}, precision {number(all_types.precision.value)} and "
        f"recall {number(all_types.recall.value)}"
    )
    against = [pair for pair in report.differences if pair.first == primary.name]
    if against and not held_out.too_small:
        sentence += "; in strict F1 that is " + " and ".join(
            f"{difference(pair.f1['strict'][MICRO])} against the {lower_first(pair.second_title)}"
            for pair in against[:2]
        )
    return sentence + "."


def cost_sentence(report: NerReport) -> list[str]:
    """Say how long the primary system takes; nothing where nobody measured it."""
    cost = next((cost for cost in report.costs if cost.system == report.primary and cost.seconds), None)
    if not cost:
        return []
    return [f"It reads 1,000 notes in {brief(cost.seconds)} s" + (f" ({cost.hardware})." if cost.hardware else ".")]
