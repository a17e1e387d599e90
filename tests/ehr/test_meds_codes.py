"""Dialects of codes in MEDS: read where they say one thing, else counted by prefix and named."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckd_dist.ehr.extract import extract
from ckd_dist.ehr.kept import account_of
from ckd_dist.ehr.meds_codes import DENIED, NO_CODE, NO_PREFIX, NO_VERSION, prefix_of, read_code
from tests.ehr.test_meds import codes_of, held_out, write_meds

# What a code says, as our event codes say it (dots are taken out later, for tables and MEDS alike).
SAYS = {
    # MIMIC_IV_MEDS, and our own
    "DIAGNOSIS//ICD//9//4280": "DIAGNOSIS//ICD//9//4280",
    "PROCEDURE//ICD//10//02HV33Z": "PROCEDURE//ICD//10//02HV33Z",
    "HOSPITAL_ADMISSION//EW EMER.//EMERGENCY ROOM": "HOSPITAL_ADMISSION//EW EMER.//EMERGENCY ROOM",
    "ICU_DISCHARGE//Floor": "ICU_DISCHARGE//Floor",
    "SITE//region=South": "SITE//region=South",
    "MEDS_BIRTH": "MEDS_BIRTH",
    "DIAGNOSIS//EICU//pulmonary|respiratory failure": "DIAGNOSIS//EICU//pulmonary|respiratory failure",
    "DIAGNOSIS//SNOMED//84114007": "DIAGNOSIS//SNOMED//84114007",
    # a version under another name
    "DIAGNOSIS//ICD9CM//428.0": "DIAGNOSIS//ICD//9//428.0",
    "DIAGNOSIS//ICD-10-CM//I50.9": "DIAGNOSIS//ICD//10//I50.9",
    "DIAGNOSIS//ICD10//I509": "DIAGNOSIS//ICD//10//I509",
    "DIAGNOSIS//ICD//ICD-9//4280": "DIAGNOSIS//ICD//9//4280",
    "DIAGNOSIS//ICD//9.0//4280": "DIAGNOSIS//ICD//9//4280",
    "DIAGNOSIS//9//4280": "DIAGNOSIS//ICD//9//4280",
    "PROCEDURE//ICD9Proc//39.61": "PROCEDURE//ICD//9//39.61",
    "PROCEDURE//ICD10PCS//02HV33Z": "PROCEDURE//ICD//10//02HV33Z",
    # vocabulary ids of OMOP
    "ICD9CM/428.0": "DIAGNOSIS//ICD//9//428.0",
    "ICD10CM/I50.9": "DIAGNOSIS//ICD//10//I50.9",
    "ICD10/I50.9": "DIAGNOSIS//ICD//10//I50.9",
    "ICD10CM//I50.9": "DIAGNOSIS//ICD//10//I50.9",
    "icd10cm/I50.9": "DIAGNOSIS//ICD//10//I50.9",
    "ICD9Proc/39.61": "PROCEDURE//ICD//9//39.61",
    "ICD10PCS/02HV33Z": "PROCEDURE//ICD//10//02HV33Z",
    "Gender/F": "GENDER//F",
    "SNOMED/3950001": "MEDS_BIRTH",
    # prefixes without parts, in other case, with blanks
    "HOSPITAL_ADMISSION": "HOSPITAL_ADMISSION//UNKNOWN",
    "HOSPITAL_DISCHARGE//": "HOSPITAL_DISCHARGE//UNKNOWN",
    "hospital_admission//emergency": "HOSPITAL_ADMISSION//emergency",
    "diagnosis//icd//9//4280": "DIAGNOSIS//ICD//9//4280",
    " DIAGNOSIS//ICD//9//4280 ": "DIAGNOSIS//ICD//9//4280",
    "Meds_Death": "MEDS_DEATH",
    "MEDS_DEATH//DOD": "MEDS_DEATH",
    "DEATH": "MEDS_DEATH",
    "Death//": "MEDS_DEATH",
    "MEDS_BIRTH//": "MEDS_BIRTH",
    "DIAGNOSIS//ICD//9//25,000": "DIAGNOSIS//ICD//9//25000",
    "DIAGNOSIS//ICD//9//428,0": "DIAGNOSIS//ICD//9//428,0",
    "PROCEDURE//ICD//9//3,961": "PROCEDURE//ICD//9//3961",
    "DIAGNOSIS//ICD//9//428.0//N": "DIAGNOSIS//ICD//9//428.0",
    "GENDER//Female": "GENDER//F",
    "medication//start//Aspirin": "MEDICATION//aspirin",
    # eICU_MEDS
    "MEDICATION//STARTED//HEPARIN": "MEDICATION//heparin",
}


@pytest.mark.parametrize("said", SAYS)
def test_what_a_code_says(said: str):
    [reading] = read_code(said)
    assert (reading.kind + reading.rest, reading.reason) == (SAYS[said], None)


@pytest.mark.parametrize("said", SAYS)
def test_what_was_read_is_read_again_as_it_is(said: str):
    [reading] = read_code(SAYS[said])
    assert reading.kind + reading.rest == SAYS[said]


OTHER = [
    *(
        "LAB//50912//mg/dL",
        "LAB//RESULT//50912//UNK",
        "HCPCS//Hospital observation",
        "DRG//HCFA//291",
        "ED_REGISTRATION",
    ),
    *("TRANSFER_TO//admit//Medicine", "INFUSION_START//225158", "PROCEDURE//START//225752", "RACE//WHITE", "ED_OUT"),
    *("SUBJECT_WEIGHT_AT_INFUSION//KG", "ICU_ADMISSION_WEIGHT", "MEDS_BIRTH_WEIGHT", "Blood Pressure", "Visit/IP"),
    *(
        "SNOMED/84114007",
        "RxNorm/308192",
        "ICD10GM/I50.01",
        "DIAGNOSIS//84114007",
        "DIAGNOSIS//",
        "DIAGNOSIS",
        "",
        "//",
    ),
]


@pytest.mark.parametrize("said", OTHER)
def test_what_may_say_several_things_is_not_read(said: str):
    assert read_code(said) == []


def test_codes_that_are_none():
    assert {read_code(f"DIAGNOSIS//ICD//{rest}")[0].reason for rest in ("9//UNK", "9//", "10//nan")} == {NO_CODE}
    assert {read_code(f"DIAGNOSIS//ICD//{rest}")[0].reason for rest in ("11//5A11", "UNK//4280", "I50.9")} == {
        NO_VERSION
    }


@pytest.mark.parametrize("beside", ["RULED OUT", "Ruled out", "not present", "entered in error", "Family history"])
def test_what_is_denied_is_no_diagnosis(beside: str):
    for code in ("DIAGNOSIS//ICD//10//I50.9", "ICD10CM/I50.9", "DIAGNOSIS//SNOMED//84114007"):
        assert read_code(f"{code}//{beside}")[0].reason == DENIED
    assert read_code("DEATH//0") == []


@pytest.mark.parametrize("said", ["428.0, I50.9", "428.0,I50.9", " 428.0 , I50.9, UNK", "428.0, I50.9, 428.0"])
def test_several_codes_in_one_event(said: str):
    """eICU_MEDS writes eICU's icd9code as it is: both versions, with a comma."""
    assert [reading.rest for reading in read_code(f"DIAGNOSIS//ICD//9//{said}")] == ["9//428.0", "10//I50.9"]


@given(st.text())
def test_any_text_is_read_or_counted_and_a_prefix_says_nothing_of_a_record(said: str):
    for reading in read_code(said):
        assert reading.rest or reading.kind in ("MEDS_BIRTH", "MEDS_DEATH") or reading.reason
    assert prefix_of(said) == NO_PREFIX or re.fullmatch(r"[A-Za-z][\w .+-]*(//?|[:|])([A-Z_]+//)?", prefix_of(said))


STAY = [
    (5, "2100-01-01 08:00", "HOSPITAL_ADMISSION//A", 51),
    (5, "2100-01-03 10:00", "DIAGNOSIS//ICD//9//428.0, I50.9", 51),
    (5, "2100-01-03 10:00", "HOSPITAL_DISCHARGE//Expired//Death", 51),
]


def test_an_event_of_two_codes_and_a_status_of_discharge(tmp_path: Path):
    report = extract(f"meds:{write_meds(tmp_path / 'meds', STAY)}", tmp_path / "events", held_out, 1.0)
    assert [code for code, _ in codes_of(tmp_path / "events", "held_out")] == [
        "HOSPITAL_ADMISSION//A",
        "DIAGNOSIS//ICD//10//I509",
        "DIAGNOSIS//ICD//9//4280",
        "HOSPITAL_DISCHARGE//DIED",
        "MEDS_DEATH",
    ]
    assert report["notes"]["diagnosis codes beside others in one event"] == 1
    assert report["tables"]["data"] | {"file": ""} == {"file": "", "rows": 3, "kept": 4, "merged": 0, "skipped": {}}


def test_codes_that_are_not_read_are_said_by_prefix(tmp_path: Path):
    others = ["LAB//50912//mg/dL", "LAB//50931//mg/dL", "Blood Pressure", "Oxycodone/Acetaminophen", "SNOMED/84114007"]
    rows = STAY + [(5, "2100-01-02", code, 51) for code in others]
    report = extract(f"meds:{write_meds(tmp_path / 'meds', rows)}", tmp_path / "events", held_out, 1.0)
    assert report["other_codes"] == {"LAB//": 2, NO_PREFIX: 2, "SNOMED/": 1}
    said = account_of(report).sentence()
    assert f"codes that are not read: {NO_PREFIX} 2, LAB// 2, SNOMED/ 1" in said
    assert not any(word in said for word in ("50912", "Blood", "Oxycodone", "84114007"))


def test_a_site_without_our_codes_is_told_what_was_found_and_what_is_read(tmp_path: Path):
    """Field test F11: of an OMOP export 111 of 18,358 events were kept, and no word was said."""
    rows = [
        (5, "2050-01-01", "MEDS_BIRTH", None),
        *((5, f"2100-01-0{day}", code, None) for day in (1, 2) for code in ("Visit/IP", "SNOMED/84114007")),
        (5, "2100-01-03", "RxNorm/308192", None),
    ]
    with pytest.raises(ValueError, match="of 6 events no admission and no diagnosis was understood") as refusal:
        extract(f"meds:{write_meds(tmp_path / 'meds', rows)}", tmp_path / "events", held_out, 1.0)
    said = str(refusal.value)
    assert "found: SNOMED/ 2, Visit/ 2, RxNorm/ 1" in said and "84114007" not in said
    assert all(prefix in said for prefix in ("HOSPITAL_ADMISSION//", "HOSPITAL_DISCHARGE//", "DIAGNOSIS//ICD//9|10//"))


def test_a_site_s_own_codes_are_named_where_eleven_subjects_have_them(tmp_path: Path):
    """Whoever has to map HF01 must read HF01; a code of fewer subjects tells of them."""
    own = [
        (subject, f"2100-01-0{day}", code, None)
        for day, code in ((1, "AUFNAHME"), (2, "HF01"))
        for subject in range(11)
    ]
    rows = sorted([*own, *((subject, "2100-01-03", "RARE7", None) for subject in range(10))])
    with pytest.raises(ValueError, match="among them AUFNAHME, HF01; write them so") as refusal:
        extract(f"meds:{write_meds(tmp_path / 'meds', rows)}", tmp_path / "events", held_out, 1.0)
    assert "RARE7" not in str(refusal.value)


def test_diagnoses_that_none_can_be_used_of_are_refused(tmp_path: Path):
    rows = [STAY[0], (5, "2100-01-03 10:00", "DIAGNOSIS//ICD//11//5A11", 51), STAY[2]]
    with pytest.raises(ValueError, match="none of 1 events of kind diagnosis can be used: 1 icd_version is neither"):
        extract(f"meds:{write_meds(tmp_path / 'meds', rows)}", tmp_path / "events", held_out, 1.0)


# --- codes that a program spoilt before they came to MEDS (field tests F2 and F3) -------------------------------------


def with_codes(folder: Path, *codes: str) -> Path:
    return write_meds(folder, [STAY[0], *((5, "2100-01-03 10:00", code, 51) for code in codes), STAY[2]])


def test_codes_that_were_read_as_numbers_are_restored(tmp_path: Path):
    spoilt = with_codes(
        tmp_path / "meds", "DIAGNOSIS//ICD//9//4280.0", "DIAGNOSIS//ICD//9//7054", "PROCEDURE//ICD//9//3961.0"
    )
    report = extract(f"meds:{spoilt}", tmp_path / "events", held_out, 1.0)
    codes = [code for code, _ in codes_of(tmp_path / "events", "held_out")]
    assert codes[1:4] == ["DIAGNOSIS//ICD//9//4280", "DIAGNOSIS//ICD//9//07054", "PROCEDURE//ICD//9//3961"]
    assert sum(report["tables"]["data"]["restored"].values()) == 3
    assert "restored in data: 2 codes with .0 behind them" in account_of(report).sentence()


def test_codes_of_lost_zeros_that_may_be_others_are_refused(tmp_path: Path):
    spoilt = with_codes(tmp_path / "meds", *(f"DIAGNOSIS//ICD//9//{code}" for code in ("4109", "389", "845")))
    with pytest.raises(ValueError, match="2 codes are in no table but would be with a zero before them") as refusal:
        extract(f"meds:{spoilt}", tmp_path / "events", held_out, 1.0)
    assert "4109" not in str(refusal.value)


def test_good_codes_stay_what_they_are(tmp_path: Path):
    good = ["4280", "401.9", "V10.3", "E878.8", "e8780", "07054", "XYZ", "5849 "]
    folder = with_codes(tmp_path / "meds", *(f"DIAGNOSIS//ICD//9//{code}" for code in good))
    report = extract(f"meds:{folder}", tmp_path / "events", held_out, 1.0)
    codes = [code for code, _ in codes_of(tmp_path / "events", "held_out")][1:-2]
    assert codes == [f"DIAGNOSIS//ICD//9//{code.strip().replace('.', '').upper()}" for code in good]
    assert "restored" not in report["tables"]["data"]
