"""Write numbers in reports, page and Markdown alike: a dash where there is none.

A cell is an Estimate, a Difference, or anything else with value, low and high, each a number, NaN where there is none.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from markupsafe import Markup

SMALL = 5  # counts below it are not shown
FEW_PERSONS = re.compile(rf"(?<![\d,.])[1-{SMALL - 1}](?=( of [\d,]+)? (subject|patient|person|case)s?\b)")


class Cell(Protocol):
    """A value and its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Sentences:
    """What every report says of its numbers."""

    warnings: Sequence[str]  # what they forbid to claim
    summary: Sequence[str]


def too_small_for_claims(has: str, least: str) -> str:
    """Return the warning of a held-out part that no claim may rest on.  has: what there is.  least: what it needs."""
    return (
        f"Too small for claims: the held-out part has {has} (fewer than {least}). "
        "The numbers show that the pipeline runs, nothing more."
    )


def known(value: float | None) -> bool:
    """Say whether there is a number: not None, NaN or infinite."""
    return value is not None and math.isfinite(value)


def number(value: float | None, places: int = 3) -> str:
    """Return a number, or a dash where there is none.

    >>> number(0.12345), number(float("nan")), number(1234.5, 0)
    ('0.123', '–', '1,234')
    """
    return f"{value:,.{places}f}".replace("-", "−") if known(value) else "–"


def signed(value: float | None, places: int = 3) -> str:
    """Return a number with its sign.

    >>> signed(0.1), signed(-0.1), signed(-0.0001)
    ('+0.100', '−0.100', '0.000')
    """
    if not known(value):
        return "–"
    said = f"{value:+,.{places}f}".replace("-", "−")
    return said[1:] if float(f"{value:.{places}f}") == 0 else said


def percent(value: float | None) -> str:
    """Return a share in percent."""
    return f"{100 * value:.0f} %".replace("-", "−") if known(value) else "–"


def masked(line: str) -> str:
    """Return a line without counts of so few persons or cases; rows of tables are neither.

    >>> masked("1 sites, 12 subjects; lost: 3 cases (no site named), 2 rows of cases; 4 of 900 patients have died")
    '1 sites, 12 subjects; lost: <5 cases (no site named), 2 rows of cases; <5 of 900 patients have died'
    """
    return FEW_PERSONS.sub(f"<{SMALL}", line)


def count(n: int) -> str:
    """Return a count as a reader may see it: 1 to 4 as "<5", so that nobody is found in a report.

    >>> [count(n) for n in (0, 4, 5, 12345)]
    ['0', '<5', '5', '12,345']
    """
    return f"<{SMALL}" if 0 < n < SMALL else f"{n:,}"


def count_and_share(n: int, of: int) -> str:
    """Return a count and its share of a total, or the count alone where it is small."""
    return count(n) if n < SMALL or of == 0 else f"{n:,} ({100 * n / of:.1f} %)"


def between(cell: Cell, write: Callable[[float | None], str] = number) -> str:
    """Return the interval alone, empty where there is none."""
    return f"{write(cell.low)} to {write(cell.high)}" if known(cell.low) else ""


def estimate(cell: Cell) -> str:
    """Return value and interval in one line."""
    return number(cell.value) + (f" ({between(cell)})" if known(cell.low) else "")


def difference(cell: Cell) -> str:
    """Return a signed value and its interval in one line."""
    return signed(cell.value) + (f" ({between(cell, signed)})" if known(cell.low) else "")


def share(cell: Cell) -> str:
    """Return a percentage and its interval in one line."""
    return percent(cell.value) + (f" ({between(cell, percent)})" if known(cell.low) else "")


def cell(cell: Cell, kind: str = "number") -> Markup:
    """Return a table cell: the value, and the interval small beneath it."""
    write = {"number": number, "signed": signed, "percent": percent}[kind]
    return Markup("{}<small>{}</small>").format(write(cell.value), between(cell, write))


def listed(words: Sequence[str]) -> str:
    """Join words as a sentence lists them.

    >>> listed(["300"]), listed(["300", "1,000", "3,000"])
    ('300', '300, 1,000 and 3,000')
    """
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def lower_first(title: str) -> str:
    """Return a title as it is written within a sentence."""
    return title[:1].lower() + title[1:]


def upper_first(sentence: str) -> str:
    """Turn " the numbers show" into " The numbers show"."""
    return " " + sentence.strip()[:1].upper() + sentence.strip()[1:]


def brief(value: float | None) -> str:
    """Return a quantity of any size to three digits, a dash where there is none.

    >>> brief(1234.5), brief(12.345), brief(0.00123), brief(0), brief(None)
    ('1,234', '12.3', '0.00123', '0', '–')
    """
    if not known(value):
        return "–"
    if abs(value) >= 100 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 1e-4 else f"{value:.1e}"


def without_places(fields: dict) -> dict:
    """Return a recipe for a page that may be passed on: of a path only the last part.

    >>> without_places({"extract.source": "mimic3:/data/mimic", "teacher.base": "Qwen/Qwen2.5-7B", "seed": 1})
    {'extract.source': 'mimic3:mimic', 'teacher.base': 'Qwen/Qwen2.5-7B', 'seed': 1}
    >>> without_places({"sites.sources": ["A=eicu:/data/eicu"], "embed.models": [{"base": "/models/minilm"}]})
    {'sites.sources': ['A=eicu:eicu'], 'embed.models': [{'base': 'minilm'}]}
    """
    return {name: _without_places(value) for name, value in fields.items()}


def _without_places(value: Any) -> Any:
    if isinstance(value, dict):
        return without_places(value)
    if isinstance(value, list | tuple):
        return [_without_places(each) for each in value]
    return re.sub(r"(^|:|=)/.*/", r"\1", value) if isinstance(value, str) else value
