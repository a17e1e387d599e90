"""ICD codes as programs spell them: one reading is restored, two are refused, and clean columns stay as they are."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckd_dist.ehr import codes
from ckd_dist.ehr.spelling import BEHIND, FLOATS, VERSIONS, ZEROS, read_spelling
from ckd_dist.schema import DIAGNOSIS, PROCEDURE

TABLES = [(DIAGNOSIS, "9", 3), (PROCEDURE, "9", 2), (DIAGNOSIS, "10", 3), (PROCEDURE, "10", 2)]


def spell(column: list[str], kind: str = DIAGNOSIS, version: str = "9"):
    return read_spelling({(version, code): 1 for code in column}, kind, "TABLE")


def read(column: list[str], **of) -> list[str]:
    return ["/".join(code) for code in spell(column, **of).codes.values()]


@pytest.mark.parametrize(
    ("column", "right"),
    [
        (["4280.0", "25000.00"], ["9/4280", "9/25000"]),  # mimic-code#1423: a column of floats
        (["4280.0", "486.0"], ["9/4280", "9/486"]),  # its three-digit codes are floats, too
        (["486.0", "428.0"], ["9/486", "9/4280"]),  # the tables tell a float from a code with a dot
        (["401.9", "V10.3", "E878.8", "v1582"], ["9/4019", "9/V103", "9/E8788", "9/V1582"]),
        (["4280", "7054"], ["9/4280", "9/07054"]),  # mimic-code#1433: zeros are lost, and 4280 has one reading
        (["428", "250", "401", "389", "380"], ["9/428", "9/250", "9/401", "9/389", "9/380"]),  # categories on purpose
        (["428.0", "250.0", "401.9"], ["9/4280", "9/2500", "9/4019"]),  # a heading on purpose, or 250.00
        (["38.9", "250.0", "296.2"], ["9/0389", "9/25000", "9/29620"]),  # 38.9 proves that the column was of numbers
        (["486.0", "250.0", "401.9"], ["9/486", "9/25000", "9/4019"]),
        (["38.9", "250.0", "250.00"], ["9/0389", "9/2500", "9/25000"]),  # zeros are kept: a heading
        (["25,000", "4,280", "428,0"], ["9/25000", "9/4280", "9/4280"]),
        (["38.9", "8.45"], ["9/0389", "9/00845"]),  # what stands before the dot has three digits
        (['="4280"', "'4280'", "4280.", "\u201c4280\u201d"], ["9/4280"] * 4),
        (["\u00a04280", " 4 280", "428,0", "\ufeff4280"], ["9/4280"] * 4),
        (["I50.9", "E11.9"], ["10/I509", "10/E119"]),  # mimic-fhir#6: versions mixed up
        (["XYZ", "S84114007"], ["9/XYZ", "9/S84114007"]),  # in no table: left as it is
    ],
)
def test_one_reading_is_restored(column, right):
    assert read(column) == right


def test_other_tables_suffer_alike():
    assert read(["3961.0", "3950.0"], kind=PROCEDURE) == ["9/3961", "9/3950"]
    assert read(["39.61", "00.14"], kind=PROCEDURE) == ["9/3961", "9/0014"]
    assert read(["39.5", "96.7", "3.9", "99.1"], kind=PROCEDURE) == ["9/3950", "9/9670", "9/0390", "9/9910"]
    assert read(["3,961", "10-Jan"], kind=PROCEDURE) == ["9/3961", "9/10-JAN"]
    assert read(["210093"], kind=PROCEDURE, version="10") == ["10/0210093"]
    assert read(["4280"], version="10") == ["9/4280"]


@pytest.mark.parametrize(
    "column",
    [
        ["4109", "389", "845"],  # F3: 4109 may be 04109
        ["4109.0", "389.0"],
        ["4280", "389"],  # 0389, or the heading of hearing loss
        ["I509", "E8310"],  # both versions have E8310
    ],
)
def test_two_readings_are_refused(column):
    with pytest.raises(ValueError, match=r"^TABLE: .* codes"):
        read(column)


def test_what_was_restored_is_counted():
    assert spell(["4280.0", "486.0"]).restored == {FLOATS: 2}
    assert spell(["4280", "7054"]).restored == {ZEROS: 1}
    assert spell(["39.5"], kind=PROCEDURE).restored == {BEHIND: 1}
    assert spell(["I509"]).restored == {VERSIONS: 1}
    assert spell(["4280", "0389", "V103", "401.9"]).restored == {}


@pytest.mark.parametrize("slip", ["389", "88", "401"])
def test_one_slip_in_thousands_is_left(slip):
    rows = dict.fromkeys((("9", code) for code in ("4280", "4109", "41401", "4019")), 1000) | {("9", slip): 1}
    spelling = read_spelling(rows, DIAGNOSIS, "TABLE")
    assert (spelling.codes["9", slip], spelling.restored) == (("9", slip), {})


@settings(deadline=None)
@given(st.lists(st.sampled_from(sorted(codes._titles(PROCEDURE, "9"))), min_size=1, max_size=20, unique=True))
def test_procedures_with_a_dot_opened_as_numbers_come_back(every):
    numbers = [str(float(f"{code[:2]}.{code[2:]}")) for code in every]
    assert read(numbers, kind=PROCEDURE) == [f"9/{code}" for code in every]


@st.composite
def columns(draw):
    """Some codes of one table, at least one with a letter or a leading zero: the column was kept as text."""
    kind, version, before_dot = draw(st.sampled_from(TABLES))
    every = sorted(code for code in codes._titles(kind, version) if len(code) > before_dot)
    return kind, version, before_dot, draw(st.lists(st.sampled_from(every), min_size=1, max_size=20, unique=True))


WRAPPED = st.sampled_from(["{}", '="{}"', "'{}'", " {}", "{}\u00a0", "\u201c{}\u201d", "{}."])


@settings(deadline=None)
@given(columns(), WRAPPED, st.booleans(), st.booleans())
def test_a_table_s_own_codes_come_back_however_they_are_wrapped(column, wrapped, dotted, lower):
    kind, version, before_dot, every = column

    def written(code: str) -> str:
        at = before_dot + (code.startswith("E") and version == "9")
        head, tail = code[:at], code[at:]
        whole = f"{head}.{tail}" if dotted and tail and version + kind != "10" + PROCEDURE else code
        return wrapped.format(whole.lower() if lower else whole)

    assert read([written(code) for code in every], kind=kind, version=version) == [f"{version}/{c}" for c in every]


@settings(deadline=None)
@given(st.lists(st.sampled_from(sorted(codes._titles(DIAGNOSIS, "9"))), min_size=1, max_size=20, unique=True))
def test_codes_opened_as_numbers_are_right_or_refused(every):
    """Never another disease: each code comes back as it was, or the column is refused."""
    numbers = [str(int(code)) if code.isdecimal() else code for code in every]
    if len(set(numbers)) < len(numbers):
        return
    lost = any(
        one != other and not codes.is_known(f"{DIAGNOSIS}9//{one}") for one, other in zip(numbers, every, strict=False)
    )
    try:
        found = read(numbers)
    except ValueError:
        return
    if lost:
        assert found == [f"9/{code}" for code in every]
