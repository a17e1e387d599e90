"""The line of what an extraction kept and lost: nothing lost is left out, and a clean source has a short line."""

from pathlib import Path

from ckd_dist.ehr.extract import extract
from ckd_dist.ehr.kept import account_of
from tests.ehr.small import MIMIC3, all_train, write


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
