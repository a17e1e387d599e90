"""The line of what an extraction kept and lost: nothing lost is left out, and a clean source has a short line."""

from pathlib import Path

import pytest

from ckd_dist.ehr.extract import extract
from ckd_dist.ehr.kept import account_of
from tests.ehr.small import MIMIC3, Tables, all_train, write


def said(source: str, folder: Path) -> str:
    return account_of(extract(source, folder, all_train, memory_gb=1.0)).sentence()


def test_the_line_names_what_was_kept_skipped_missing_and_unknown(tmp_path: Path):
    """F4 of the field's findings: rows, tables and codes were lost with no word on the screen."""
    few = {name: MIMIC3[name] for name in ("PATIENTS", "ADMISSIONS", "DIAGNOSES_ICD", "D_ICD_DIAGNOSES")}
    stray = MIMIC3["DIAGNOSES_ICD"][0] | {"HADM_ID": 99}
    folder = write(tmp_path / "few", few | {"DIAGNOSES_ICD": [*MIMIC3["DIAGNOSES_ICD"], stray]})
    assert said(f"mimic3:{folder}", tmp_path / "events") == (
        "3 admissions, 5 diagnoses, 0 drugs; lost: 1 rows of DIAGNOSES_ICD (hadm_id not in ADMISSIONS); "
        "no PROCEDURES_ICD, no PRESCRIPTIONS, no ICUSTAYS: records will hold no procedures, no drugs, no sites; "
        "1 diagnoses (20.0%) have one of 1 codes that no table knows: "
        "is their ICD version right, are they whole (no headings), are they a site's own?"
    )


def test_unknown_procedures_are_counted_as_diagnoses_are(tmp_path: Path):
    dates = [row | {"ICD9_CODE": "3-Jan"} for row in MIMIC3["PROCEDURES_ICD"][:1]]
    folder = write(tmp_path / "dates", MIMIC3 | {"PROCEDURES_ICD": [*dates, MIMIC3["PROCEDURES_ICD"][1]]})
    assert "1 procedures (50.0%) have one of 1 codes that no table knows" in said(f"mimic3:{folder}", tmp_path / "e")


def visits_of(codes: list[str], clock: str = "10:00:00") -> Tables:
    """Twenty visits of a subject each, with a diagnosis each, the codes in turn."""
    numbers = range(1, 21)
    patient, visit, diagnosis = (MIMIC3[name][0] for name in ("PATIENTS", "ADMISSIONS", "DIAGNOSES_ICD"))
    times = {"ADMITTIME": f"2101-02-01 {clock}", "DISCHTIME": f"2101-02-05 {clock}"}
    return {
        "PATIENTS": [patient | {"SUBJECT_ID": k} for k in numbers],
        "ADMISSIONS": [visit | times | {"SUBJECT_ID": k, "HADM_ID": k} for k in numbers],
        "DIAGNOSES_ICD": [
            diagnosis | {"SUBJECT_ID": k, "HADM_ID": k, "ICD9_CODE": codes[k % len(codes)]} for k in numbers
        ],
    }


@pytest.mark.parametrize(
    ("codes", "refused"),
    [
        (["OWN1"], True),
        (["Q99999", "HEART"], True),
        (["H1", "H2", "H3", "H4", "H5"], True),
        (["OWN1"] * 9 + ["4280"], False),  # a tenth is known: said, not refused
        (["V58.67"], False),
    ],
)
def test_diagnoses_of_which_no_table_knows_next_to_any_are_refused(tmp_path: Path, codes: list[str], refused: bool):
    """48 diagnoses (100.0%) of one unknown code went through with exit status 0."""
    folder = write(tmp_path / "tables", visits_of(codes))
    if not refused:
        assert ("that no table knows: is their ICD" in said(f"mimic3:{folder}", tmp_path / "events")) == (
            len(codes) > 1
        )
        return
    with pytest.raises(ValueError, match=r"20 of 20 ICD diagnoses .* version right.*//OWN// by extract.code_map"):
        extract(f"mimic3:{folder}", tmp_path / "events", all_train, memory_gb=1.0)
    assert not (tmp_path / "events").exists()


@pytest.mark.parametrize(("clock", "told"), [("00:00:00", True), ("00:01:00", False)])
def test_times_cut_to_days_are_said(tmp_path: Path, clock: str, told: bool):
    folder = write(tmp_path / "tables", visits_of(["4280"], clock))
    assert ("order within a day is unknown" in said(f"mimic3:{folder}", tmp_path / "events")) == told
