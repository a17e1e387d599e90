"""The files and columns of a MEDS data set: which are read, what stands for what, and who is to blame for an error.

MEDS fixes the columns' types; tools do not keep them.  An id that is whole is read from any type of number or text.
A visit's id may also be any name, a UUID: such visits are numbered in the order of their names.  A number that is
not whole, or too large for a float of its width to be exact, names nobody and is refused; so is one that a spreadsheet
has rounded, 2.00E+07.  A text's time is read as a table's cell is (cells.py): a cast would drop the word behind it, PM.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import duckdb
import meds
import pyarrow as pa
import pyarrow.parquet as pq

from ckd_dist.ehr.cells import USUAL
from ckd_dist.ehr.staging import Connection, number
from ckd_dist.mistakes import raise_fault

ASKED = ("subject_id", "time", "code")
IDS_OF_VISITS = ("hadm_id", "visit_id")  # meds_etl calls OMOP's visit_occurrence_id so
IDS = ("subject_id", *IDS_OF_VISITS)
WHOLE = re.compile(r"U?(TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT)")
FLOAT = re.compile(r"FLOAT|DOUBLE|DECIMAL.*")
TEXT = re.compile(r"VARCHAR|ENUM.*")
MOMENT = re.compile(r"DATE|TIMESTAMP.*")
EMPTY = "'', 'nan', 'none', 'null', '<na>', 'nat', 'unk'"  # how tools write an empty cell
ROW, FILE = "file_row_number", "meds_file"  # columns that the reader adds
EXACT_BELOW = {"halffloat": 2**11, "float": 2**24, "double": 2**53}  # whole numbers, in a float of arrow's name
ROUNDED = r"^[+-]?\d([.,]\d+[eE][+]?|[eE][+])\d+$"  # a number that has lost digits, if not all of them are there
ZONES = "UTC|GMT|BST|CES?T|WES?T|EES?T|[ECMP][SD]T|AK[SD]T|HST|AES?T"  # behind a clock time, which is kept


@dataclass(frozen=True)
class Columns:
    """types: of the data's columns, by name in lower case.  below: of ids in floats, what all files have exactly."""

    place: Path
    types: dict[str, str]
    below: Mapping[str, int] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        return self.types.get(name, '"NULL"') != '"NULL"'

    def id_of(self, name: str) -> str:
        """SQL of an id as a whole number, null where it is none."""
        kind = self.types[name]
        if WHOLE.fullmatch(kind):
            return f"TRY_CAST({name} AS BIGINT)"
        if FLOAT.fullmatch(kind):
            below = self.below.get(name, EXACT_BELOW["float" if kind == "FLOAT" else "double"])
            return f"CASE WHEN {name} = trunc({name}) AND abs({name}) < {below} THEN TRY_CAST({name} AS BIGINT) END"
        if TEXT.fullmatch(kind):
            signed = f"TRY_CAST(regexp_extract({name}::VARCHAR, '^\\s*([+-]?\\d+)([.]0*)?\\s*$', 1) AS BIGINT)"
            return f"coalesce({signed}, whole(cleared({name}::VARCHAR)))"
        raise ValueError(f"{self.place}: column {name} is {kind}, and holds no ids: MEDS has whole numbers there")

    def time_of(self, name: str) -> str:
        """SQL of a clock time: an instant's in UTC; a text's as it stands, null where it has not one reading."""
        kind, cell = self.types[name], f'"{name}"'  # `end` is a word of SQL's own
        if MOMENT.fullmatch(kind):
            is_instant = kind.startswith("TIMESTAMPTZ") or kind.endswith("WITH TIME ZONE")
            return f"{cell}::TIMESTAMPTZ::TIMESTAMP" if is_instant else f"{cell}::TIMESTAMP"
        if kind == '"NULL"':
            return f"TRY_CAST({cell} AS TIMESTAMP)"
        if TEXT.fullmatch(kind):
            usual, value = (each.format(f"{cell}::VARCHAR") for each in USUAL["TIMESTAMP"])
            half = f"regexp_replace(cleared({cell}::VARCHAR), '([ap])[.] ?m[.]$', '\\1m', 'i')"
            other = f"moment(unwrapped(regexp_replace({half}, ' ?[(]?({ZONES})[)]?$', '')))"
            return f"CASE WHEN {usual} THEN {value} ELSE {other} END"
        raise ValueError(f"{self.place}: column {name} is {kind}, and holds no times: MEDS has timestamps there")

    def first_of(self, names: tuple[str, ...]) -> str | None:
        """Return the first of these columns that there is."""
        return next((name for name in names if self.has(name)), None)

    def check_codes(self, name: str) -> None:
        """Raise ValueError where codes are numbers, as a tokenizer leaves them."""
        if WHOLE.fullmatch(self.types[name]) or FLOAT.fullmatch(self.types[name]):
            raise ValueError(
                f"{self.place}: column {name} is {self.types[name]}, and MEDS' codes are text: give the data set as it"
                " was before its codes were numbered for a model"
            )

    def number_of(self, name: str) -> str:
        """SQL of a value, null where there is no such column or it holds no numbers."""
        kind = self.types.get(name, "")
        is_read = any(form.fullmatch(kind) for form in (WHOLE, FLOAT, TEXT)) or kind == "BOOLEAN"
        return f"TRY_CAST({name} AS FLOAT)" if is_read else "NULL::FLOAT"

    def is_given(self, name: str) -> str:
        """SQL: the cell is not empty, however its tool writes that."""
        kind = self.types[name]
        if TEXT.fullmatch(kind):
            return f"({name} IS NOT NULL AND lower(trim({name}::VARCHAR)) NOT IN ({EMPTY}))"
        is_nan = f" AND NOT isnan({name})" if kind in ("FLOAT", "DOUBLE") else ""
        return f"({name} IS NOT NULL{is_nan})"


def find_files(folder: Path) -> tuple[list[Path], int]:
    """Find the files of a data set, and count those passed over: hidden ones, which tools and systems leave behind.

    Raises ValueError where there is none, or one is not whole.
    """
    data = folder / meds.data_subdirectory
    all_files = sorted(data.rglob("*.parquet"))
    files = [path for path in all_files if not _is_hidden(path.relative_to(data))]
    if not files:
        raise ValueError(f"{folder} holds no data/**/*.parquet: give the folder above data/ of a MEDS data set")
    for path in files:
        if ROW in check_whole(path):
            raise ValueError(f"{path}: rename its column {ROW}, a name that the reader needs")
    return files, len(all_files) - len(files)


def _is_hidden(path: Path) -> bool:
    """Arrow and Spark leave out what begins so, too: ._0.parquet of macOS, .ipynb_checkpoints/, _temporary/."""
    return any(part.startswith((".", "_")) or part == "__MACOSX" for part in path.parts)


def check_whole(path: Path, cure: str = "Copy it anew") -> list[str]:
    """Return the names of a parquet file's columns.  Raise ValueError where it has no readable end."""
    try:
        return pq.read_schema(path).names
    except (pa.ArrowException, OSError) as error:
        raise_fault(error, path)
        raise ValueError(f"{path} cannot be read as MEDS: is it a whole parquet file? {cure}") from None


def columns_of(con: Connection, table: str, place: Path, asked: tuple[str, ...]) -> Columns:
    """Describe `table`.  Raise ValueError where a column that is asked for is missing."""
    types = {row[0].lower(): row[1] for row in con.execute(f"DESCRIBE SELECT * FROM {table}").fetchall()}
    if missing := [name for name in asked if name not in types]:
        old = ": is it of MEDS before 0.3? Convert it anew" if "patient_id" in types else ""
        found = ", ".join(name for name in types if name not in (ROW, FILE))
        raise ValueError(
            f"{place}: column {', '.join(missing)} is missing, which every such file has; found {found}{old}"
        )
    return Columns(place, types)


def with_bounds(columns: Columns, files: list[Path]) -> Columns:
    """Say what all files hold exactly of ids that any of them has as floats: one type stands for all files' columns."""
    floats = [name for name in IDS if FLOAT.fullmatch(columns.types.get(name, ""))]
    if not floats:
        return columns
    below: dict[str, int] = {}
    for path in files:
        for column in pq.read_schema(path):
            if (name := column.name.lower()) in floats and str(column.type) in EXACT_BELOW:
                below[name] = min(EXACT_BELOW[str(column.type)], below.get(name, 2**63))
    return replace(columns, below=below)


def check_rounded(con: Connection, table: str, columns: Columns, name: str) -> None:
    """Raise ValueError where an id of text has lost its last digits: it may be another's."""
    if not TEXT.fullmatch(columns.types[name]):
        return
    cell = f"trim({name}::VARCHAR)"
    rounded = f"regexp_matches({cell}, '{ROUNDED}') AND ({columns.id_of(name)}) IS NULL"
    if num := number(con, f"SELECT count(*) FROM {table} WHERE {rounded}"):
        raise ValueError(
            f"{columns.place}: column {name} reads 9.99E+99 (9 a digit) {num:,} times: a spreadsheet has rounded the"
            " ids; write them as whole numbers"
        )


def blamed(con: Connection, files: list[Path], place: Path, error: duckdb.Error) -> ValueError:
    """Return the error that names the first file which cannot be read by itself.  Raise a fault of the system."""
    raise_fault(error)
    kind = type(error).__name__
    for path in files:
        try:
            con.execute("SELECT count(subject_id), count(time), count(code) FROM read_parquet(?)", [literal(path)])
        except duckdb.OutOfMemoryException:
            raise
        except duckdb.Error:
            return ValueError(f"{path} cannot be read as MEDS ({kind}): is the file whole and of its types?")
    return ValueError(f"{place} cannot be read as MEDS ({kind}): are all files of the same types?")


def count_bad(con: Connection, table: str, given: str, read: str) -> int:
    """Count the rows where something stands that could not be read."""
    return number(con, f"SELECT count(*) FILTER ({given} AND ({read}) IS NULL) FROM {table}")  # WHERE misjudges NaN


def literal(path: Path) -> str:
    """DuckDB takes a path as a glob: a bracket or star in a folder's name stands for itself only within brackets."""
    return re.sub(r"([*?\[])", r"[\1]", str(path))
