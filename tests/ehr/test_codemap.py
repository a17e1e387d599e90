"""A site's own codes become event codes by a file: nothing else changes, and what the file says is used or said."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckd_dist.ehr.codemap import CodeMap, load_code_map
from ckd_dist.ehr.events import read_codes
from ckd_dist.ehr.extract import extract
from ckd_dist.ehr.kept import account_of
from ckd_dist.schema import SPLITS
from tests.ehr.small import by_parity, data_bytes
from tests.ehr.test_meds import codes_of, held_out, write_meds

STAY = [
    (5, "2100-01-01 08:00", "Visit/IP", 51),
    (5, "2100-01-03 10:00", "Visit/End", 51),
    (5, "2100-01-03 10:00", "HF01", 51),
    (5, "2100-01-03 10:00", "SNOMED/84114007", 51),
    (5, "2100-01-03 10:00", "SNOMED/1", 51),
    (5, "2100-01-02 10:00", "RxNorm/308192", 51),
    (5, "2100-01-02 10:00", "LOINC/4548-4", 51),
]
OF_SITE = """
Visit/IP: HOSPITAL_ADMISSION//INPATIENT
Visit/End: HOSPITAL_DISCHARGE//HOME
HF01: ICD10CM/I50.9
SNOMED/: DIAGNOSIS//SNOMED//
SNOMED/1: DIAGNOSIS//ICD//9//428.0
RxNorm/: MEDICATION//
never: DIAGNOSIS//ICD//9//4019
"""


def written(folder: Path, text: str, name: str = "map.yaml") -> CodeMap:
    (folder / name).write_text(text)
    return load_code_map(str(folder / name))


def test_a_meds_data_set_of_a_site_s_own_codes(tmp_path: Path):
    """Field test F11: an OMOP-style data set of which not one admission and not one diagnosis was understood."""
    source = write_meds(tmp_path / "meds", STAY)
    table = {"code": ["HF01", "SNOMED/84114007"], "description": ["Heart failure, own words", "Heart failure"]}
    pl.DataFrame(table).write_parquet(source / "metadata" / "codes.parquet")
    with pytest.raises(ValueError, match=r"no admission.*SNOMED/ 2.*extract.code_map"):
        extract(f"meds:{source}", tmp_path / "none", held_out, 1.0)
    report = extract(f"meds:{source}", tmp_path / "events", held_out, 1.0, code_map=written(tmp_path, OF_SITE))
    assert [code for code, _ in codes_of(tmp_path / "events", "held_out")] == [
        "HOSPITAL_ADMISSION//INPATIENT",
        "MEDICATION//308192",
        "DIAGNOSIS//ICD//10//I509",
        "DIAGNOSIS//ICD//9//4280",  # a whole code counts before a beginning
        "DIAGNOSIS//SNOMED//84114007",
        "HOSPITAL_DISCHARGE//HOME",
    ]
    said = account_of(report).sentence()
    assert "1 admissions, 3 diagnoses" in said and "6 of 7 entries of the code map were met" in said
    assert "entries of the code map were met, not met: never" in said and "LOINC/ 1" in said
    named = dict(read_codes(tmp_path / "events").select("code", "description").iter_rows())
    assert named["DIAGNOSIS//ICD//10//I509"] == "Heart failure, own words", "descriptions go with their codes"
    assert named["DIAGNOSIS//SNOMED//84114007"] == "Heart failure"


def test_tables_of_a_site_s_own_codes(mimic3: Path, tmp_path: Path):
    """XYZ is no ICD code; 4280 becomes another that its visit has already, so it counts once."""
    code_map = written(
        tmp_path,
        "code,event_code\nxyz,DIAGNOSIS//OWN//XYZ\nDIAGNOSIS//ICD//9//4280,DIAGNOSIS//ICD//9//401.9\n",
        "map.CSV",
    )
    extract(f"mimic3:{mimic3}", tmp_path / "before", by_parity, 1.0)
    report = extract(f"mimic3:{mimic3}", tmp_path / "after", by_parity, 1.0, code_map=code_map)
    before = [code for split in SPLITS for code, _ in codes_of(tmp_path / "before", split)]
    after = [code for split in SPLITS for code, _ in codes_of(tmp_path / "after", split)]
    assert before.count("DIAGNOSIS//ICD//9//XYZ") == after.count("DIAGNOSIS//OWN//XYZ") == 1
    assert "DIAGNOSIS//ICD//9//XYZ" not in after and "DIAGNOSIS//ICD//9//4280" not in after
    assert after.count("DIAGNOSIS//ICD//9//4019") == before.count("DIAGNOSIS//ICD//9//4019") > 0
    assert report["lost"]["repeats of a code that the code map makes"] == 1
    assert sorted(code for code in after if "DIAGNOSIS" not in code) == sorted(
        code for code in before if "DIAGNOSIS" not in code
    )


def test_a_map_of_codes_that_the_source_has_not(mimic3: Path, tmp_path: Path):
    code_map = written(tmp_path, "SNOMED/: DIAGNOSIS//SNOMED//")
    with pytest.raises(ValueError, match="the code map has 1 entries, and the source none of their codes"):
        extract(f"mimic3:{mimic3}", tmp_path / "events", by_parity, 1.0, code_map=code_map)
    assert not (tmp_path / "events").exists()
    lenient = load_code_map(str(tmp_path / "map.yaml"), required=False)  # a student's own map, at another hospital
    report = extract(f"mimic3:{mimic3}", tmp_path / "events", by_parity, 1.0, code_map=lenient)
    assert "0 of 1 entries of the code map were met" in account_of(report).sentence()
    extract(f"mimic3:{mimic3}", tmp_path / "plain", by_parity, 1.0)
    assert data_bytes(tmp_path / "plain") == data_bytes(tmp_path / "events")


@pytest.mark.parametrize(
    ("line", "kept", "said"),
    [
        ("4280,MEDICATION//asa", 0, "none was applied: 4280 would make another kind of code"),
        ("0014,DIAGNOSIS//OWN//X", 0, "none was applied: 0014 would make"),  # a procedure
        ("aspirin,PROCEDURE//ICD//9//3961", 0, "none was applied: aspirin would make"),
        ("DIAGNOSIS//ICD//9//,MEDICATION//", 0, "none was applied: DIAGNOSIS//ICD//9// would make"),
        ("4280,HOSPITAL_ADMISSION//X", 0, "none was applied: 4280 would make"),
        (
            "xyz,DIAGNOSIS//OWN//XYZ\n4280,MEDICATION//asa",
            1,
            "1 of 2 entries of the code map were met, not applied: 4280",
        ),
        ("xyz,DIAGNOSIS//OWN//XYZ\na,MEDICATION//b", 1, "1 of 2 entries of the code map were met, not met: a"),
        ("xyz,DIAGNOSIS//OWN//XYZ", 1, "1 of 1 entries of the code map were met"),
    ],
)
def test_an_entry_is_met_where_it_renamed_something(mimic3: Path, tmp_path: Path, line: str, kept: int, said: str):
    """A diagnosis mapped to a drug counted as met, and the events were as before."""
    code_map = written(tmp_path, f"code,event_code\n{line}\n", "map.csv")
    if not kept:
        with pytest.raises(ValueError, match=said):
            extract(f"mimic3:{mimic3}", tmp_path / "events", by_parity, 1.0, code_map=code_map)
        return
    report = extract(f"mimic3:{mimic3}", tmp_path / "events", by_parity, 1.0, code_map=code_map)
    assert report["remarks"][-1].startswith(said)


def test_two_entries_that_are_one_code_of_a_table(mimic3: Path, tmp_path: Path):
    code_map = written(tmp_path, "'428.0': DIAGNOSIS//OWN//A\n'4280': DIAGNOSIS//OWN//B")
    with pytest.raises(ValueError, match=r"'428\.0' and '4280', of tables one code, to two"):
        extract(f"mimic3:{mimic3}", tmp_path / "events", by_parity, 1.0, code_map=code_map)


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["map.csv", "map.TSV", "map.txt"])
def test_a_table_of_codes_with_other_marks(tmp_path: Path, mark: str, name: str):
    text = f'code{mark}event_code\nHF 01{mark}DIAGNOSIS//OWN//HF01\n"a,b;c|d"{mark}MEDICATION//b\n'
    entries = written(tmp_path, text, name).entries
    assert entries == {"HF 01": "DIAGNOSIS//OWN//HF01", "a,b;c|d": "MEDICATION//b"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("m.yaml", "", "holds no entry"),
        ("m.yaml", "[a]", "holds no entry"),
        ("m.yaml", "a: [", "this is not YAML at line"),
        ("m.yaml", "a: DIAGNOSIS//ICD//9//4280\na: DIAGNOSIS//ICD//9//4281", "'a' stands twice, at lines 1 and 2"),
        ("m.yaml", "a: SNOMED/84114007", "'SNOMED/84114007' is no event code: write one like"),
        ("m.yaml", "a: DIAGNOSIS//84114007", "is no event code"),
        ("m.yaml", "a: DIAGNOSIS//ICD//11//BD10", "is no event code"),
        ("m.yaml", "a: MEDICATION//Heparin//Not Given", "is no event code"),
        ("m.yaml", "0401: DIAGNOSIS//ICD//9//4280", "must be text"),
        ("m.yaml", "a: 4280", "must be text"),
        ("m.csv", "a,DIAGNOSIS//ICD//9//4280\n", "first line must name two columns: code,event_code"),
        ("m.csv", "", "first line must name two columns"),
        ("m.csv", "code;event_code\na;b\n", "'b' is no event code"),
        ("m.csv", "code event_code\na b\n", "first line must name two columns"),
        ("m.csv", "code,event_code\na,DIAGNOSIS//ICD//9//4280,x\n", "row 2 has no two fields"),
        ("m.csv", "code,event_code\na,MEDICATION//b\na,MEDICATION//c\n", "row 3 maps a code that an earlier row"),
        ("m.csv", "code,event_code\n,MEDICATION//b\n", "must be text"),
    ],
)
def test_a_map_that_cannot_be_meant_is_refused(tmp_path: Path, name: str, text: str, message: str):
    with pytest.raises(ValueError, match=message) as refused:
        written(tmp_path, text, name)
    assert name in str(refused.value)


def test_no_file_and_a_byte_order_mark(tmp_path: Path):
    assert load_code_map(None).entries == {}
    with pytest.raises(ValueError, match="is no file"):
        load_code_map(str(tmp_path / "none.csv"))
    (tmp_path / "bom.csv").write_bytes('\ufeffCode, Event_Code\r\n"a",MEDICATION//b\r\n\r\n'.encode())
    assert load_code_map(str(tmp_path / "bom.csv")).entries == {"a": "MEDICATION//b"}
    (tmp_path / "utf16.csv").write_bytes("code,event_code\n".encode("utf-16"))
    with pytest.raises(ValueError, match="is not UTF-8 text"):
        load_code_map(str(tmp_path / "utf16.csv"))


@settings(deadline=None)
@given(st.dictionaries(st.text("ab/", min_size=1), st.sampled_from(["X", "DIAGNOSIS//"])), st.text("ab/"))
def test_a_code_is_renamed_by_its_longest_beginning(entries: dict[str, str], code: str):
    """The reference: all beginnings of the code, from the longest; the code itself first, in whole."""
    expected = entries.get(code)
    for length in range(len(code), 0, -1):
        ours = entries.get(code[:length], "")
        if expected is None and ours.endswith("//"):
            expected = ours + code[length:]
    assert CodeMap(entries).ours(code) == (code if expected is None else expected)
