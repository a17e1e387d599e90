"""Tables as programs leave them: read alike, or refused in one sentence that names the place and the likely cause."""

import csv
import io
from pathlib import Path

import duckdb
import polars as pl
import pytest

from ckd_dist.ehr import cells, staging
from ckd_dist.ehr.events import read_events
from ckd_dist.ehr.extract import extract
from ckd_dist.ehr.kept import account_of
from ckd_dist.ehr.mimic import MIMIC3, TableMap
from ckd_dist.ehr.tables import find_tables, load
from ckd_dist.ehr.visits import PATIENTS
from tests.ehr import small

HEADER = ["SUBJECT_ID", "GENDER", "DOB", "DOD"]
ROWS = [[str(number), "F", f"20{number}-01-01 00:00:00", ""] for number in range(10, 40)]


def text(rows=ROWS, header=HEADER, **dialect) -> str:
    out = io.StringIO()
    csv.writer(out, **{"lineterminator": "\n"} | dialect).writerows([header, *rows])
    return out.getvalue()


def read(folder: Path, raw: str | bytes, required: bool = True) -> dict:
    """Return the report of PATIENTS, and what was read as `subjects`."""
    path = folder / "PATIENTS.csv"
    path.write_bytes(raw.encode() if isinstance(raw, str) else raw)
    table = TableMap("PATIENTS", MIMIC3["patients"].needs, MIMIC3["patients"].columns, required)
    with duckdb.connect() as con:
        staging.create(con)
        cells.create(con)
        report = load(con, "patients", table, path, PATIENTS)
        rows = con.execute("SELECT subject_id, gender, birth FROM patients WHERE reason IS NULL ORDER BY 1").fetchall()
    return report | {"subjects": rows}


def refused(folder: Path, raw: str | bytes, required: bool = True) -> str:
    with pytest.raises(ValueError, match="PATIENTS") as caught:
        read(folder, raw, required)
    assert "2012-01" not in str(caught.value), "a refusal holds nothing of a record"
    return str(caught.value)


def test_dialects_are_read_alike(tmp_path: Path):
    right = read(tmp_path, text())["subjects"]
    assert len(right) == len(ROWS)
    index = text([[str(nth), *row] for nth, row in enumerate(ROWS)], ["", *HEADER])
    same = {
        "semicolons": text(delimiter=";"),
        "tabs": text(delimiter="\t"),
        "bars": text(delimiter="|"),
        "all quoted": text(quoting=csv.QUOTE_ALL),
        "byte order mark": "\ufeff" + text(quoting=csv.QUOTE_ALL),
        "CRLF": text(lineterminator="\r\n"),
        "an index column": index,
        "floats": text([[f"{row[0]}.0", *row[1:]] for row in ROWS]),
        "another column twice": text([[*row, "x", "y"] for row in ROWS], [*HEADER, "NOTE", "NOTE"]),
        "lines within a cell": text([[*row, "a\nb, c"] for row in ROWS], [*HEADER, "NOTE"]),
        "a first column of keys": text([["x", *row] for row in ROWS], ["PK", *HEADER]),
        "words for nothing": text([[*row[:3], "NULL"] for row in ROWS]),
    }
    for what, raw in same.items():
        assert read(tmp_path, raw)["subjects"] == right, what


@pytest.mark.parametrize(
    ("raw", "cause"),
    [
        (text().encode("utf-16"), "UTF-16"),
        (text().encode("utf-16-be"), "UTF-16"),
        (text(header=ROWS[5]), "saved without a header"),
        (text(delimiter=":"), "separated by something else"),
        (text(header=["SUBJECTID", *HEADER[1:]]), "is it subjectid"),
        (text(header=["GENDER", *HEADER[:3]], rows=[]), "column dod is missing"),
        (text(header=[*HEADER[:3], "DOD", "DOD"], rows=[]), "same name, dod"),
        (text(rows=[]), "holds no row"),
        (text(lineterminator="\r"), "old Macintosh"),
        (b"\x1f\x8b" + text().encode(), "gzip"),
        (b"PK\x03\x04" + text().encode(), "spreadsheet"),
        ("\n" + text(), "or its first line is"),
        (
            text([[f"{number}E+08", *row[1:]] for number, row in zip("123456789", ROWS, strict=False)]),
            "rounded the ids",
        ),
        (text([["a-1b", *row[1:]] for row in ROWS]), "subject_id reads A-9A .* whole numbers"),
        (text([[row[0], "café", *row[2:]] for row in ROWS]).encode("latin-1"), "not UTF-8"),
        (text([row[:3] for row in ROWS]), "too few fields"),
    ],
)
def test_what_has_no_reading_is_refused_with_its_cause(tmp_path: Path, raw, cause):
    with pytest.raises(ValueError, match=cause):
        read(tmp_path, raw)


def opened(at: int, **dialect) -> str:
    """A table whose line `at` opens a quote, or loses one that closes."""
    lines = text(**dialect).split("\n")
    line = lines[at - 1]
    lines[at - 1] = line[::-1].replace('"', "", 1)[::-1] if '"' in line else line.replace("F", '"F')
    return "\n".join(lines)


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC, csv.QUOTE_ALL])
@pytest.mark.parametrize("at", [2, 7, 29])
def test_a_quote_that_takes_rows_with_it_is_refused_by_its_line(tmp_path: Path, quoting, at):
    """mimic-code#1881, ricu#70: 2 of 1,085 rows were kept, in silence."""
    assert f"line {at}: a quote opens" in refused(tmp_path, opened(at, quoting=quoting))


def test_a_quote_that_closes_rows_later_is_refused(tmp_path: Path):
    lines = opened(5).split("\n")
    lines[19] += '"'
    assert "line 5: a quote opens" in refused(tmp_path, "\n".join(lines))


def test_a_broken_quote_of_one_row_is_counted(tmp_path: Path):
    lines = text().split("\n")
    for broken in ('10,"F \\"x\\" y",2010-01-01 00:00:00,', '10,"F" x,2010-01-01 00:00:00,'):
        report = read(tmp_path, "\n".join([lines[0], broken, *lines[2:]]))
        assert (report["kept"], report["skipped"], report["malformed"]) == (
            len(ROWS) - 1,
            {"malformed row": 1},
            {"a broken quote": 1},
        )


def test_an_optional_table_that_gives_nothing_is_refused_and_may_be_left_away(tmp_path: Path):
    broken = text([["x", *row[1:]] for row in ROWS])
    assert "take the table away" in refused(tmp_path, broken, required=False)
    assert read(tmp_path, text(rows=[]), required=False)["kept"] == 0


def test_a_table_that_lies_near_by_is_named(tmp_path: Path):
    """MIMIC-IV 1.0 has patients and admissions in core/; spreadsheets are no tables."""
    for folder in ("hosp", "core"):
        (tmp_path / folder).mkdir()
    (tmp_path / "core" / "patients.csv.gz").touch()
    with pytest.raises(ValueError, match=r"it lies in .*core: copy it into .*hosp"):
        find_tables(tmp_path / "hosp", MIMIC3)
    (tmp_path / "core" / "patients.csv.gz").unlink()
    (tmp_path / "hosp" / "PATIENTS.xlsx").touch()
    with pytest.raises(ValueError, match=r"PATIENTS\.xlsx is not read"):
        find_tables(tmp_path / "hosp", MIMIC3)


def tables_of(num: int = 24, **changes) -> dict[str, list[dict]]:
    """Two visits a subject.  changes: table -> a function of its rows."""
    visits = [(subject, 10 * subject + nth) for subject in range(1, num + 1) for nth in (1, 2)]
    tables = {
        "PATIENTS": [
            {"SUBJECT_ID": s, "GENDER": "F", "DOB": "2050-01-01", "DOD": "2150-01-01"} for s in range(1, num + 1)
        ],
        "ADMISSIONS": [
            small.MIMIC3["ADMISSIONS"][1]
            | {"SUBJECT_ID": subject, "HADM_ID": hadm}
            | {"ADMITTIME": f"2100-0{hadm % 10}-01 08:00:00", "DISCHTIME": f"2100-0{hadm % 10}-05 12:00:00"}
            for subject, hadm in visits
        ],
        "DIAGNOSES_ICD": [{"SUBJECT_ID": s, "HADM_ID": h, "SEQ_NUM": 1, "ICD9_CODE": "4280"} for s, h in visits],
        "PRESCRIPTIONS": [
            {"SUBJECT_ID": s, "HADM_ID": h, "STARTDATE": f"2100-0{h % 10}-02", "DRUG": "aspirin"} for s, h in visits
        ],
    }
    return tables | {name: [change(row) for row in tables[name]] for name, change in changes.items()}


def extracted(folder: Path, **changes) -> dict:
    source = small.write(folder / "mimic", tables_of(**changes))
    return extract(f"mimic3:{source}", folder / "events", small.all_train, memory_gb=1.0)


def other_ids(row: dict) -> dict:
    """All ids but the first subject's are another export's."""
    return row if row["SUBJECT_ID"] == 1 else row | {"HADM_ID": row["HADM_ID"] + 90_000}


@pytest.mark.parametrize("name", ["DIAGNOSES_ICD", "PRESCRIPTIONS"])
def test_rows_that_meet_hardly_a_visit_are_another_export_s(tmp_path: Path, name: str):
    least = {"DIAGNOSES_ICD": 24, "PRESCRIPTIONS": 60}[name]  # subjects of whom one meets
    with pytest.raises(ValueError, match=f"{name}.csv.gz: .* rows belong to none of the visits.*same ids"):
        extracted(tmp_path, num=least, **{name: other_ids})


def test_admissions_that_meet_hardly_a_patient_are_refused(tmp_path: Path):
    def other(row):
        return row if row["SUBJECT_ID"] == 1 else row | {"SUBJECT_ID": row["SUBJECT_ID"] + 90_000}

    with pytest.raises(ValueError, match=r"ADMISSIONS.csv.gz: 46 of 48 rows belong to none of the patients"):
        extracted(tmp_path, ADMISSIONS=other)


def test_a_site_may_cut_its_visits_and_leave_other_tables_whole(tmp_path: Path):
    tables = tables_of()
    tables["PATIENTS"], tables["ADMISSIONS"] = tables["PATIENTS"][:2], tables["ADMISSIONS"][:4]
    report = extract(f"mimic3:{small.write(tmp_path / 'mimic', tables)}", tmp_path / "events", small.all_train, 1.0)
    assert report["kept"]["diagnoses"] == report["kept"]["drugs"] == 4


@pytest.mark.parametrize(("name", "column"), [("PATIENTS", "DOD"), ("PATIENTS", "DOB"), ("ADMISSIONS", "DEATHTIME")])
def test_births_and_deaths_that_cannot_be_read_are_refused(tmp_path: Path, name: str, column: str):
    with pytest.raises(ValueError, match=f"{name}.csv.gz: .* cells of {column.lower()} cannot be read") as caught:
        extracted(tmp_path, **{name: lambda row: row | {column: "05/06/2100 07:08"}})
    assert "2100" not in str(caught.value)


def test_a_slip_in_a_death_is_said(tmp_path: Path):
    def slip(row):
        return row | {"DOD": "05/06/2100" if row["SUBJECT_ID"] == 1 else ""}

    said = account_of(extracted(tmp_path, PATIENTS=slip)).sentence()
    assert "PATIENTS: dod not read 1 times, such as 99/99/9999" in said


def test_sexes_are_read_alike_and_others_are_said(tmp_path: Path):
    words = {1: "Female", 2: "male", 3: "f", 4: "M", 5: "U", 6: "1"}
    report = extracted(tmp_path, num=6, PATIENTS=lambda row: row | {"GENDER": words[row["SUBJECT_ID"]]})
    codes = read_events(tmp_path / "events", "train").filter(pl.col("code").str.starts_with("GENDER//"))
    found = [code.removeprefix("GENDER//") for code in codes.sort("subject_id").collect()["code"]]
    assert found == ["F", "M", "F", "M", "U", "1"]
    assert "2 subjects have a gender that is neither F nor M: prompts name no sex" in account_of(report).sentence()
