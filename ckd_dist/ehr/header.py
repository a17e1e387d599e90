"""A table's first line: its column names and what stands between them.

Commas, semicolons, tabs and bars are told apart by which of them shows the columns that are needed.  A column without a
name, as a data frame's index is saved, is passed over.
"""

import csv
import gzip
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ckd_dist.mistakes import raise_fault

PACKED = {
    b"\x1f\x8b": "a gzip file",
    b"PK\x03\x04": "a zip file or a spreadsheet (.xlsx)",
    b"\xd0\xcf\x11": "a spreadsheet (.xls)",
}
SEPARATORS = (",", ";", "\t", "|")


@dataclass(frozen=True)
class Header:
    """names: in lower case, one a column, made up where a column has none."""

    names: tuple[str, ...]
    separator: str


def open_table(path: Path) -> BinaryIO:
    """Open the table's bytes, unpacked."""
    return gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb")


def read_header(path: Path, needs: Sequence[str]) -> Header:
    """Read the first line.  Raise ValueError where a needed column is missing or twice, with the likely cause."""
    line = _first_line(path)
    for begin, what in PACKED.items():
        if line.startswith(begin):
            raise ValueError(
                f"{path} is {what} by its content: unpack it, or save it as .csv or .csv.gz, and name it so"
            )
    if line.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in line:
        raise ValueError(f"{path} is written in UTF-16 (a spreadsheet's 'Unicode text'): save it as CSV in UTF-8")
    text = line.decode("utf-8-sig", errors="replace")
    if "\r" in text.strip("\r\n"):
        raise ValueError(f"{path} ends its lines as an old Macintosh did (CR alone): write it anew with LF or CRLF")
    headers = [Header(_names(text, separator), separator) for separator in SEPARATORS]
    if not any(headers[0].names):
        raise ValueError(f"{path} is empty, or its first line is: a table begins with a line of column names")
    header = min(headers, key=lambda each: len(set(needs) - set(each.names)))  # the first of equals: commas
    if missing := [column for column in needs if column not in header.names]:
        raise ValueError(
            f"{path}: column {', '.join(missing)} is missing from the header (upper or lower case)"
            f"{_likely_cause(header, missing)}"
        )
    if twice := sorted({name for name in needs if header.names.count(name) > 1}):
        raise ValueError(f"{path}: two columns have the same name, {', '.join(twice)}: keep one of them")
    return header


def _first_line(path: Path) -> bytes:
    try:
        with open_table(path) as file:
            return file.readline()
    except (OSError, EOFError, zlib.error) as error:
        raise_fault(error, path)
        raise ValueError(f"{path} cannot be read ({type(error).__name__}): is the file whole?") from None


def _names(text: str, separator: str) -> tuple[str, ...]:
    return tuple(name.strip().lower() for name in next(csv.reader([text], delimiter=separator), []))


def _likely_cause(header: Header, missing: Sequence[str]) -> str:
    """Say why it may be missing; names of columns are no record, but a first line without them may be one."""
    if len(header.names) == 1:
        return ": its first line is a single name, so the columns are separated by something else, or it is no header"
    if any(name[:1].isdigit() for name in header.names):
        return ": its first line holds no names, so it may have been saved without a header"
    alike = {name.replace("_", "").replace(" ", ""): name for name in header.names}
    close = [alike[column.replace("_", "")] for column in missing if column.replace("_", "") in alike]
    return f": is it {', '.join(close)}?" if close else ""
