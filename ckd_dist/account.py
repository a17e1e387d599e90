"""What a reading kept of its source and what it lost, and the one line that says so.

Whoever reads files of others fills an `Account`; the stage returns its sentence as `Outcome.said`, so that the screen,
the stage's record and the report say the same.  It holds counts, names of tables, types and code prefixes: nothing of
a record.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

MOST = 6  # parts of one kind that a line names; the rest is added up
FEW = 3  # entries of the user's own files that a sentence quotes


@dataclass(frozen=True)
class Account:
    """kept, lost: what -> how many, largest harm first.  remarks: what a number does not say, such as a missing table.

    >>> Account({"admissions": 275, "drugs": 0}, {"rows without a time": 1204}, ("no PRESCRIPTIONS",)).sentence()
    '275 admissions, 0 drugs; lost: 1,204 rows without a time; no PRESCRIPTIONS'
    """

    kept: Mapping[str, int]
    lost: Mapping[str, int] = field(default_factory=dict)
    remarks: Sequence[str] = ()

    def sentence(self) -> str:
        """Return one line: what was kept, what was lost (nothing that is zero), what else is to be known."""
        lost = counted({what: number for what, number in self.lost.items() if number})
        return "; ".join([counted(self.kept), *([f"lost: {lost}"] if lost else []), *self.remarks])


def counted(numbers: Mapping[str, int]) -> str:
    """Write counts as words, in their order; those after the first `MOST` are added up.

    >>> counted({"words": 1200, "notes": 3})
    '1,200 words, 3 notes'
    """
    parts = [f"{number:,} {what}" for what, number in list(numbers.items())[:MOST]]
    rest = sum(list(numbers.values())[MOST:])
    return ", ".join([*parts, *([f"{rest:,} others"] if rest else [])])


def some(items: Sequence[str]) -> list[str]:
    """Return the first `FEW` of what a sentence quotes, and how many more there are.

    >>> some(["a", "b"]), some(["a", "b", "c", "d", "e"])
    (['a', 'b'], ['a', 'b', 'c', 'and 2 more'])
    """
    return [*items[:FEW], *([f"and {len(items) - FEW} more"] if len(items) > FEW else [])]
