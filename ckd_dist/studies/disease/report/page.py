"""Write results as metrics.json, report.md and report.html: the numbers are computed once, for all three."""

from pathlib import Path
from typing import Any

from ckd_dist.report import plots
from ckd_dist.report.page import write_pages
from ckd_dist.report.wording import count, difference, estimate, lower_first, number, percent
from ckd_dist.studies.disease.report.measure import LOWER_IS_BETTER, measure
from ckd_dist.studies.disease.report.results import Results

METRIC_TITLES = {
    "macro_auroc": "Macro-AUROC",
    "macro_auprc": "Macro-AUPRC",
    "micro_auroc": "Micro-AUROC",
    "micro_auprc": "Micro-AUPRC",
    "micro_f1": "Micro-F1",
    "macro_f1": "Macro-F1",
    "brier": "Brier",
    "ece": "ECE",
}
MAIN_METRICS = ("macro_auroc", "macro_auprc", "micro_f1", "macro_f1", "brier", "ece")


def write_report(results: Results, folder: Path) -> dict[str, Any]:
    """Write the three files into `folder`; return what metrics.json holds.

    Raises ValueError where the parts of `results` do not fit together, before anything is written.
    """
    numbers = measure(results)
    numbers["summary"] = summary(numbers)
    write_pages(
        folder,
        __package__,
        [numbers],
        drawings(numbers),
        by_name={model["name"]: model for model in numbers["models"]},
        metric_titles=METRIC_TITLES,
        main_metrics=MAIN_METRICS,
        lower_is_better=LOWER_IS_BETTER,
    )
    return numbers


def drawings(numbers: dict[str, Any]) -> dict[str, str]:
    """Draw the page's plots, by name."""
    return {
        "auroc": plots.model_plot(numbers, "macro_auroc", "Macro-AUROC"),
        "auprc": plots.model_plot(numbers, "macro_auprc", "Macro-AUPRC"),
        "roc": plots.curve_plot(numbers, "roc"),
        "pr": plots.curve_plot(numbers, "pr"),
        "reliability": plots.reliability_plot(numbers),
        "labels": plots.label_plot(numbers),
    }


def summary(numbers: dict[str, Any]) -> list[str]:
    """Sum the page up in two sentences: how good, and how fast."""
    models = {model["name"]: model for model in numbers["models"]}
    primary = models[numbers["primary"]]
    auroc, auprc = (primary["overall"][metric] for metric in ("macro_auroc", "macro_auprc"))
    held_out = numbers["held_out"]
    sentence = (
        f"On {count(held_out['pairs'])} pairs of visits of {count(held_out['patients'])} patients it never saw, the "
        f"{lower_first(primary['title'])} predicts the diseases of the next visit with a macro-AUROC of "
        f"{estimate(auroc)} and a macro-AUPRC of {estimate(auprc)}"
    )
    if held_out["too_small"]:
        return [sentence + ".", *speed_sentence(numbers)]
    copying = find(numbers["differences"], first=primary["name"], second="copy_last_visit")
    if copying:
        sentence += (
            f"; that is {difference(copying['metrics']['macro_auprc'])} macro-AUPRC against copying the last visit"
        )
    gap = find(numbers["gaps"], name=primary["name"])
    if gap and gap["metrics"]["macro_auprc"]["value"] is not None:
        sentence += (
            f" and {percent(gap['metrics']['macro_auprc']['value'])} of the way from prevalence to the best possible"
        )
    return [sentence + ".", *speed_sentence(numbers)]


def speed_sentence(numbers: dict[str, Any]) -> list[str]:
    """Say how fast the primary model is, beside the teacher; nothing where it was not timed."""
    student, teacher = (find(numbers["timings"], name=name) for name in (numbers["primary"], "teacher"))
    if not student:
        return []
    sentence = (
        f"It answers for one visit in {number(student['latency_median_ms'], 1)} ms and for "
        f"{number(student['samples_per_second'], 0)} visits a second in batches of {student['batch']}"
    )
    if teacher:
        faster = student["samples_per_second"] / teacher["samples_per_second"]
        sentence += f", {number(faster, 1)} times the teacher's rate"
    return [f"{sentence} ({student['hardware']}, {student['dtype']})."]


def find(lines: list[dict[str, Any]], **wanted: str) -> dict[str, Any] | None:
    """Return the first line with these values; None where there is none."""
    return next((line for line in lines if wanted.items() <= line.items()), None)
