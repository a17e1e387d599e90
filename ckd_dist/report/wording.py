"""How numbers are written in the reports, so that page and Markdown write them alike: a dash where there is none.

A cell is an Estimate as JSON holds it: {"value": .., "low": .., "high": ..}, each a number or None.
"""

from collections.abc import Callable

from markupsafe import Markup


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


def lower_first(title: str) -> str:
    return title[:1].lower() + title[1:]


def upper_first(sentence: str) -> str:
    """ " the numbers show" to " The numbers show"."""
    return " " + sentence.strip()[:1].upper() + sentence.strip()[1:]


def brief(value: float | None) -> str:
    """A quantity of any size to three digits, a dash where there is none.

    >>> brief(1234.5), brief(12.345), brief(0.00123), brief(0), brief(None)
    ('1,234', '12.3', '0.00123', '0', '–')
    """
    if value is None:
        return "–"
    if abs(value) >= 100 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 1e-4 else f"{value:.1e}"
