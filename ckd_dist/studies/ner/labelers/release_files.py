"""Find and open the files of a terminology as people have them: unpacked somewhere, gzipped or not, from any program.

A file is looked for at the path itself, in the folder, some levels below it and one above; the one that lies least deep
is taken, and two that lie equally deep are two releases, which is refused.  Text is UTF-8, or UTF-16 where a byte order
mark says so; whether it is gzipped is seen from its first bytes.  Every error names the file.
"""

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

DEPTH = 3  # folders below the one that was given: UMLS/2024AA/META
NO_TEXT = {  # first bytes -> what such a file is
    b"PK\x03\x04": "is a zip archive or a workbook: unpack it, or save it as text",
    b"\xd0\xcf\x11\xe0": "is a workbook: save it as text",
    b"%PDF": "is a PDF: give the text",
    b"version https://git-lfs": "is a pointer of Git LFS: fetch the file itself",
}
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
UNREADABLE = (UnicodeError, gzip.BadGzipFile, EOFError, zlib.error, csv.Error)


def find_file(path: Path, name: str) -> Path | None:
    """Return the release's file `name`, or `name`.gz; None where there is none.  Raise ValueError for two."""
    names = (name, f"{name}.gz")
    if path.is_file() and path.name in names:
        return path
    folder = path.parent if path.is_file() else path
    if not folder.is_dir():
        return None
    for depth in range(DEPTH + 1):
        found = sorted(file for each in names for file in folder.glob("*/" * depth + each) if file.is_file())
        if len({file.parent for file in found}) > 1:
            places = ", ".join(str(file.relative_to(folder)) for file in found[:4])
            raise ValueError(f"{folder} holds {name} more than once ({places}): give the folder of one release")
        if found:
            return found[0]
    return next((file for each in names if (file := folder.resolve().parent / each).is_file()), None)


def need_file(path: Path, name: str) -> Path:
    """Return the release's file `name`.  Raise ValueError where there is none, or two."""
    if file := find_file(path, name):
        return file
    packed = sorted(path.glob("*.zip")) if path.is_dir() else []
    hint = f"; unpack {packed[0].name}" if packed else ""
    raise ValueError(f"{path} holds neither {name} nor {name}.gz, in no folder below it either{hint}")


def need_text(path: Path, patterns: Sequence[str]) -> Path:
    """Return the path where it is a file, or the only file in it like `patterns`.  Raise ValueError otherwise."""
    if path.is_dir():
        found = sorted({file for each in patterns for file in (*path.glob(each), *path.glob(f"{each}.gz"))})
        if len(found) != 1:
            raise ValueError(f"{path} is a folder with {len(found)} files like {', '.join(patterns)}: give the file")
        return found[0]
    if not path.is_file():
        raise ValueError(f"no file {path}")
    return path


@contextmanager
def open_text(file: Path) -> Iterator[TextIO]:
    """Open a file's text, line ends untouched.  Raise ValueError that names it where it is none, then or while read."""
    need_text(file, ())
    try:
        with file.open("rb") as raw:
            packed = raw.peek(2)[:2] == b"\x1f\x8b"
            with gzip.open(raw) if packed else raw as opened, io.BufferedReader(opened) as content:
                yield io.TextIOWrapper(content, encoding=encoding_of(file, content.peek(64)), newline="")
    except UNREADABLE as error:
        raise ValueError(
            f"{file} cannot be read as UTF-8 text ({type(error).__name__}): convert it, e.g. with iconv"
        ) from error


def encoding_of(file: Path, head: bytes) -> str:
    """Return the encoding that a file's first bytes tell of.  Raise ValueError where they are not text."""
    for start, what in NO_TEXT.items():
        if head.startswith(start):
            raise ValueError(f"{file} {what}")
    marked = next((encoding for mark, encoding in MARKS.items() if head.startswith(mark)), None)
    if marked is None and b"\0" in head:
        raise ValueError(f"{file} cannot be read as UTF-8 text (it holds NUL bytes): convert it, e.g. with iconv")
    if marked is None and head.lstrip()[:1] == b"<":
        raise ValueError(f"{file} is XML or a web page, not a table: give the file of names, or obo: for an ontology")
    return marked or "utf-8"


def columns(
    file: Path, names: Sequence[str], delimiter: str, skip: int = 0, quoted: bool = True
) -> Iterator[list[str]]:
    """Yield these columns of a table with a header, which follows `skip` lines.

    Raises ValueError where a column is missing, a row has another number of fields, or a quote is not closed.
    """
    with open_text(file) as lines:
        for _ in range(skip):
            lines.readline()
        rows = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE)
        head = next(rows, [])
        if absent := [name for name in names if name not in head]:
            raise ValueError(f"{file} has no column {absent[0]!r}: its header names {len(head)} others")
        places, line = [head.index(name) for name in names], rows.line_num
        for row in rows:
            if rows.line_num > line + 1:
                raise ValueError(f"{file} line {line + 1 + skip}: a quote is not closed before the line ends")
            line = rows.line_num
            if not row:
                continue
            if len(row) != len(head):
                raise ValueError(f"{file} line {line + skip}: {len(row)} fields, its header has {len(head)}")
            yield [row[place] for place in places]


def bar_fields(file: Path, num_fields: int) -> Iterator[list[str]]:
    """Yield the fields of every line of an RRF file; each ends in a bar, so there is an empty one after the last."""
    with open_text(file) as lines:
        for number, line in enumerate(lines, 1):
            row = line.rstrip("\r\n").split("|")
            if len(row) != num_fields:
                raise ValueError(f"{file} line {number}: {len(row)} fields, a line of an RRF file has {num_fields}")
            yield row
