"""Write numbers as metrics.json, report.md and report.html: a template a study, what all reports share in page.*.jinja.

The page is one file: styles inline, plots as inline SVG, no script, nothing fetched.  It can be mailed and printed.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import field, fields, is_dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from ckd_dist.files import write
from ckd_dist.report import wording

FILTERS = {
    "count": wording.count,
    "number": wording.number,
    "signed": wording.signed,
    "percent": wording.percent,
    "between": wording.between,
    "estimate": wording.estimate,
    "difference": wording.difference,
    "share": wording.share,
    "cell": wording.cell,
    "brief": wording.brief,
    "lower_first": wording.lower_first,
    "capitalise": wording.upper_first,
}


def write_pages(
    folder: Path, package: str, parts: Sequence[Any], drawings: Mapping[str, str], **more: Any
) -> dict[str, Any]:
    """Write the three files into `folder`; return what metrics.json holds.

    package: where report.md.jinja and report.html.jinja lie.  parts: dataclasses, say one of tables, one of sentences;
    their fields, side by side, are what metrics.json holds and what the templates read.  drawings: SVG by name, for the
    page.  more: whatever else the templates read.
    """
    said = side_by_side(parts)
    numbers = plain(said)
    markdown = render(package, "report.md.jinja", **said, **more)
    page = render(package, "report.html.jinja", **said, **more, drawings=drawings)
    write(folder / "metrics.json", json.dumps(numbers, indent=1, allow_nan=False, ensure_ascii=False))
    write(folder / "report.md", markdown)
    write(folder / "report.html", page)
    return numbers


def side_by_side(parts: Sequence[Any]) -> dict[str, Any]:
    """Return the fields of several dataclasses as one dict.  Raise ValueError where two have a field of one name."""
    together: dict[str, Any] = {}
    for part in parts:
        own = vars(part)
        if twice := sorted(own.keys() & together.keys()):
            raise ValueError(f"two parts of one report have a field of the same name: {', '.join(twice)}")
        together |= own
    return together


def render(package: str, template: str, **context: Any) -> str:
    """Fill a template of `package`, which may extend one of this folder; HTML is escaped, drawings are not."""
    loaders = [jinja2.PackageLoader(name, ".") for name in (package, __package__)]
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(loaders),
        autoescape=jinja2.select_autoescape(["html.jinja"], default=False),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=None if template.endswith(".html.jinja") else keep_cells,
    )
    environment.filters |= FILTERS
    return environment.get_template(template).render(context)


def keep_cells(value: Any) -> Any:
    """Return text that does not end a cell of a Markdown table."""
    return value.replace("|", "\\|") if isinstance(value, str) else value


def inline() -> Any:
    """Mark a dataclass's field that stands for fields of its own: metrics.json has those in its place."""
    return field(metadata={"inline": True})


def plain(value: Any) -> Any:
    """Return the same in types that JSON has: of a dataclass or named tuple its fields by name; NaN becomes None."""
    if is_dataclass(value):
        named: dict[str, Any] = {}
        for each in fields(value):
            item = plain(getattr(value, each.name))
            named |= item if each.metadata.get("inline") else {each.name: item}
        return named
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
