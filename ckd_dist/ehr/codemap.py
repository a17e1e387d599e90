"""A site's own codes -> event codes, by a small file of the user's.

    CSV, two columns named code, event_code            YAML, code: event code
    HF01,DIAGNOSIS//ICD//10//I50.9                     HF01: DIAGNOSIS//ICD//10//I50.9
    SNOMED/,DIAGNOSIS//SNOMED//                        SNOMED/: DIAGNOSIS//SNOMED//

A CSV file (.csv, .tsv, .txt) may have semicolons, tabs or bars in place of commas.

Where ours ends in // theirs is the beginning of codes, whose rest is kept; the longest beginning counts, and a whole
code before any.  Of a MEDS data set every code is looked up as it stands there; of tables, a diagnosis, a procedure
or a drug, by its event code or by the table's own code, dots and case apart.  Descriptions go with their
codes.
"""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from ckd_dist.account import some
from ckd_dist.ehr.meds_codes import Reading, read_code
from ckd_dist.ehr.staging import KIND, Connection, Report, number
from ckd_dist.ehr.yamlmap import load_mapping
from ckd_dist.schema import ANY_DIAGNOSIS, ANY_PROCEDURE, DIAGNOSIS, MEDICATION, PROCEDURE

COLUMNS = ["code", "event_code"]
CSV, MARKS = (".csv", ".tsv", ".txt"), ",;\t|"  # endings of such files, and what may stand between their fields
CODED = (DIAGNOSIS, ANY_DIAGNOSIS, PROCEDURE, ANY_PROCEDURE, MEDICATION)  # kinds of tables that a map may change


@dataclass(frozen=True)
class CodeMap:
    """Whole codes and beginnings of codes, and what they are called here."""

    entries: Mapping[str, str] = field(default_factory=dict)
    required: bool = True  # whether a source that holds none of its codes is refused
    met: set[str] = field(default_factory=set, init=False)  # the entries that renamed something
    crossed: set[str] = field(default_factory=set, init=False)  # those that would make another kind of a table's code

    def ours(self, theirs: str) -> str:
        """Return what a code is called here: itself, where no entry is of it.

        >>> of_site = CodeMap({"HF01": "DIAGNOSIS//ICD//10//I50.9", "SNOMED/": "DIAGNOSIS//SNOMED//"})
        >>> of_site.ours("HF01"), of_site.ours("SNOMED/84114007"), of_site.ours("HF012")
        ('DIAGNOSIS//ICD//10//I50.9', 'DIAGNOSIS//SNOMED//84114007', 'HF012')
        """
        entry = self.entry_of(theirs)
        if entry is None:
            return theirs
        ours = self.renamed_by(entry, theirs)
        if _read(ours):
            self.met.add(entry)
        return ours

    def entry_of(self, theirs: str) -> str | None:
        """Return the entry that is of a code: the whole code, or its longest beginning; None where there is none."""
        code = theirs.strip()
        if code in self.entries:
            return code
        return max((each for each in self._beginnings if code.startswith(each)), key=len, default=None)

    def renamed_by(self, entry: str, theirs: str) -> str:
        """Return what an entry that is of a code makes of it."""
        rest = theirs.strip().removeprefix(entry) if entry in self._beginnings else ""
        return self.entries[entry] + rest

    @cached_property
    def _beginnings(self) -> list[str]:
        return [theirs for theirs, ours in self.entries.items() if ours.endswith("//")]

    def check_met(self, report: Report) -> None:
        """Say which entries renamed nothing.  Raise ValueError where some should have and none has."""
        if not self.entries:
            return
        crossed = sorted(self.crossed - self.met)
        others = sorted(self.entries.keys() - self.met - self.crossed)
        across = (
            f"{', '.join(some(crossed))} would make another kind of code (a drug of a diagnosis)" if crossed else ""
        )
        if self.required and not self.met:
            raise ValueError(
                f"the code map has {len(self.entries)} entries, and "
                + (f"none was applied: {across}; " if crossed else "the source none of their codes: ")
                + "a MEDS data set's codes are mapped as they stand in its column code, a table's by the table's own"
                " code, a diagnosis to DIAGNOSIS//, a procedure to PROCEDURE//, a drug to MEDICATION//"
            )
        said = [f"{len(self.met)} of {len(self.entries)} entries of the code map were met"]
        said += [f"not met: {', '.join(some(others))}"] * bool(others)
        said += [f"not applied: {across}"] * bool(crossed)
        report["remarks"] = [*report.get("remarks", ()), ", ".join(said)]


def load_code_map(path: str | None, required: bool = True) -> CodeMap:
    """Load a user's file; of none, the map that changes nothing.  Raise ValueError where an entry is no event code."""
    if path is None:
        return CodeMap()
    where = f"code map {path}"
    if not Path(path).is_file():
        raise ValueError(f"{where} is no file: give the path of a CSV or YAML file")
    try:
        text = Path(path).read_text("utf-8-sig")
        entries = _of_csv(text) if Path(path).suffix.lower() in CSV else load_mapping(text)
    except UnicodeDecodeError:
        raise ValueError(f"{where} is not UTF-8 text: save it as UTF-8") from None
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    if not isinstance(entries, dict) or not entries:
        raise ValueError(f"{where} holds no entry: give lines like SNOMED/: DIAGNOSIS//SNOMED//")
    for theirs, ours in entries.items():
        if not isinstance(theirs, str) or not isinstance(ours, str) or not theirs.strip():
            raise ValueError(f"{where}: {theirs!r} must be text, and so must its event code: put both in quotes")
        if not _read(ours):
            raise ValueError(f"{where}: {ours!r} is no event code: write one like DIAGNOSIS//ICD//10//I50.9")
    return CodeMap({theirs.strip(): ours.strip() for theirs, ours in entries.items()}, required)


def _of_csv(text: str) -> dict[str, str]:
    for mark in MARKS:
        rows = [row for row in csv.reader(text.splitlines(), delimiter=mark) if any(cell.strip() for cell in row)]
        if rows and [name.strip().lower() for name in rows[0]] == COLUMNS:
            break
    else:
        raise ValueError(f"its first line must name two columns: {','.join(COLUMNS)}")
    if wrong := [k for k, row in enumerate(rows, start=1) if len(row) != 2]:
        raise ValueError(f"row {wrong[0]} has no two fields, a code and an event code")
    entries: dict[str, str] = {}
    for k, (theirs, ours) in enumerate(rows[1:], start=2):
        if entries.setdefault(theirs.strip(), ours) != ours:
            raise ValueError(f"row {k} maps a code that an earlier row maps to another: keep one of them")
    return entries


def _read(ours: str) -> Reading | None:
    """Return what an event code, or the beginning of one, says; None where it is none."""
    code = ours.strip()
    readings = [each for each in read_code(f"{code}x" if code.endswith("//") else code) if not each.reason]
    return readings[0] if len(readings) == 1 else None


# --- tables -----------------------------------------------------------------------------------------------------------


def map_staged(con: Connection, code_map: CodeMap, report: Report) -> None:
    """Rename the staged diagnoses, procedures and drugs of tables; a code that a visit has twice then counts once."""
    if not code_map.entries:
        return
    kinds = ", ".join(str(KIND[kind]) for kind in CODED)
    staged = [code for (code,) in con.execute(f"SELECT DISTINCT code FROM events WHERE kind IN ({kinds})").fetchall()]
    own: dict[str, str] = {}
    for theirs, ours in code_map.entries.items():
        if code_map.entries[own.setdefault(_bare(theirs), theirs)] != ours:
            raise ValueError(f"the code map maps {own[_bare(theirs)]!r} and {theirs!r}, of tables one code, to two")
    renamed = {code: ours for code in sorted(staged) if (ours := _renamed(code, own, code_map))}
    table = {
        "theirs": pa.array(list(renamed), pa.string()),
        "ours": pa.array([code for code, _ in renamed.values()], pa.string()),
        "new_kind": pa.array([KIND[kind] for _, kind in renamed.values()], pa.int8()),
    }
    con.register("renamed", pa.table(table))
    con.execute("UPDATE titles SET code = ours FROM renamed WHERE code = theirs")
    con.execute("UPDATE events SET code = ours, kind = new_kind FROM renamed WHERE code = theirs")
    twice = """(SELECT rowid FROM events WHERE code IN (SELECT ours FROM renamed)
        QUALIFY row_number() OVER (PARTITION BY subject_id, hadm_id, code ORDER BY time, seq, rowid) > 1)"""
    if num_twice := number(con, f"SELECT count(*) FROM {twice}"):
        con.execute(f"DELETE FROM events WHERE rowid IN {twice}")
        report["lost"] = report.get("lost", {}) | {"repeats of a code that the code map makes": num_twice}


def _renamed(code: str, own: Mapping[str, str], code_map: CodeMap) -> tuple[str, str] | None:
    """Return the new event code and its kind: by the event code, else by the table's own code within it."""
    word, _, rest = code.partition("//")
    for theirs in (code, own.get(_bare(rest.rpartition("//")[2]), "")):
        entry = code_map.entry_of(theirs)
        if entry is None or not (reading := _read(code_map.renamed_by(entry, theirs))):
            continue
        if reading.kind.startswith(f"{word}//"):
            code_map.met.add(entry)
            return _spelled(reading), reading.kind
        code_map.crossed.add(entry)
    return None


def _spelled(reading: Reading) -> str:
    """Return the event code of a reading: an ICD code without dots and blanks, a drug in lower case."""
    if reading.kind in (DIAGNOSIS, PROCEDURE):
        version, _, code = reading.rest.partition("//")
        return f"{reading.kind}{version}//{_bare(code)}"
    return reading.kind + (reading.rest.strip().lower() if reading.kind == MEDICATION else reading.rest)


def _bare(code: str) -> str:
    return re.sub(r"[.\s]", "", code).upper()
