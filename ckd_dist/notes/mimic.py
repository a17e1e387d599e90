"""Notes of MIMIC-III (NOTEEVENTS.csv) and MIMIC-IV (note/discharge.csv): free text, subject, no annotation.

DuckDB streams the file, gzipped or not, and knows that a quoted text runs over lines.  Everything is read as text and
the note is kept to the character, blanks at its ends too, so that offsets found here are offsets in the hospital's
table.  Notes that MIMIC-III marks as errors (ISERROR: 1, or another word for yes) are left out.  Above
a twentieth of malformed rows the table is refused, with the likely cause.
"""

import re
from collections import Counter
from pathlib import Path

import duckdb

from ckd_dist.mistakes import raise_fault
from ckd_dist.notes.document import Corpus, Document, corpus_of
from ckd_dist.notes.table import layout_of

NOTES_III = ("NOTEEVENTS", "row_id")
NOTES_IV = ("discharge", "note_id")
LONGEST = 1 << 25  # bytes of a row; a discharge summary has some 10,000
ROWS = 10_000  # fetched at once
MOST_LOST = 1 / 20  # share of the rows that may be malformed
IN_ERROR = ("1", "true", "t", "yes", "y")  # what a column of yes and no says, in lower case, without .0 behind it
NOT_IN_ERROR = ("", "0", "false", "f", "no", "n", "nan", "na", "n/a", "none", "null", "\\n", "<na>")
CAUSES = {  # what DuckDB says of a row -> why that is
    "INVALID ENCODING": "they are not UTF-8, so it may be Latin-1 or Windows-1252: convert it, e.g. with iconv",
    "UNQUOTED VALUE": "a quotation mark within a text is not doubled, or one is not closed: write the table anew",
    "MISSING COLUMNS": "they have too few fields: a text with line breaks must stand in quotation marks",
    "TOO MANY COLUMNS": "they have too many fields: a text with separators must stand in quotation marks",
    "LINE SIZE OVER MAXIMUM": f"a row has more than {LONGEST:,} bytes: is a quotation mark not closed?",
}
FAULTS = """SELECT fault, count(*) FROM (SELECT min_by(error_type::VARCHAR, error_type) AS fault FROM reject_errors
    GROUP BY file_id, line) GROUP BY fault ORDER BY count(*) DESC, fault DESC"""
ROUNDED = re.compile(r"\d(?:[.,]\d+)?[eE]\+?\d+")  # an id that a spreadsheet has rounded
WHOLE = re.compile(r"(\d+)\.0+")  # an id in a column of numbers with a gap


def read_mimic3(path: Path) -> Corpus:
    """Read NOTEEVENTS.csv(.gz), given itself or its folder.  Raises ValueError where table or column is missing."""
    return _read(path, *NOTES_III)


def read_mimic4(path: Path) -> Corpus:
    """Read discharge.csv(.gz), given itself, its folder or the folder above note/.  Raises as read_mimic3."""
    return _read(path, *NOTES_IV)


def _read(path: Path, table: str, key: str) -> Corpus:
    path = _find(path, table)
    layout = layout_of(path, (key, "subject_id", "text"))
    mark = "iserror" if "iserror" in layout.columns else "NULL"
    counts: Counter[str] = Counter()
    documents: list[Document] = []
    with duckdb.connect() as con:
        try:
            rows = con.execute(f"SELECT {key}, subject_id, text, {mark} FROM {layout.scan(path, LONGEST)}")
            while batch := rows.fetchmany(ROWS):
                for name, subject, text, said in batch:
                    if _is_in_error(path, said):
                        counts["in_error"] += 1
                    elif not (name and text and text.strip()):
                        counts["empty"] += 1
                    else:
                        documents.append(Document(_id(path, name), text, None, subject and _id(path, subject)))
            faults = dict(con.execute(FAULTS).fetchall())
        except duckdb.IOException as error:  # messages may quote a row: none is passed on
            raise_fault(error)
            raise ValueError(f"{path} cannot be read to its end: is the file whole?") from None
        except duckdb.InvalidInputException:
            raise ValueError(f"{path} cannot be parsed as CSV: write it anew, with one kind of line end") from None
    _check_enough(path, faults, sum(counts.values()) + len(documents))
    counts["malformed_lines"] = sum(faults.values())
    return corpus_of(documents, counts)


def _is_in_error(path: Path, said: str | None) -> bool:
    """Say whether a mark is a yes.  Raises ValueError where it is neither yes nor no."""
    word = re.sub(r"\.0*$", "", (said or "").strip().lower())
    if word not in IN_ERROR and word not in NOT_IN_ERROR:
        raise ValueError(f"{path}: column iserror says neither yes nor no: write 1 for a note in error, else nothing")
    return word in IN_ERROR


def _id(path: Path, written: str) -> str:
    """Return an id as a whole number where it is one.  Raises ValueError where a spreadsheet has rounded it."""
    written = written.strip()
    if ROUNDED.fullmatch(written):
        raise ValueError(f"{path}: a spreadsheet has rounded the ids (1.2E+07): export the table again, ids as text")
    whole = WHOLE.fullmatch(written)
    return whole[1] if whole else written


def _check_enough(path: Path, faults: dict[str, int], num_rows: int) -> None:
    """Raise ValueError where more than a twentieth of the rows are malformed, with the most frequent cause."""
    num_lost = sum(faults.values())
    if num_lost > MOST_LOST * (num_lost + num_rows):
        cause = CAUSES.get(next(iter(faults)), "write the table anew")
        raise ValueError(f"{path}: {num_lost:,} of {num_lost + num_rows:,} rows are malformed; most often {cause}")


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
