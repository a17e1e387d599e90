"""Dialects of drug codes in MEDS: the right drugs, each once, and every event that is none under a reason."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckd_dist.ehr.extract import extract
from ckd_dist.ehr.meds_drugs import NO_DRUG, NO_START, UNKNOWN, read_drug
from tests.ehr.test_meds import codes_of, held_out, write_meds

# MIMIC Implementation Guide, CodeSystem MimicMedicationMethod: what a dose, a patch or an infusion began by.
GIVEN = [
    *("Administered", "Administered Bolus from IV Drip", "Administered in Other Location", "Applied"),
    *("Applied in Other Location", "Delayed Administered", "Delayed Applied", "Delayed Restarted", "Delayed Started"),
    *("Partial Administered", "Removed Existing / Applied New", "Restarted", "Restarted in Other Location", "Started"),
    *("Removed Existing / Applied New in Other Location", "Started in Other Location"),
]
NOT_GIVEN = [
    *("Assessed", "Assessed in Other Location", "Confirmed", "Confirmed in Other Location", "Delayed Assessed"),
    *("Delayed Confirmed", "Delayed Flushed", "Delayed Not Applied", "Delayed Not Assessed", "Delayed Not Confirmed"),
    *("Delayed Not Flushed", "Delayed Not Removed", "Delayed Not Started", "Delayed Not Stopped", "Delayed Removed"),
    *("Delayed Rate Change", "Delayed Stopped", "Delayed Stopped As Directed", "Documented in O.R. Holding"),
    *("Flushed", "Flushed in Other Location", "Hold Dose", "Infusion Reconciliation", "Not Applied", "Not Assessed"),
    *("Infusion Reconciliation Not Done", "Infusion Reconciliation in Other Location", "Not Confirmed", "Not Flushed"),
    *("Not Given", "Not Given per Sliding Scale", "Not Given per Sliding Scale in Other Location", "Not Read"),
    *("Not Removed", "Not Started", "Not Started per Sliding Scale", "Not Stopped", "Not Stopped per Sliding Scale"),
    *("Pain score re-assess not done", "Pain score re-assessment", "Rate Change", "Rate Change in Other Location"),
    *("Read", "Read in Other Location", "Removed", "Removed - Unscheduled", "Removed in Other Location", "Stopped"),
    *("Stopped - Unscheduled", "Stopped - Unscheduled in Other Location", "Stopped As Directed"),
    *("Stopped in Other Location", "TPN Rate Not Changed"),
]
SAYS_NEITHER = ["Partial ", "Delayed ", "in Other Location", "UNK", "", "nan", "Vortexed", "administered twice"]
ENDINGS = ["", "//63323054011", "//UNK", "//0409-1890-01"]  # 0.1 has none, 0.2 an NDC or UNK


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    ("events", "reason"),
    [(GIVEN, None), (NOT_GIVEN, NO_START), (SAYS_NEITHER, UNKNOWN)],
    ids=["given", "not", "neither"],
)
def test_the_words_of_an_emar_event(events: list[str], reason: str | None, ending: str):
    for event in events:
        for spelled in (event, event.upper(), f" {event} "):
            assert read_drug(f"Heparin (Porcine){' '}//{spelled}{ending}") == ("heparin (porcine)", reason), spelled


@pytest.mark.parametrize("name", ["UNK", "unk", "nan", "NULL", "None", "0", "", " ", "<NA>", "Unknown"])
def test_what_tools_write_for_an_empty_cell_is_no_drug(name: str):
    said = [name, f"START//{name}", f"START//{name}//UNK", f"{name}//Administered", f"{name}//Started//63323054011"]
    assert {read_drug(code)[1] for code in said} == {NO_DRUG}


# No part of a name is an event's word or looks like an NDC.
NAMES = (
    st.text("ABCdef 0.9%()/-,", min_size=1)
    .map(lambda name: " ".join(name.split()))
    .map(str.strip)
    .filter(
        lambda name: (
            any(letter.isalpha() for letter in name) and "//" not in f"/{name}/" and not name.replace("-", "").isdigit()
        )
    )
)


@given(NAMES, st.sampled_from(GIVEN), st.sampled_from(ENDINGS))
def test_every_dialect_says_the_same_drug(name: str, event: str, ending: str):
    codes = [name.lower(), f"START//{name}{ending}", f"STARTED//{name}", f"{name}//{event}{ending}"]
    assert {read_drug(code) for code in codes} == {(name.lower(), None)}
    assert read_drug(f"STOP//{name}{ending}")[1] == read_drug(f"STOPPED//{name}")[1] == NO_START


def test_our_own_names_come_back_with_whatever_they_hold():
    for name in ("d5w//ns", "insulin//sliding scale", "aspirin 81 mg", "heparin (porcine) in 0.9% nacl"):
        assert read_drug(name) == (name, None)


def test_both_releases_of_mimic_iv_meds_in_one_visit(tmp_path: Path):
    """Field test F1 (MIMIC_IV_MEDS#68, PR#69) and F13: the list of drugs, each once, and what became of the others."""
    drugs = [
        "MEDICATION//START//Aspirin",
        "MEDICATION//Heparin//Administered//63323054011",
        "MEDICATION//Vancomycin//Administered//UNK",
        "MEDICATION//Morphine//Not Given//00409189001",
        "MEDICATION//Insulin//Not Given//UNK",
        "MEDICATION//START//Warfarin//63323054011",
        "MEDICATION//START//Digoxin//UNK",
        "MEDICATION//STOP//Warfarin//63323054011",
        "MEDICATION//UNK//UNK//UNK",
        "MEDICATION//Metoprolol//Vortexed//UNK",
        "MEDICATION//START//UNK",
        "MEDICATION//UNK//Administered",
        "MEDICATION//START//Heparin\u00a0 (Porcine)",
        "MEDICATION//Heparin (Porcine)//Started//UNK",
    ]
    rows = [
        (1, "2100-01-01 08:00", "HOSPITAL_ADMISSION//EMERGENCY", 11),
        *((1, f"2100-01-02 08:{minute:02}", code, 11) for minute, code in enumerate(drugs)),
        (1, "2100-01-05 12:00", "DIAGNOSIS//ICD//9//4280", 11),
        (1, "2100-01-05 12:00", "HOSPITAL_DISCHARGE//HOME", 11),
    ]
    report = extract(f"meds:{write_meds(tmp_path / 'meds', rows)}", tmp_path / "events", held_out, 1.0)
    codes = [code for code, _ in codes_of(tmp_path / "events", "held_out")]
    named = [code.removeprefix("MEDICATION//") for code in codes if code.startswith("MEDICATION//")]
    assert named == ["aspirin", "heparin", "vancomycin", "warfarin", "digoxin", "heparin (porcine)"]
    assert report["tables"]["data"]["skipped"] == {
        "drug event that is no start": 3,
        "drug events of unknown kind": 2,
        "no drug": 2,
    }


VOCABULARY_CODES = {
    "NDC//00409189001": ("ndc//00409189001", None),
    "ndc//00409189001": ("ndc//00409189001", None),
    "RXNORM//1191": ("rxnorm//1191", None),
    "START//NDC//00409189001": ("ndc//00409189001", None),
    "NDC//00409189001//Administered": ("ndc//00409189001", None),
    "Aspirin//Administered//6332354011.0": ("aspirin", None),
    "Aspirin//Administered//[63323-540-11]": ("aspirin", None),
}


@pytest.mark.parametrize("said", VOCABULARY_CODES)
def test_the_code_of_a_vocabulary_is_the_drug_where_there_is_no_name(said: str):
    assert read_drug(said) == VOCABULARY_CODES[said]


def test_a_vocabulary_without_a_code_is_no_drug():
    assert {read_drug(f"NDC//{rest}")[1] for rest in ("UNK", "", "0")} == {NO_DRUG}


@pytest.mark.parametrize("event", ["held", "refused", "primed", "missed", "on hold", "cancelled"])
def test_a_dose_that_was_not_given_is_none_in_any_case(event: str):
    assert read_drug(f"aspirin//{event}") == ("aspirin", NO_START)


def test_in_a_data_set_of_lower_case_an_unknown_word_is_no_name():
    assert read_drug("aspirin//vortexed", is_ours=False) == ("aspirin", UNKNOWN)
