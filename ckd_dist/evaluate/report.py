"""Results to metrics.json, report.md and report.html: the numbers are computed once and all three say the same.

The page is one file: styles inline, plots as inline SVG, no script, nothing fetched.  It can be mailed and printed.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from ckd_dist.evaluate import plots
from ckd_dist.evaluate.measure import LOWER_IS_BETTER, measure
from ckd_dist.evaluate.predictions import publish
from ckd_dist.evaluate.results import Results
from ckd_dist.evaluate.table1 import count

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
    folder.mkdir(parents=True, exist_ok=True)
    publish(folder / "metrics.json", text(json.dumps(numbers, indent=1, allow_nan=False, ensure_ascii=False)))
    publish(folder / "report.md", text(render("report.md.jinja", numbers)))
    publish(folder / "report.html", text(render("report.html.jinja", numbers, drawings(numbers))))
    return numbers


def text(content: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(content, encoding="utf-8")


def render(template: str, numbers: dict[str, Any], drawings: dict[str, str] | None = None) -> str:
    """Fill a template of this folder; HTML is escaped, drawings are not."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ckd_dist.evaluate", "."),
        autoescape=jinja2.select_autoescape(["html.jinja"], default=False),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=None if template.startswith("report.html") else keep_cells,
    )
    environment.filters |= {
        "count": count,
        "number": number,
        "signed": signed,
        "percent": percent,
        "between": between,
        "estimate": estimate,
        "difference": difference,
        "share": share,
        "cell": cell,
        "lower_first": lower_first,
        "capitalise": upper_first,
    }
    return environment.get_template(template).render(
        **numbers,
        by_name={model["name"]: model for model in numbers["models"]},
        drawings=drawings or {},
        metric_titles=METRIC_TITLES,
        main_metrics=MAIN_METRICS,
        lower_is_better=LOWER_IS_BETTER,
    )


def keep_cells(value: Any) -> Any:
    """Text that does not end a cell of a Markdown table."""
    return value.replace("|", "\\|") if isinstance(value, str) else value


def drawings(numbers: dict[str, Any]) -> dict[str, str]:
    """The page's plots by name."""
    return {
        "auroc": plots.model_plot(numbers, "macro_auroc", "Macro-AUROC"),
        "auprc": plots.model_plot(numbers, "macro_auprc", "Macro-AUPRC"),
        "roc": plots.curve_plot(numbers, "roc"),
        "pr": plots.curve_plot(numbers, "pr"),
        "reliability": plots.reliability_plot(numbers),
        "labels": plots.label_plot(numbers),
    }


def summary(numbers: dict[str, Any]) -> list[str]:
    """The page in two sentences: how good, and how fast."""
    models = {model["name"]: model for model in numbers["models"]}
    primary = models[numbers["primary"]]
    auroc, auprc = (primary["overall"][metric] for metric in ("macro_auroc", "macro_auprc"))
    held_out = numbers["held_out"]
    first = (
        f"On {count(held_out['pairs'])} pairs of visits of {count(held_out['patients'])} patients it never saw, the "
        f"{lower_first(primary['title'])} predicts the diseases of the next visit with a macro-AUROC of "
        f"{estimate(auroc)} and a macro-AUPRC of {estimate(auprc)}"
    )
    if held_out["too_small"]:
        return [first + ".", *speed_sentence(numbers)]
    copying = find(numbers["differences"], first=primary["name"], second="copy_last_visit")
    if copying:
        first += f"; that is {difference(copying['metrics']['macro_auprc'])} macro-AUPRC against copying the last visit"
    gap = find(numbers["gaps"], name=primary["name"])
    if gap and gap["metrics"]["macro_auprc"]["value"] is not None:
        first += (
            f" and {percent(gap['metrics']['macro_auprc']['value'])} of the way from prevalence to the best possible"
        )
    return [first + ".", *speed_sentence(numbers)]


def speed_sentence(numbers: dict[str, Any]) -> list[str]:
    student, teacher = (find(numbers["timings"], name=name) for name in (numbers["primary"], "teacher"))
    if not student:
        return []
    said = (
        f"It answers for one visit in {number(student['latency_median_ms'], 1)} ms and for "
        f"{number(student['samples_per_second'], 0)} visits a second in batches of {student['batch']}"
    )
    if teacher:
        faster = student["samples_per_second"] / teacher["samples_per_second"]
        said += f", {number(faster, 1)} times the teacher's rate"
    return [f"{said} ({student['hardware']}, {student['dtype']})."]


def find(lines: list[dict[str, Any]], **wanted: str) -> dict[str, Any] | None:
    """The first line with these values."""
    return next((line for line in lines if wanted.items() <= line.items()), None)


def lower_first(title: str) -> str:
    return title[:1].lower() + title[1:]


def upper_first(sentence: str) -> str:
    """ " the numbers show" to " The numbers show"."""
    return " " + sentence.strip()[:1].upper() + sentence.strip()[1:]


# --- how numbers are written ------------------------------------------------------------------------------------------


def number(value: float | None, places: int = 3) -> str:
    """A number, or a dash where there is none.

    >>> number(0.12345), number(None), number(1234.5, 0)
    ('0.123', '–', '1,234')
    """
    return "–" if value is None else f"{value:,.{places}f}".replace("-", "−")


def signed(value: float | None, places: int = 3) -> str:
    """A number with its sign.

    >>> signed(0.1), signed(-0.1), signed(-0.0001)
    ('+0.100', '−0.100', '0.000')
    """
    if value is None:
        return "–"
    said = f"{value:+,.{places}f}".replace("-", "−")
    return said[1:] if float(f"{value:.{places}f}") == 0 else said


def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} %".replace("-", "−")


def between(cell: dict[str, float | None], write: Callable[[float | None], str] = number) -> str:
    """The interval alone, empty where there is none."""
    return "" if cell["low"] is None else f"{write(cell['low'])} to {write(cell['high'])}"


def estimate(cell: dict[str, float | None]) -> str:
    """Value and interval in one line."""
    return number(cell["value"]) + (f" ({between(cell)})" if cell["low"] is not None else "")


def difference(cell: dict[str, float | None]) -> str:
    """A signed value and its interval in one line."""
    return signed(cell["value"]) + (f" ({between(cell, signed)})" if cell["low"] is not None else "")


def share(cell: dict[str, float | None]) -> str:
    """A percentage and its interval in one line."""
    return percent(cell["value"]) + (f" ({between(cell, percent)})" if cell["low"] is not None else "")


def cell(cell: dict[str, float | None], kind: str = "number") -> Markup:
    """A table cell: the value, and the interval small beneath it."""
    write = {"number": number, "signed": signed, "percent": percent}[kind]
    return Markup("{}<small>{}</small>").format(write(cell["value"]), between(cell, write))
