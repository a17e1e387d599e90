"""What two synthetic emergency departments look for, and what each of them calls it: four lists of sixteen findings.

    same names        the same words at both sites
    other names       the same meaning in other words: eight share words or stems ("night sweats", "sweating at night"),
                      eight are synonyms, everyday ones ("vomiting", "throwing up") and learned ones ("fainting",
                      "syncope"), which a model must have read about medicine to know
    opaque codes      words at north, at south a number of its own list without a meaning to read
    reversed effects  words that mean the same, ten of them equal, but what raises the outcome's odds at north lowers
                      them at south

Each list has one outcome of its own (law.py) and the same sixteen effects: eight strengths, each for and against.
A list has four families of meaning (breathing, temperature, ...), each with two findings that raise the outcome's odds
and two that lower them: what a finding is about does not give its effect away, its words do.  Plain language, no code
system's content; effects and shares are invented and say nothing about medicine.  The lists are in findings.csv.
"""

import csv
from dataclasses import dataclass
from importlib.resources import files

SITES = ("north", "south")

SYSTEM = "finding"  # of all words, at both sites
OPAQUE_SYSTEM = "south_list"  # of numbers that only south knows

SAME, RENAMED, OPAQUE, REVERSED = "same names", "other names", "opaque codes", "reversed effects"


@dataclass(frozen=True)
class Finding:
    """One finding: its names, its effect where it is present (logits, at north), the shares of cases that have it."""

    family: str
    north: str
    south: str
    effect: float
    share_north: float
    share_south: float

    @property
    def names(self) -> tuple[str, str]:
        """Its name at each of SITES."""
        return self.north, self.south

    @property
    def shares(self) -> tuple[float, float]:
        """How often it is there at each of SITES, whether or not anybody writes it down."""
        return self.share_north, self.share_south


def read_findings() -> dict[str, tuple[Finding, ...]]:
    """Read the lists, each in the order of its rows."""
    lists: dict[str, list[Finding]] = {}
    for row in csv.DictReader(files(__package__).joinpath("findings.csv").read_text("utf-8").splitlines()):
        names = (row["family"], row["north"], row["south"])
        numbers = (float(row[column]) for column in ("effect", "share_north", "share_south"))
        lists.setdefault(row["list"], []).append(Finding(*names, *numbers))
    return {name: tuple(findings) for name, findings in lists.items()}


FINDINGS = read_findings()
ALL = tuple(finding for of_outcome in FINDINGS.values() for finding in of_outcome)
OUTCOMES = tuple(FINDINGS)
