"""Overlapping stays, visits after death, and who died: worked examples from public reports."""

from datetime import datetime, timedelta

import polars as pl
import pytest

from ckd_dist.ehr.stays import read_stays
from tests.ehr.test_samples import DAY, START, build, event, left_by, visit

MINUTE = timedelta(minutes=1)
EARLY = "visits whose next began before their discharge, and is not taken as the next"


def stay(hadm, admitted, discharged, code="a", place="HOME", subject=1) -> list[dict]:
    """A visit with its times in full."""
    start, end = datetime.fromisoformat(admitted), datetime.fromisoformat(discharged)
    return [
        event(subject, start, "HOSPITAL_ADMISSION//URGENT", hadm),
        event(subject, end, f"DIAGNOSIS//ICD//9//{code}", hadm),
        event(subject, end, f"HOSPITAL_DISCHARGE//{place}", hadm),
    ]


def death(time: str) -> list[dict]:
    return [event(1, datetime.fromisoformat(time), "MEDS_DEATH")]


def test_the_next_visit_was_over_before_the_discharge():
    """mimic-code#1520, #1726: the target ended in death 3 h 20 min before the prediction."""
    samples, flow = build(
        stay(1011, "2156-10-20 05:17", "2156-10-30 08:00", "a"),
        stay(1012, "2156-10-29 00:01", "2156-10-30 04:40", "b", "DIED"),
    )
    assert samples.is_empty()
    assert left_by(flow) == {"discharged while another visit went on: censored": 1, "died in hospital: censored": 1}
    assert flow.notes[EARLY] == 1


# (hadm, first day, days) of each visit -> hadm of index visits with that of their next
OVERLAPS = {
    "apart": ([(1, 0, 2), (2, 5, 2)], {1: 2, 2: None}),
    "nested": ([(1, 0, 9), (2, 3, 2), (3, 20, 1)], {1: 3, 3: None}),
    "nested, none after": ([(1, 0, 9), (2, 3, 2)], {1: None}),
    "three nested": ([(1, 0, 9), (2, 1, 7), (3, 2, 2), (4, 20, 1)], {1: 4, 4: None}),
    "two nested in a row": ([(1, 0, 9), (2, 1, 2), (3, 5, 2), (4, 20, 1)], {1: 4, 4: None}),
    "partly": ([(1, 0, 9), (2, 7, 8), (3, 20, 1)], {2: 3, 3: None}),
    "a chain": ([(1, 0, 5), (2, 4, 5), (3, 8, 5), (4, 20, 1)], {3: 4, 4: None}),
    "the same times": ([(1, 0, 5), (2, 0, 5), (3, 20, 1)], {1: 3, 3: None}),
    "the same admission": ([(1, 0, 3), (2, 0, 5), (3, 20, 1)], {2: 3, 3: None}),
    "the same discharge": ([(1, 0, 5), (2, 3, 2), (3, 20, 1)], {1: 3, 3: None}),
    "a transfer in the same minute": ([(1, 0, 5), (2, 5, 3)], {1: 2, 2: None}),
    "a transfer while nested": ([(1, 0, 9), (2, 1, 2), (3, 3, 2), (4, 9, 1)], {1: 4, 4: None}),
    "no length, at a transfer": ([(1, 0, 5), (2, 5, 0), (3, 5, 3)], {1: 2, 2: 3, 3: None}),
    "no length, within": ([(1, 0, 5), (2, 3, 0), (3, 20, 1)], {1: 3, 3: None}),
    "nested in the last": ([(1, 0, 2), (2, 10, 9), (3, 12, 2)], {1: 2, 2: None}),
}


@pytest.mark.parametrize("case", OVERLAPS)
def test_overlapping_visits(case: str):
    visits, wanted = OVERLAPS[case]
    samples, flow = build(*(visit(1, hadm, day, days, "a") for hadm, day, days in visits), max_gap_days=1000)
    begun = {hadm: START + day * DAY for hadm, day, _ in visits}
    assert samples["hadm_id"].to_list() == list(wanted)
    assert [labels is not None for labels in samples["labels"]] == [after is not None for after in wanted.values()]
    for hadm, after in wanted.items():  # a shorter gap than that to the next visit takes the sample away
        if after is not None:
            (ended,) = samples.filter(hadm_id=hadm)["prediction_time"]
            gap = (begun[after] - ended) / DAY
            fewer, _ = build(*(visit(1, *which, "a") for which in visits), max_gap_days=gap - 0.01)
            assert (hadm in fewer["hadm_id"]) == (gap - 0.01 >= 1000)
    outlasted = flow.rows[0][2] - len(samples)
    assert left_by(flow) == ({"discharged while another visit went on: censored": outlasted} if outlasted else {})


def test_another_subject_s_visits_do_not_overlap():
    samples, flow = build(visit(1, 10, 0, 9), visit(2, 11, 3, 2), visit(3, 12, 4, 20))
    assert samples["hadm_id"].to_list() == [10, 11, 12] and not left_by(flow)
    assert samples["labels"].to_list() == [None] * 3


# --- after death ------------------------------------------------------------------------------------------------------

FIRST = ("2150-01-01 08:00", "2150-01-05 10:00")
SECOND = ("2150-01-05 10:01", "2150-01-06 09:00")  # mimic-code#1194: readmitted a minute after death
AFTER, DIED = "admitted after death", "died in hospital: censored"


@pytest.mark.parametrize("times", [[], ["2150-01-05 10:00"], ["2150-01-05 00:00"], ["2150-01-05 09:58"]])
@pytest.mark.parametrize("place", ["HOME", "DIED"])
def test_an_organ_donor_is_neither_index_visit_nor_target(times: list[str], place: str):
    donor = [stay(1021, *FIRST, "a", "DIED"), stay(1022, *SECOND, "b", place)]
    samples, flow = build(*donor, *map(death, times))
    assert samples.is_empty()
    assert left_by(flow) == {AFTER: 1, DIED: 1}
    samples, _ = build(stay(1020, "2149-01-01 08:00", "2149-01-02 08:00"), *donor, *map(death, times))
    assert samples["labels"].to_list() == [[1, 0, 0]], "the visit that ended in death, not the donor's"


@pytest.mark.parametrize(
    "time, left",
    [
        ("2149-06-01 00:00", {AFTER: 2}),  # mimic-code#1346, #789
        ("2149-12-31 23:59", {AFTER: 2}),
        ("2150-01-01 00:00", {DIED: 1, AFTER: 1}),  # a day: some time on the day of admission
        ("2150-01-01 07:59", {AFTER: 2}),
        ("2150-01-03 12:00", {DIED: 1, AFTER: 1}),  # within the first
        ("2150-01-05 09:59", {DIED: 1, AFTER: 1}),
        ("2150-01-05 10:00", {DIED: 1, AFTER: 1}),
        ("2150-01-05 00:00", {DIED: 1}),  # on the day of its discharge, maybe after it, in the second
        ("2150-01-05 21:00", {DIED: 1}),  # MIMIC_IV_MEDS#23: the second's discharge does not say it
        ("2150-01-06 00:00", {}),
        ("2150-01-06 09:01", {}),
        ("2150-06-01 00:00", {}),
    ],
)
def test_a_recorded_death_and_visits_that_do_not_say_it(time: str, left: dict[str, int]):
    samples, flow = build(stay(1, *FIRST, "a", "UNK"), stay(2, *SECOND, "b", "UNK"), death(time))
    assert left_by(flow) == left
    assert len(samples) == 2 - sum(left.values())


def test_meds_death_within_the_visit():
    """F10 (b): the discharge says UNK at 23:30, the death is at 21:00 of that day."""
    late = stay(12, "2150-02-01 22:30", "2150-02-02 23:30", "b", "UNK")
    samples, flow = build(stay(11, *FIRST), late, death("2150-02-02 21:00"))
    assert flow.notes["visits that end in death by its time alone, not by their discharge"] == 1
    assert samples["hadm_id"].to_list() == [11] and samples["labels"].to_list() == [[0, 1, 0]]
    assert left_by(flow) == {DIED: 1}


def test_a_visit_that_says_death_may_begin_after_its_own_time_of_death():
    """Dead in the emergency room, admitted on paper: the day is the same."""
    late = stay(12, "2150-02-01 10:30", "2150-02-01 12:00", "b", "DIED")
    samples, flow = build(stay(11, *FIRST), late, death("2150-02-01 10:10"))
    assert samples["labels"].to_list() == [[0, 1, 0]] and left_by(flow) == {DIED: 1}


def test_when_a_visit_ended():
    events = stay(1, *FIRST, "a", "DIED") + stay(2, *FIRST, "a", "UNK", subject=2)
    for time, ended in [("2150-01-04 12:00", "2150-01-04 12:00"), ("2150-01-04 00:00", "2150-01-05 00:00")]:
        stays = read_stays(pl.DataFrame([*events, *death(time)]).lazy())
        assert stays["ended"].to_list() == [datetime.fromisoformat(ended), datetime.fromisoformat(FIRST[1])]
        assert stays["died"].to_list() == [True, False]


# --- before birth -----------------------------------------------------------------------------------------------------


def test_a_visit_that_ends_before_birth_has_no_age():
    born = [event(1, START + 3 * DAY, "MEDS_BIRTH")]
    samples, flow = build(born, visit(1, 10, 0, 1), visit(1, 11, 3, 2))
    assert samples["age"].to_list() == [None, pytest.approx(2 / 365.25, abs=1e-3)]
    assert flow.notes["visits that end before birth, of unknown age"] == 1
