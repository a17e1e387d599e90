"""A cell with one reading is read, one with two is left and its form said."""

import datetime

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckd_dist.ehr import cells

FEW = settings(deadline=None, max_examples=30)  # a query each


@pytest.fixture(scope="module")
def con():
    with duckdb.connect() as con:
        cells.create(con)
        con.execute("CREATE TABLE said (cell VARCHAR)")
        yield con


def read(con, column: str, *said: str | None) -> list:
    con.execute("DELETE FROM said")
    con.executemany("INSERT INTO said VALUES (?)", [[cell] for cell in said])
    rows = con.execute(cells.read({column: "cell"}, "said", "1 AS one", careful=True)).fetchall()
    assert all(value is None for value, _, unread in rows if unread)
    return ["unread" if unread else value for value, _, unread in rows]


def test_ids(con):
    one = ["11", "11.0", " 11 ", "'11'", '="11"', "\u201c11\u201d", "+11", "011", "1.1e+01", "11."]
    assert read(con, "hadm_id", *one) == [11] * len(one)
    assert read(con, "hadm_id", "1,234,567", "1.23456789E+08") == [1234567, 123456789]
    two = [
        "1.23E+08",
        "1e+05",
        "11.6",
        "11,0",
        "1.234",
        "0x1F",
        "a1b2",
        "12345678901234567890",
        "1234567890123456789.0",
    ]
    assert read(con, "hadm_id", *two) == ["unread"] * len(two)
    assert read(con, "hadm_id", None, "", " ", "nan", "NULL", "\\N", "<NA>") == [None] * 7


def test_times(con):
    eight = datetime.datetime(2100, 1, 31, 8)
    one = [
        *("2100-01-31 08:00:00", "2100-01-31T08:00:00Z", "2100-01-31 08:00:00 UTC", "2100-01-31 08:00:00-05:00"),
        *("2100/01/31 08:00", "2100.01.31 08:00", "31.01.2100 08:00", "31.1.2100 8:00", "21000131080000"),
        *("31-JAN-2100 08:00:00", "31JAN2100:08:00:00", "Jan 31 2100  8:00AM", "2100-01-31 8:00 AM"),
    ]
    assert read(con, "admitted", *one) == [eight] * len(one)
    assert read(con, "admitted", "2100-01-31 8:00 PM", "2100-01-31 08:00 PM") == [eight.replace(hour=20)] * 2
    assert read(con, "admitted", "2100-01-31", "21000131", "31-Jan-2100") == [eight.replace(hour=0)] * 3
    two = ["01/02/2100 08:00", "1/2/00", "00-01-31", "31-JAN-00", "4102473600", "73051.33", "epoch", "infinity", "soon"]
    assert read(con, "admitted", *two) == ["unread"] * len(two)


def test_versions(con):
    ten = ["10", "10.0", "ICD-10", "ICD10CM", "icd-10-cm", "i10", "10CM", "ICD 10 PCS", "CIM-10"]
    assert read(con, "version", *ten) == [10] * len(ten)
    assert read(con, "version", "9", "09", "ICD9", "9CM", "ICD-9-CM") == [9] * 5
    assert read(con, "version", "ICD-O-3", "ICD-10-GM", "ten") == ["unread"] * 3


def test_words(con):
    """mimic-code#1316: blanks make no second drug; a line end within a cell stays."""
    assert read(con, "drug", "a  b", "a\u00a0b", "\ta\tb ", "a\u2009 b") == ["a b"] * 4
    assert read(con, "drug", "a\nb", "Na", "\n a", "4280") == ["a\nb", "Na", "a", "4280"]
    assert read(con, "drug", "nan", "NULL", "None", "NaT", "NA") == [None] * 5
    errors = ("#N/A", "#NV", "#REF!", "#NAME?", "#DIV/0!", "#ÜBERLAUF!", "#####")  # a spreadsheet's
    assert read(con, "code", *errors, "#1 pain cream") == [None] * len(errors) + ["#1 pain cream"]


def test_forms_hold_no_value(con):
    read(con, "admitted", "01/02/2100 08:00", "Smith 1.2.00", "2100-01-01")
    found = cells.forms(con, {"admitted": "cell"}, "said")
    assert found == {"cell": {"99/99/9999 99:99": 1, "AAAAA 9.9.99": 1}}


@FEW
@given(st.datetimes(datetime.datetime(1000, 1, 1), datetime.datetime(2999, 1, 1)), st.data())
def test_a_time_is_read_alike_however_it_is_written(con, time, data):
    forms = ["%Y-%m-%d %H:%M:%S", "%Y/%m/%d %H:%M:%S", "%d.%m.%Y %H:%M:%S", "%d-%b-%Y %H:%M:%S", "%Y%m%d%H%M%S"]
    form = data.draw(st.sampled_from([*forms, "%d%b%Y:%H:%M:%S", "%Y-%m-%d %I:%M:%S %p", "%Y-%m-%dT%H:%M:%SZ"]))
    assert read(con, "admitted", time.strftime(form)) == [time.replace(microsecond=0)]


@FEW
@given(st.integers(0, 10**15 - 1), st.sampled_from(["{}", "{}.0", "{:,}", '="{}"', " {} ", "{:.15E}"]))
def test_an_id_is_read_alike_however_it_is_written(con, number, form):
    assert read(con, "hadm_id", form.format(number)) == [number]


@FEW
@given(st.text(max_size=12))
def test_the_usual_reading_and_the_careful_one_agree(con, text):
    """Where the first reading leaves nothing unread, the careful one would have said the same."""
    con.execute("DELETE FROM said")
    con.execute("INSERT INTO said VALUES (?)", [text.replace("\0", "")])
    for column in ("drug", "hadm_id", "admitted", "seq"):
        (usual,), (careful,) = (
            con.execute(cells.read({column: "cell"}, "said", "1 AS one", careful)).fetchall()
            for careful in (False, True)
        )
        assert usual[2] or usual == careful
