"""eICU's drugs without a name (MIT-LCP/eicu-code#84): named where there is one reading, counted where there is none."""

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckd_dist.ehr import eicu_drugs
from ckd_dist.ehr.eicu import NO_ICD
from ckd_dist.ehr.kept import account_of
from ckd_dist.schema import MEDICATION
from tests.ehr.small import write
from tests.ehr.test_eicu import HTN, assert_adds_up, diagnosis, drug, events_of, run, stay

ICD = "DIAGNOSIS//ICD//"


def order(name: str | None, hicl: object = None, **changes: object) -> dict[str, object]:
    """A row of `medication` of the one stay."""
    return drug(1, 0, name) | {"drughiclseqno": hicl} | changes


def extracted(folder: Path, orders: list[dict[str, object]], **tables: list) -> tuple[list[str], dict]:
    """The drugs that the orders become, and the report."""
    patient = [stay(1, 10, "002-1", -60, 1440), stay(2, 11, "002-2", -60, 1440, hospitalid="060")]
    report = run(write(folder / "eicu", {"patient": patient, "medication": orders} | tables), folder / "events")
    assert_adds_up(report)
    codes = events_of(folder / "events")["code"].to_list()
    return [code.removeprefix(MEDICATION) for code in codes if code.startswith(MEDICATION)], report


@pytest.mark.parametrize(
    "named, hicl, name",
    [
        ([("Lasix", 3660), ("furosemide", 3660), ("FUROSEMIDE", 3660), ("heparin", 2810)], 3660, "furosemide"),
        ([("b", 1), ("a", 1)], 1, "a"),  # used equally: the first in the alphabet
        ([("aspirin", 1820)], "1820.0", "aspirin"),  # as pandas writes a column with a gap
        ([("aspirin", "1820.0")], "01820", "aspirin"),
        ([("aspirin", 1820)], " 1820 ", "aspirin"),
        ([("aspirin", 0)], 0, None),  # 0 is no number of a drug
        ([("aspirin", None)], None, None),  # no number is no number that rows share
        ([("aspirin", 1820)], 182, None),
        ([(" ", 1820), ("heparin", 2810), ("aspirin", 5)], 1820, None),  # a blank names nothing
    ],
)
def test_a_drug_without_a_name_has_that_of_its_number(tmp_path, named, hicl, name):
    unnamed = order(None, hicl, patientunitstayid=2)
    _, report = extracted(tmp_path, [order(*one) for one in named] + [unnamed])
    events = events_of(tmp_path / "events").filter(hadm_id=11)
    own = [code.removeprefix(MEDICATION) for code in events["code"] if code.startswith(MEDICATION)]
    assert own == [name] * bool(name)
    assert report["notes"][eicu_drugs.BY_NUMBER] == bool(name)
    skipped = report["tables"]["medication"]["skipped"]
    assert sum(skipped.get(why, 0) for why in (eicu_drugs.UNNAMED, eicu_drugs.UNNUMBERED)) == (
        sum(not known.strip() for known, _ in named) + (name is None)
    )


def test_a_cancelled_order_names_a_number_and_stays_cancelled(tmp_path):
    cancelled = [order("aspirin", 1820, drugordercancelled=yes) for yes in ("Yes", "Y", "TRUE", "1", "1.0")]
    drugs, report = extracted(tmp_path, [*cancelled, order(None, 1820)])
    assert drugs == ["aspirin"] and report["tables"]["medication"]["skipped"] == {"order cancelled": 5}


def test_a_table_without_numbers_is_read_as_it_is(tmp_path):
    drugs, report = extracted(tmp_path, [drug(1, 0, "aspirin"), drug(1, 0, None)])
    assert drugs == ["aspirin"] and report["tables"]["medication"]["skipped"] == {eicu_drugs.UNNUMBERED: 1}


def test_what_stays_unnamed_is_counted_by_site_and_hospitals_meet_however_they_are_spelled(tmp_path):
    """Missing names differ between hospitals, which a study of transfer would take for a difference of patients."""
    hospitals = [{"hospitalid": "59.0", "region": "South"}, {"hospitalid": 60, "region": "West"}]
    orders = [order("aspirin", 1), order(None, 2), order(None, 2, drugordercancelled="Yes")]
    orders += [order(None, 3, patientunitstayid=2), order("aspirin", 1, patientunitstayid=7)]
    _, report = extracted(tmp_path, orders, hospital=hospitals)
    assert report["unnamed_drugs"] == {
        "hospital": {"59": [1, 2], "60": [1, 1]},
        "region": {"South": [1, 2], "West": [1, 1]},
    }
    assert report["notes"]["hospital stays without a region"] == 0


def test_a_stay_that_ends_in_death_by_its_location_alone(tmp_path):
    patient = [stay(1, 10, "002-1", -60, 1440, hospitaldischargestatus=None, hospitaldischargelocation="Death")]
    report = run(write(tmp_path / "eicu", {"patient": patient}), tmp_path / "events")
    assert "MEDS_DEATH" in events_of(tmp_path / "events")["code"].to_list()
    assert report["notes"]["hospital stays without a discharge status, taken as alive"] == 0


NAMES = st.sampled_from(["aspirin", "ASPIRIN", "ecotrin", "heparin", "Heparin", None])


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(NAMES, st.sampled_from([1, 2, 3, None])), min_size=1, max_size=12))
def test_names_are_those_of_a_plain_count(rows):
    rows = [("Named", None), *rows]  # a table that names no drug is refused
    spellings: dict[int, Counter[str]] = {}
    for name, hicl in rows:
        if name and hicl:
            spellings.setdefault(hicl, Counter())[name.lower()] += 1
    best = {hicl: min(found, key=lambda name: (-found[name], name)) for hicl, found in spellings.items()}
    with TemporaryDirectory() as folder:
        drugs, _ = extracted(Path(folder), [order(*row) for row in rows])
    assert set(drugs) == {name.lower() if name else best[hicl] for name, hicl in rows if name or hicl in best}


def test_the_demo(open_data, tmp_path):
    """29,547 orders were lost for want of a name; 8,993 are, and no region loses much more than another."""
    report = run(open_data("eicu_demo"), tmp_path / "events")
    assert report["notes"][eicu_drugs.BY_NUMBER] == 20554
    skipped = report["tables"]["medication"]["skipped"]
    assert (skipped[eicu_drugs.UNNUMBERED], skipped[eicu_drugs.UNNAMED]) == (1646, 7347)
    shares = {place: unnamed / orders for place, (unnamed, orders) in report["unnamed_drugs"]["region"].items()}
    assert max(shares.values()) < 0.14 and min(shares.values()) > 0.09
    line = account_of(report).sentence()
    assert "20,554 drugs without a name, called what other rows with their drughiclseqno are" in line
    assert "no name left for 9.8% (West) to 13.7% (Northeast) of a region's drugs" in line
    assert "7,347 rows of medication (no drugname, and no row names its drughiclseqno)" in line


def test_icd_codes_that_lost_their_dots_are_read_and_those_with_two_readings_are_counted(tmp_path):
    written = "4019; I10, i5023, 42731, E1165, 38.0"  # E116.5 or E11.65?  038.0 or a procedure?
    tables = {"patient": [stay(1, 10, "002-1", -60, 1440)], "diagnosis": [diagnosis(1, 0, HTN, written)]}
    report = run(write(tmp_path / "eicu", tables), tmp_path / "events")
    codes = events_of(tmp_path / "events")["code"].to_list()
    found = {code.removeprefix(ICD) for code in codes if code.startswith(ICD)}
    assert found == {"9//4019", "9//42731", "10//I10", "10//I5023"}
    assert report["notes"][NO_ICD] == 2
