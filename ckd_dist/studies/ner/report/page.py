"""NerResults to metrics.json, report.md and report.html: the numbers are computed once and all three show the same.

Where the held-out part has too few notes nothing is called better or worse.
"""

from pathlib import Path
from typing import Any

from ckd_dist.report.bootstrap import LEVEL
from ckd_dist.report.compare import judge
from ckd_dist.report.page import plain, write_pages
from ckd_dist.report.wording import brief, difference, estimate, lower_first, number
from ckd_dist.studies.ner.report import plots
from ckd_dist.studies.ner.report.results import MATCHES, MICRO, Difference, NerResults

FEW_NOTES = 20  # held out; below: no claim may rest on the report
MOST_COLUMNS = 6  # types beside one another; more are listed below one another


def write_report(results: NerResults, folder: Path) -> dict[str, Any]:
    """Write the three files into `folder`; return what metrics.json holds.

    Raises ValueError where the parts of `results` do not fit together, before anything is written.
    """
    results.check()
    numbers = plain(numbers_of(results))
    numbers["summary"] = summary(numbers)
    drawings = {"systems": plots.system_plot(numbers), "curve": plots.curve_plot(numbers)}
    write_pages(
        folder,
        __package__,
        [numbers],
        drawings,
        matches=MATCHES,
        most_columns=MOST_COLUMNS,
        shown=results.titles(),
        answer_kinds=list(dict.fromkeys(what for counts in results.answers.values() for what in counts)),
    )
    return numbers


def numbers_of(results: NerResults) -> dict[str, Any]:
    """Return everything that the report shows, as plain as JSON but for estimates."""
    held_out, provenance = results.held_out(), results.provenance
    return {
        "title": provenance.title,
        "source": provenance.source,
        "date": provenance.date,
        "primary": results.primary,
        "types": list(results.types),
        "held_out": {
            "notes": held_out.notes,
            "words": held_out.words,
            "mentions": {kind: held_out.mentions.get(kind, 0) for kind in results.types},
            "too_small": held_out.notes < FEW_NOTES,
        },
        "bootstrap": {"over": results.drawn, "draws": results.bootstrap_draws, "seed": results.seed, "level": LEVEL},
        "warnings": warnings(results),
        "notes": list(provenance.notes),
        "systems": [
            {
                "name": system.name,
                "title": system.title,
                "role": system.role,
                "in_sample": system.in_sample,
                "scores": {
                    match: {kind: vars(system.scores[match][kind]) for kind in (MICRO, *results.types)}
                    for match in MATCHES
                },
            }
            for system in results.systems
        ],
        "differences": [compared(line, results) for line in results.differences],
        "choices": [vars(choice) for choice in results.choices],
        "curve": [vars(point) for point in results.curve],
        "elsewhere": [vars(line) for line in results.elsewhere],
        "costs": [vars(cost) for cost in results.costs],
        "corpus": [vars(split) for split in results.corpus],
        "left_out": dict(results.left_out),
        "answers": dict(results.answers),
        "recipe": dict(provenance.recipe),
        "versions": dict(provenance.versions),
    }


def compared(line: Difference, results: NerResults) -> dict[str, Any]:
    """Return a difference with its verdict: better, worse, or unclear."""
    too_small = results.held_out().notes < FEW_NOTES
    shown = results.titles()
    groups = (MICRO, *results.types)
    return {
        "first": line.first,
        "second": line.second,
        "first_title": shown[line.first],
        "second_title": shown[line.second],
        "f1": {
            match: {kind: judge(line.f1[match][kind], enough=not too_small) for kind in groups} for match in MATCHES
        },
    }


def warnings(results: NerResults) -> list[str]:
    """Return what the numbers themselves forbid to claim, a sentence each."""
    sentences, held_out = [], results.held_out()
    if held_out.notes < FEW_NOTES:
        sentences.append(
            f"Too small for claims: the held-out part has {held_out.notes} notes (fewer than {FEW_NOTES}). "
            "The numbers show that the pipeline runs, nothing more."
        )
    absent = [kind for kind in results.types if held_out.mentions.get(kind, 0) == 0]
    if absent:
        sentences.append(f"Not in the held-out notes: {', '.join(absent)}. Nothing can be said about finding it.")
    own = [system.title for system in results.systems if system.in_sample]
    if own:
        sentences.append(
            f"Labels of its own training notes: {', '.join(own)}. It repeats there what it learned, better and surer "
            "than on new notes, and the student learned from these labels too."
        )
    labelers = [system for system in results.systems if system.role == "labeler"]
    if labelers and all(system.kind != "llm" for system in labelers):
        sentences.append(
            "No large language model was asked: the recipe has no endpoint, so this page says nothing about what "
            "prompting one would add or cost."
        )
    return sentences


def summary(numbers: dict[str, Any]) -> list[str]:
    """Return the page in two sentences: how good, and how fast."""
    primary = next(system for system in numbers["systems"] if system["name"] == numbers["primary"])
    held_out, all_types = numbers["held_out"], primary["scores"]["strict"][MICRO]
    notes = "note" if held_out["notes"] == 1 else "notes"
    text = (
        f"On {number(held_out['notes'], 0)} {notes} it never saw, the {lower_first(primary['title'])} finds entities "
        f"with a strict F1 of {estimate(all_types['f1'])}, precision {number(all_types['precision']['value'])} and "
        f"recall {number(all_types['recall']['value'])}"
    )
    against = [line for line in numbers["differences"] if line["first"] == primary["name"]]
    if against and not held_out["too_small"]:
        text += "; in strict F1 that is " + " and ".join(
            f"{difference(line['f1']['strict'][MICRO])} against the {lower_first(line['second_title'])}"
            for line in against[:2]
        )
    return [text + ".", *cost_sentence(numbers, primary)]


def cost_sentence(numbers: dict[str, Any], primary: dict[str, Any]) -> list[str]:
    """Return how long the primary system takes; nothing where nobody measured it."""
    cost = next((c for c in numbers["costs"] if c["system"] == primary["name"] and c["seconds"]), None)
    if not cost:
        return []
    return [
        f"It reads 1,000 notes in {brief(cost['seconds'])} s" + (f" ({cost['hardware']})." if cost["hardware"] else ".")
    ]
