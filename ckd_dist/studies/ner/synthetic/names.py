"""How the synthetic hospital's notes call a thing, and which of the names its vocabularies hold.

A name's mark is the vocabulary that holds it:

    name     that of its type (disease.tsv, symptom.tsv, medication.tsv)
    +name    the smaller list alone: problems.tsv (short forms of diseases), formulary.tsv (brand names)
    =name    both
    -name    neither: only its context shows what it is

Names are in the order of how often they are used; {side}, {site} and {few} in one are filled in anew each time.  No
name means two types.  Some are ambiguous all the same ("MS", "RA", "cold", "albumin") by sentences.TRAPS.
"""

from collections.abc import Iterable

Names = tuple[str, ...]  # of one thing

MARKS = "+=-"


def without_mark(name: str) -> str:
    """Return the name without its mark.

    >>> without_mark("+CHF"), without_mark("sepsis")
    ('CHF', 'sepsis')
    """
    return name[1:] if name[0] in MARKS else name


def held_by(concepts: Iterable[Names], marks: str) -> list[list[str]]:
    """Return the lines of a vocabulary: of each concept the names with one of `marks`; " " is none.

    >>> held_by([("heart failure", "=CHF", "-HFrEF"), ("-afib",)], " =")
    [['heart failure', 'CHF']]
    """
    lines = ([without_mark(n) for n in names if (n[0] if n[0] in MARKS else " ") in marks] for names in concepts)
    return [line for line in lines if line]
