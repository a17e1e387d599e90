"""Read a list of names that a person has written, or a spreadsheet has saved: fields between tabs, each a name.

What stands around a name is no part of it: quotes of any shape around all of a field, the mark or number of a list's
item, a comma that ends a line, characters that nobody sees.  Comment lines, what follows " # " or " // ", fields that
say there is nothing (NULL, N/A) and columns of codes are passed over and counted.  A first line that holds nothing but
words for columns is a header; of its columns those of codes and the like are no names.  Lines that have no tab but,
besides what is quoted, all the same number of commas (semicolons, bars) have two readings and are refused, and so is a
field whose quote is not closed.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

from ckd_dist.studies.ner.labelers.release_files import open_text

CODE = re.compile(r"[A-Za-z]{0,8}[:._ -]?\d[\d.]*[A-Za-z]?")  # C0004096, DOID:2841, J45.909
CODE_PREFIX = re.compile(r"https?://\S*/|\w+:")
CODES_BETWEEN = re.compile(r"[\s,;|/]+")
FEWEST_CODES = 2  # different cells that make a column one of codes
CURLY, SINGLE = "“”„‟«»", "'‘’‚`´"  # marks that open or close a quote, beside the straight one
WHOLE = (
    r'(?:"(?P<straight>(?:[^"]|"")*)"'
    rf'|[{CURLY}](?P<curly>[^{CURLY}"]*)[{CURLY}"]'
    rf"|[{SINGLE}]{{1,2}}(?P<single>(?:[^{SINGLE}]|(?<=\w)[{SINGLE}](?=\w))*)[{SINGLE}]{{1,2}})"  # Crohn's is whole
)
QUOTED = re.compile(WHOLE)
QUOTED_PART = re.compile(rf"(?:^|(?<=[,;|\t\[]))\s*{WHOLE}\s*(?=[,;|\t\]]|$)")
PARTED = re.compile(r"\0[,;|]|[,;|]\0")  # what is quoted as a whole, and a mark beside it
COMMENT_LINE = re.compile(r"\s*(?:#|//|;|%|--|/\*|<!--)")
COMMENT = re.compile(r"(?:^|\s)(?:#|//)(?:\s.*)?$")
ITEM = re.compile(r" *(?:(?:[-*+>–—·•◦▪●○■‣]|\(?\d+(?:\.\d+)*[.)]|\(?[a-z]\)|\[[ xX]?\]) +|[•◦▪●○■‣] *)+(?=\S)")
UNSEEN = dict.fromkeys(map(ord, "\u200b\u200e\u200f\u2060\ufeff\u00ad"))
NOTHING = re.compile(
    r"(?i:nan|null|none|nil|n/a|n\.a\.|<na>|not applicable|not available|undefined)|NA"
    r"|#(?:N/A|NAME\?|REF!|VALUE!|NULL!|NUM!|DIV/0!)"
)
NAME_HEADS = """
    name names term terms label labels synonym synonyms title string concept concept_name preferred_term preferred_name
    preferred_label display display_name description entity entities word words phrase phrases alias aliases
"""
OTHER_HEADS = """
    id ids code codes cui concept_id conceptid rxcui identifier uri iri source vocabulary type semantic_type count
    frequency rank no nr icd icd9 icd10 snomed sctid language status active
"""


def read_words(file: Path, kind: str, left_out: Counter[str]) -> Iterator[str]:
    """Yield every name of a list of type `kind`; count in `left_out` what holds none."""
    with open_text(file) as opened:
        lines = [line.translate(UNSEEN).rstrip("\r\n") for line in opened]
    rows = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    named = [(number, line) for number, line in rows if not COMMENT_LINE.match(line)]
    left_out["comment lines"] += len(rows) - len(named)
    bare = _without_marks([COMMENT.sub("", line) for _, line in named], left_out)
    _refuse_other_marks(file, bare)
    table = [
        [_unquoted(field.strip(), file, number) for field in line.split("\t")]
        for (number, _), line in zip(named, bare, strict=True)
    ]
    for field in _names_within(table, kind, left_out):
        if _says_nothing(field):
            left_out["fields without a word"] += bool(field)
        else:
            yield field


def _without_marks(lines: Sequence[str], left_out: Counter[str]) -> list[str]:
    """Return lines without the mark of a list's item before them and the comma, semicolon or bar behind them."""
    bare = [ITEM.sub("", line, count=1) if ITEM.match(line) else line for line in lines]
    if len(bare) > 1 and all(line.lstrip().startswith(f"{number} ") for number, line in enumerate(bare, 1)):
        bare = [line.lstrip().partition(" ")[2] for line in bare]  # 1 asthma, 2 croup, ...
    left_out["list marks"] += sum(line != before for line, before in zip(bare, lines, strict=True))
    return [re.sub(r"\s*[,;|]\s*$", "", line) for line in bare]


def _unquoted(field: str, file: Path, number: int) -> str:
    """Return a field without the quotes around all of it."""
    if whole := QUOTED.fullmatch(field):
        return whole[whole.lastgroup or 0].replace('""', '"').strip()
    if any(field.startswith(tuple(marks)) and sum(map(field.count, marks)) % 2 for marks in ('"', CURLY)):
        raise ValueError(f"{file} line {number}: a quote is not closed before the field ends")
    only = field.startswith(tuple(SINGLE)) and sum(map(field.count, SINGLE)) == 1
    return field[1:] if only else field  # spreadsheets mark text so


def _says_nothing(field: str) -> bool:
    """Whether a field holds no word, or a word for nothing."""
    return bool(NOTHING.fullmatch(field)) or not any(map(str.isalnum, field))


def _names_within(table: Sequence[Sequence[str]], kind: str, left_out: Counter[str]) -> Iterator[str]:
    """Yield the fields of the columns of names: those a header names, or else those that are not of codes."""
    columns = list(zip_longest(*table, fillvalue=""))
    chosen = _name_columns(table[0], kind) if table else []
    header = bool(chosen)
    if not header:
        headed = [_heads_codes(column[0]) for column in columns]
        codes = {place for place, column in enumerate(columns) if _are_codes(column[1:] if headed[place] else column)}
        if len(codes) < len(columns):  # else none is left: refused by who asked
            left_out["columns of codes"] += len(codes)
            header = any(headed[place] for place in codes)
            columns = [column for place, column in enumerate(columns) if place not in codes]
        chosen = list(range(len(columns)))
    left_out["header lines"] += header
    for row in list(zip(*columns, strict=True))[header:]:
        yield from (row[column] for column in chosen)


def looks_like_code(term: str) -> bool:
    """Whether a name has the shape of a code: C0004096, DOID:2841, J45.909, 250.00."""
    return bool(CODE.fullmatch(term)) or sum(map(str.isalpha, term)) < 2


def _are_codes(cells: Sequence[str]) -> bool:
    """Whether cells hold a digit in every word and most have the shape of a code: T36.0X5A is one beside J45."""
    filled = {CODE_PREFIX.sub("", cell) for cell in cells if not _says_nothing(cell)}
    words = [[word for word in CODES_BETWEEN.split(cell) if word] for cell in filled]
    shaped = sum(all(map(looks_like_code, each)) for each in words)
    digits = all(any(map(str.isdigit, word)) for each in words for word in each)
    return len(filled) >= FEWEST_CODES and digits and shaped * 2 > len(filled)


def _heads_codes(cell: str) -> bool:
    """Whether a cell is what a column of codes may be called: ICD-10-CM, icd_code."""
    return bool(set(re.split(r"[\W_]+", cell.casefold())) & set(OTHER_HEADS.split()))


def _name_columns(fields: Sequence[str], kind: str) -> list[int]:
    """Return the columns of names where `fields` are a header; none where they are names."""
    words = ["_".join(re.split(r"[\W_]+", field.casefold())) for field in fields]
    names, others = {*NAME_HEADS.split(), kind.casefold(), f"{kind.casefold()}s"}, {*OTHER_HEADS.split()}
    words = [word if word in names | others else _last_of_heads(word, names | others) for word in words]
    if not all(word in {"", *names, *others} for word in words):
        return []
    return [column for column, word in enumerate(words) if word in names]


def _last_of_heads(word: str, heads: set[str]) -> str:
    """Return the last of the parts of a column's name where all are words for columns: disease_name is a name."""
    *first, last = word.split("_")
    ends = {*NAME_HEADS.split(), *OTHER_HEADS.split()}  # "active disease" is no header
    return last if last in ends and heads.issuperset(first) else word


def _refuse_other_marks(file: Path, lines: Sequence[str]) -> None:
    """Raise ValueError where fields seem to be parted by another mark than a tab."""
    if any("\t" in line for line in lines):
        return
    advice = "part names by tabs, or write one a line, in quotes where it holds such a mark"
    bare = [QUOTED_PART.sub("\0", line) for line in lines]
    if number := sum(bool(PARTED.search(line)) for line in bare):
        raise ValueError(f"{file}: quoted names stand between commas, semicolons or bars (lines: {number}): {advice}")
    for mark, what in {",": "commas", ";": "semicolons", "|": "bars"}.items():
        numbers = {line.count(mark) for line in bare}
        if len(numbers) == 1 and min(numbers) >= (1 if len(bare) > 1 else 2):  # one name may hold one
            raise ValueError(
                f"{file}: every line has {numbers.pop()} {what} and no tab, so a line could be one name or several: "
                f"{advice}"
            )
