"""Where the quoting of a table breaks.

A quote that is not closed takes the rows after it into one cell, up to the next quote or to the end of the file.  A
cell may hold line ends lawfully; what gives the broken one away is that a line within it is a row of the table itself:
as many fields, and a first field of the same form.  Looked for only where the rows give cause, since it reads every
byte again.
"""

import csv
import re
from pathlib import Path

from ckd_dist.ehr.header import Header, open_table


def check_quoting(path: Path, header: Header, num_rows: int) -> None:
    """Raise ValueError where a quote swallows rows, and name its line.  num_rows: kept and malformed, as was read."""
    found, begin, cell = 0, 0, b""
    separator, suspicious = header.separator.encode(), 0
    with open_table(path) as file:
        for number, line in enumerate(file, 1):
            if begin and _is_row(line, cell, header):
                raise ValueError(
                    f"{path}, line {begin}: a quote opens and is not closed before line {number}, which is a row of its"
                    " own: every row between would be lost; close the quote, or write the table anew with every quote"
                    " within a cell doubled"
                )
            found += not begin and bool(line.strip())
            ends_open = _ends_open(line, separator, inside=bool(begin)) if b'"' in line else bool(begin)
            if ends_open and not begin:
                begin, cell = number, line
                suspicious = suspicious or number
            elif not ends_open:
                begin = 0
    if found - 1 != num_rows:
        raise ValueError(
            f"{path}: it has {found - 1:,} rows, of which {num_rows:,} can be told apart, the first doubt at line"
            f" {suspicious or 2}: a quote is not closed; write the table anew with every quote within a cell doubled"
        )


def _is_row(line: bytes, first: bytes, header: Header) -> bool:
    """Say whether a line within a cell looks like a row: the fields of the header, and the first line's first form."""
    try:
        fields = next(csv.reader([line.decode("utf-8", "replace")], delimiter=header.separator), [])
    except csv.Error:
        return False
    return len(fields) == len(header.names) > 1 and _form(fields[0]) == _form(first.split(header.separator.encode())[0])


def _form(field: str | bytes) -> str:
    text = field.decode("utf-8", "replace") if isinstance(field, bytes) else field
    return re.sub(r"[^\W\d]+", "A", re.sub(r"\d+", "9", text.strip().strip('"')))


def _ends_open(line: bytes, separator: bytes, inside: bool) -> bool:
    """Say whether a line ends within a quoted cell.  What follows a closing quote but is no separator ends the row."""
    at = 0
    while at < len(line):
        if inside or line[at : at + 1] == b'"':
            at = _after_quote(line, at if inside else at + 1)
            if at < 0:
                return True
            inside = False
            if line[at : at + 1] != separator:
                return False
            at += 1
        else:
            found = line.find(separator, at)
            if found < 0:
                return False
            at = found + 1
    return False


def _after_quote(line: bytes, at: int) -> int:
    """Return where the cell's closing quote ends, -1 where it does not close in this line."""
    while (found := line.find(b'"', at)) >= 0:
        if line[found + 1 : found + 2] != b'"':
            return found + 1
        at = found + 2
    return -1
