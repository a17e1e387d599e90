"""What a corpus calls an entity -> the column that it counts as."""

from collections.abc import Iterable, Mapping


def columns_of(kinds: Iterable[str], types: Mapping[str, str]) -> dict[str, str]:
    """Return the column of every type of a corpus that `types` names; the others are absent.

    DISEASE and sign-symptom are Disease and Sign_symptom, where that has one meaning.  Mentions of no type ("") are of
    the only column, if there is but one.

    >>> columns_of(["SIGN symptom", "Age", ""], {"Sign_symptom": "symptom", "symptom": "symptom"})
    {'SIGN symptom': 'symptom', '': 'symptom'}
    """
    alike: dict[str, set[str]] = {"": set(types.values())}
    for name, column in types.items():
        alike.setdefault(_letters(name), set()).add(column)
    meant = {kind: {types[kind]} if kind in types else alike.get(_letters(kind), set()) for kind in kinds}
    return {kind: next(iter(columns)) for kind, columns in meant.items() if len(columns) == 1}


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name)).casefold()
