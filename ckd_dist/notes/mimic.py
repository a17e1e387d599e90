"""Notes of MIMIC-III (NOTEEVENTS.csv) and MIMIC-IV (note/discharge.csv): free text, subject, no annotation.

DuckDB streams the file, gzipped or not, and knows that a quoted text runs over lines.  Everything is read as text and
the note is kept to the character, blanks at its ends too, so that offsets found here are offsets in the hospital's
table.  Notes that MIMIC-III marks as errors (ISERROR = 1) are left out.
"""

import csv
import gzip
import re
import zlib
from collections import Counter
from pathlib import Path

import duckdb

from ckd_dist.notes.document import Corpus, Document, corpus_of

NOTES_III = ("NOTEEVENTS", "row_id")
NOTES_IV = ("discharge", "note_id")
LONGEST = 1 << 25  # bytes of a row; a discharge summary has some 10,000
ROWS = 10_000  # fetched at once


def read_mimic3(path: Path) -> Corpus:
    """Read NOTEEVENTS.csv(.gz), given itself or its folder.  Raises ValueError where table or column is missing."""
    return _read(path, *NOTES_III)


def read_mimic4(path: Path) -> Corpus:
    """Read discharge.csv(.gz), given itself, its folder or the folder above note/.  Raises as read_mimic3."""
    return _read(path, *NOTES_IV)


def _read(path: Path, table: str, key: str) -> Corpus:
    path = _find(path, table)
    header = _header(path)
    if missing := [column for column in (key, "subject_id", "text") if column not in header]:
        raise ValueError(f"{path}: column {', '.join(missing)} is missing from the header (upper or lower case)")
    columns = ", ".join(f"{_quoted(column)}: 'VARCHAR'" for column in header)
    wrong = "coalesce(trim(iserror) IN ('1', '1.0'), false)" if "iserror" in header else "false"
    query = f"""SELECT {key}, subject_id, text, {wrong}
        FROM read_csv({_quoted(_literal(path))}, columns = {{{columns}}}, auto_detect = false, header = true,
        delim = ',', quote = '"', escape = '"', max_line_size = {LONGEST}, store_rejects = true)"""
    counts: Counter[str] = Counter()
    documents: list[Document] = []
    with duckdb.connect() as con:
        try:
            rows = con.execute(query)
            while batch := rows.fetchmany(ROWS):
                for name, subject, text, in_error in batch:
                    if in_error:
                        counts["in_error"] += 1
                    elif not (name and text and text.strip()):
                        counts["empty"] += 1
                    else:
                        documents.append(Document(name.strip(), text, None, subject and subject.strip()))
            counts["malformed_lines"] = con.execute(
                "SELECT count(DISTINCT (file_id, line)) FROM reject_errors"
            ).fetchall()[0][0]
        except duckdb.IOException:  # messages may quote a row: none is passed on
            raise ValueError(f"{path} cannot be read to its end: is the file whole?") from None
        except duckdb.InvalidInputException:
            raise ValueError(f"{path} cannot be parsed as CSV: write it anew, with one kind of line end") from None
    return corpus_of(documents, counts)


def _find(path: Path, table: str) -> Path:
    """Return the file itself, or the one in a folder or its note/, whatever its case."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise ValueError(f"there is no file or folder {path}: give {table}.csv.gz or its folder")
    wanted = (f"{table}.csv".lower(), f"{table}.csv.gz".lower())
    found = [p for folder in (path, path / "note") if folder.is_dir() for p in sorted(folder.iterdir())]
    found = [p for p in found if p.name.lower() in wanted]
    if len(found) != 1:
        names = " and ".join(str(p.relative_to(path)) for p in found)
        raise ValueError(
            f"{path} holds {names}: give one of them"
            if found
            else f"{path} holds neither {table}.csv nor {table}.csv.gz: add the table, or give its path"
        )
    return found[0]


def _header(path: Path) -> list[str]:
    """Read the column names, in lower case."""
    try:
        with gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb") as file:
            line = file.readline(1 << 16).decode("utf-8-sig", errors="replace")
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} cannot be read ({type(error).__name__}): is the file whole?") from None
    return [name.strip().lower() for name in next(csv.reader([line]), [])]


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _literal(path: Path) -> str:
    """Return a path that DuckDB, which takes it as a glob, reads literally: brackets and stars within brackets."""
    return re.sub(r"([*?\[])", r"[\1]", str(path))
