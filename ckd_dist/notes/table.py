"""A table of notes as it lies on the disk: how it is packed, what ends its lines, what its columns are called.

What has one reading is read, as in the tables of a hospital: commas, semicolons, tabs or bars, whichever shows the
columns that are needed; the old Macintosh's line ends; blank lines before the names; a column without a name or with
another's, which nobody needs; gzip by its first bytes.  UTF-16, a workbook and needed columns that are missing or there
twice are refused.  No message holds anything of a row.
"""

import csv
import gzip
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ckd_dist.mistakes import raise_fault

SEPARATORS = (",", ";", "\t", "|")
FIRST = 1 << 16  # bytes in which the line of names must end
GZIP, ZIP, UTF16 = b"\x1f\x8b", b"PK\x03\x04", (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Layout:
    """How a table lies on the disk.  columns: in lower case, each once, made up where one has no name of its own."""

    columns: tuple[str, ...]
    separator: str
    line_end: str
    num_before: int  # blank lines before the names
    is_packed: bool

    def scan(self, path: Path, longest: int) -> str:
        """Return DuckDB's call that reads the table as text and keeps what it rejects.  longest: bytes of a row."""
        columns = ", ".join(f"{_quoted(column)}: 'VARCHAR'" for column in self.columns)
        line_end = ", new_line = '\\r'" if self.line_end == "\r" else ""
        return f"""read_csv({_quoted(_literal(path))}, columns = {{{columns}}}, auto_detect = false, header = true,
            delim = {_quoted(self.separator)}, quote = '"', escape = '"', max_line_size = {longest}{line_end},
            skip = {self.num_before}, compression = '{"gzip" if self.is_packed else "none"}', store_rejects = true)"""


def layout_of(path: Path, needs: Sequence[str]) -> Layout:
    """Look at a table's beginning.  Raise ValueError where a needed column is missing or there twice."""
    begin, is_packed = _begin(path)
    if begin.startswith(ZIP):
        raise ValueError(f"{path} is a workbook or a zip archive: save the table as CSV in UTF-8")
    if begin.startswith(UTF16) or b"\0" in begin:
        raise ValueError(f"{path} is written in UTF-16 (a spreadsheet's 'Unicode text'): save it as CSV in UTF-8")
    text = begin.decode("utf-8-sig", errors="replace")
    line_end = "\n" if "\n" in text or "\r" not in text else "\r"
    lines = text.split(line_end)
    num_before = next((nth for nth, line in enumerate(lines) if line.strip()), 0)
    names = {each: _names(lines[num_before].strip("\r"), each) for each in SEPARATORS}
    separator = min(SEPARATORS, key=lambda each: len(set(needs) - set(names[each])))  # the first of equals: commas
    found = names[separator]
    if missing := [column for column in needs if column not in found]:
        alone = ": its first line is no line of column names" if len(found) < 2 or found[0][:1].isdigit() else ""
        raise ValueError(f"{path}: column {', '.join(missing)} is missing from the header (upper or lower case){alone}")
    if twice := [column for column in needs if found.count(column) > 1]:
        raise ValueError(f"{path}: two columns have the same name, {', '.join(twice)}: keep one of them")
    columns = [
        f"column {nth}" if not name or name in found[:nth] or '"' in name else name for nth, name in enumerate(found)
    ]
    return Layout(tuple(columns), separator, line_end, num_before, is_packed)


def _begin(path: Path) -> tuple[bytes, bool]:
    """Return the first bytes of a table, unpacked, and whether it is packed."""
    try:
        with path.open("rb") as file:
            begin = file.read(FIRST)
        is_packed = path.suffix.lower() == ".gz" or begin.startswith(GZIP)
        if is_packed:
            with gzip.open(path, "rb") as file:
                begin = file.read(FIRST)
    except (OSError, EOFError, zlib.error) as error:
        raise_fault(error, path)
        raise ValueError(f"{path} cannot be read ({type(error).__name__}): is the file whole?") from None
    return begin, is_packed


def _names(line: str, separator: str) -> list[str]:
    try:
        return [name.strip().lower() for name in next(csv.reader([line], delimiter=separator), [])]
    except csv.Error:
        return []


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _literal(path: Path) -> str:
    """Return a path that DuckDB, which takes it as a glob, reads literally: brackets and stars within brackets."""
    return re.sub(r"([*?\[])", r"[\1]", str(path))
