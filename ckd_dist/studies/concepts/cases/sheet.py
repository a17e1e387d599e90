"""Read a CSV file of a site as text, whatever a spreadsheet or a data frame made of its form.

What has one reading is read: UTF-16 and byte order marks, semicolons, tabs or bars for commas, old line ends, an index
column without a name, blank rows, blanks that are doubled or do not break.  What has two, or loses rows, is refused in
a sentence that holds names of files and columns and nothing of a row: another encoding, two columns of one name, a
quotation mark that is not closed.
"""

import codecs
import csv
import gzip
import zlib
from io import BytesIO
from pathlib import Path

import polars as pl

from ckd_dist.mistakes import raise_fault

SEPARATORS = (",", ";", "\t", "|")
MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16", codecs.BOM_UTF8: "utf-8-sig"}


def read_sheet(path: Path, needed: tuple[str, ...]) -> pl.DataFrame:
    """Read all named columns as text, one blank between words, null where empty; rows that hold nothing are left out.

    What is before a colon of a column's name is in lower case.  Raises ValueError where a needed column is missing or
    the file cannot be read whole.
    """
    raw = read_utf8(path)
    separator, columns = _header(path, raw, needed)
    try:
        frame = pl.read_csv(BytesIO(raw), separator=separator, infer_schema=False)
    except pl.exceptions.PolarsError as error:  # messages may quote a row: none is passed on
        why = _likely_cause(raw) or f"{type(error).__name__}: has every row as many fields as the first line?"
        raise ValueError(f"{path} cannot be read as CSV ({why}); write it anew") from None
    frame.columns = columns
    frame = frame.drop(column for column in columns if _is_unnamed(column))
    if swallowed := _num_swallowed(frame, separator, len(columns)):
        raise ValueError(
            f"{path}: a quotation mark is not closed ({_opening(raw)}), and {swallowed} rows lie in the cell that it "
            "opens: close it, or double a mark that stands for itself"
        )
    text = pl.all().str.replace_all(r"\s+", " ").str.strip_chars()
    frame = frame.select(pl.when(text != "").then(text).name.keep())
    return frame.filter(pl.any_horizontal(pl.all().is_not_null()))


def read_utf8(path: Path) -> bytes:
    """Return the file as UTF-8 without a mark, its lines ended by line feeds."""
    try:
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if path.suffix.lower() == ".gz" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise_fault(error, path)
        raise ValueError(f"{path} cannot be read ({type(error).__name__}): is the file whole?") from None
    encoding = next((name for mark, name in MARKS.items() if raw.startswith(mark)), "")
    encoding = encoding or {b"\0": "utf-16-le"}.get(raw[1:2], "") or {b"\0": "utf-16-be"}.get(raw[:1], "")
    try:
        raw = raw.decode(encoding).encode() if encoding else raw
    except UnicodeDecodeError:
        raise ValueError(f"{path} is neither UTF-8 nor {encoding.upper()}: save it as UTF-8") from None
    raw = raw.lstrip(b"\r\n")
    return raw if b"\n" in raw else raw.replace(b"\r", b"\n")


def _header(path: Path, raw: bytes, needed: tuple[str, ...]) -> tuple[str, list[str]]:
    """Return what separates the fields, and the columns' names; those that have none get one of their own."""
    line = raw.partition(b"\n")[0].decode("utf-8", errors="replace")
    missing: dict[str, list[str]] = {}
    for separator in SEPARATORS:
        kinds = [name.strip().partition(":") for name in next(csv.reader([line], delimiter=separator), [])]
        columns = [kind.lower() + colon + rest for kind, colon, rest in kinds]
        missing[separator] = [column for column in needed if column not in columns]
        if not missing[separator]:
            break
    else:
        fewest = min(missing.values(), key=len)
        raise ValueError(f"{path}: column {', '.join(fewest)} is missing from its first line")
    if twice := sorted({column for column in columns if column and columns.count(column) > 1}):
        raise ValueError(f"{path}: two columns are called {', '.join(twice)}: keep one of them, or rename it")
    return separator, [column or f"\0{place}" for place, column in enumerate(columns)]


def _is_unnamed(column: str) -> bool:
    """Say whether a column has no name: a data frame's index, or what a spreadsheet adds on the right."""
    return column.startswith("\0") or column.startswith("unnamed:")


def _num_swallowed(frame: pl.DataFrame, separator: str, width: int) -> int:
    """Count the lines within cells that look like rows of their own."""
    cells = [cell for column in frame for cell in column.filter(column.str.contains("\n")).to_list()]
    return sum(line.count(separator) >= width - 1 for cell in cells for line in cell.split("\n")) if width > 1 else 0


def _likely_cause(raw: bytes) -> str:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return f"not UTF-8 at byte {error.start}: convert it, e.g. with iconv"
    return f"a quotation mark is not closed, {_opening(raw)}" if raw.count(b'"') % 2 else ""


def _opening(raw: bytes) -> str:
    """Name the first line that opens a quotation mark and does not close it."""
    odd = (place for place, line in enumerate(raw.split(b"\n"), 1) if line.count(b'"') % 2)
    return f"line {next(odd, 1):,}"
