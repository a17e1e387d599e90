"""Events to samples: worked examples, then any events against a loop that is obviously right."""

from datetime import datetime, timedelta
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckd_dist import schema
from ckd_dist.ehr.criteria import Criteria
from ckd_dist.ehr.samples import build_samples

DAY = timedelta(days=1)
START = datetime(2150, 1, 1, 12)
LABELS = SimpleNamespace(names=("A", "B", "C"))
COLUMNS = {"DIAGNOSIS//ICD//9//a": (0,), "DIAGNOSIS//ICD//9//b": (1,), "DIAGNOSIS//ICD//9//bc": (1, 2)}


def columns_of(code: str) -> tuple[int, ...]:
    return COLUMNS.get(code, ())


def event(subject: int, time: datetime | None, code: str, hadm: int | None = None) -> dict:
    return {"subject_id": subject, "time": time, "code": code, "numeric_value": None, "hadm_id": hadm}


def visit(subject, hadm, day, days, diagnoses="a", *, drugs=(), procedures=(), discharge="HOME") -> list[dict]:
    """A visit that starts on `day`, lasts `days` and is coded at its end; drugs are (name, day of the stay)."""
    start, end = START + day * DAY, START + (day + days) * DAY
    return [
        event(subject, start, "HOSPITAL_ADMISSION//EMERGENCY", hadm),
        *(event(subject, start + after * DAY, f"MEDICATION//{name}", hadm) for name, after in drugs),
        *(event(subject, end, f"DIAGNOSIS//ICD//9//{code}", hadm) for code in diagnoses.split()),
        *(event(subject, end, f"PROCEDURE//ICD//9//{code}", hadm) for code in procedures),
        event(subject, end, f"HOSPITAL_DISCHARGE//{discharge}", hadm),
    ]


def build(*events: list[dict], first_sample_id: int = 0, **select):
    frame = pl.DataFrame([row for rows in events for row in rows], schema=schema.EVENTS)
    return build_samples(frame.lazy(), LABELS, Criteria(**select), columns_of, first_sample_id)


def left_by(flow) -> dict[str, int]:
    return {reason: excluded for reason, excluded, _ in flow.rows if excluded}


def test_two_visits_make_a_labelled_and_an_unlabelled_sample():
    person = [event(1, None, "GENDER//F"), event(1, datetime(2100, 1, 1), "MEDS_BIRTH")]
    samples, _ = build(
        person,
        [event(1, None, "SITE//carevue", 10)],
        visit(1, 10, 0, 5, "b a x", drugs=[("zinc", 1), ("aspirin", 0), ("zinc", 2)], procedures=["3", "1"]),
        visit(1, 11, 30, 2, "bc"),
        first_sample_id=7,
    )
    first, second = samples.to_dicts()
    assert samples.schema == schema.SAMPLES
    assert [first["sample_id"], second["sample_id"]] == [7, 8]
    assert first["prediction_time"] == START + 5 * DAY
    assert first["diagnoses"] == [f"DIAGNOSIS//ICD//9//{code}" for code in "bax"]
    assert first["medications"] == ["aspirin", "zinc"]
    assert first["procedures"] == ["PROCEDURE//ICD//9//3", "PROCEDURE//ICD//9//1"]
    assert (first["current"], first["labels"]) == ([1, 1, 0], [0, 1, 1])
    assert (first["sex"], first["site"], first["gap_days"], first["history"]) == ("F", "carevue", None, [])
    assert first["age"] == pytest.approx(50.02, abs=0.01)
    assert (second["labels"], second["gap_days"], second["site"]) == (None, 25.0, "all")
    (earlier,) = second["history"]
    assert earlier.pop("days_before") == 27.0
    assert earlier == {name: first[name] for name in earlier}


def test_history_is_newest_first_and_bounded():
    samples, _ = build(*(visit(1, 10 + i, 10 * i, 1, code) for i, code in enumerate("abxa")), history_visits=2)
    codes = [[visit["diagnoses"][0][-1] for visit in row] for row in samples["history"].to_list()]
    assert codes == [[], ["a"], ["b", "a"], ["x", "b"]]
    none, _ = build(visit(1, 10, 0, 1), visit(1, 11, 9, 1), history_visits=0)
    assert none["history"].to_list() == [[], []] and none.schema == schema.SAMPLES


def test_death_censors_its_visit_and_stays_the_target_of_the_one_before():
    samples, flow = build(visit(1, 10, 0, 1, "a"), visit(1, 11, 9, 1, "bc", discharge="DIED"), visit(2, 12, 0, 1))
    assert samples["hadm_id"].to_list() == [10, 12]
    assert samples["labels"].to_list() == [[0, 1, 1], None]
    assert left_by(flow) == {"died in hospital: censored": 1}


def test_same_day_transfer_is_kept_and_counted():
    samples, flow = build(visit(1, 10, 0, 1, "a"), visit(1, 11, 1, 1, "b"))
    assert samples["labels"].to_list() == [[0, 1, 0], None]
    assert flow.notes["next visit on the day of discharge (transfer)"] == 1
    assert samples["gap_days"].to_list() == [None, 0.0]


def test_ties_in_admission_go_by_hadm_id():
    samples, _ = build(visit(1, 11, 0, 3, "b"), visit(1, 10, 0, 0, "a"))
    assert samples["hadm_id"].to_list() == [10, 11]
    assert samples["labels"].to_list() == [[0, 1, 0], None]


@pytest.mark.parametrize("limit, kept", [(8.0, [10, 11]), (7.9, [11])])
def test_next_visit_beyond_the_gap_is_censored(limit, kept):
    samples, flow = build(visit(1, 10, 0, 1), visit(1, 11, 9, 1), max_gap_days=limit)
    assert samples["hadm_id"].to_list() == kept
    assert sum(left_by(flow).values()) == 2 - len(kept)


def test_visit_without_diagnosis_never_stands_between():
    samples, flow = build(visit(1, 10, 0, 1, "a"), visit(1, 11, 9, 1, ""), visit(1, 12, 20, 1, "b"))
    assert samples["hadm_id"].to_list() == [10, 12]
    assert samples["labels"].to_list() == [[0, 1, 0], None]
    assert left_by(flow) == {"no diagnosis coded": 1}


def test_broken_visits_are_counted():
    no_end = [event(1, START, "HOSPITAL_ADMISSION//X", 10), event(1, START, "DIAGNOSIS//ICD//9//a", 10)]
    samples, flow = build(no_end, visit(2, 11, 0, -1), visit(3, 12, 0, 1))
    assert samples["hadm_id"].to_list() == [12]
    assert left_by(flow) == {"no admission or no discharge recorded": 1, "discharged before admitted": 1}


def test_ages():
    def born(subject, year):
        return [event(subject, datetime(year, 1, 1), "MEDS_BIRTH")]

    rows = [born(1, 2140), born(2, 1850), *(visit(s, 10 + s, 0, 1) for s in (1, 2, 3))]
    samples, _ = build(*rows)
    assert samples["age"].to_list() == [pytest.approx(10, abs=0.1), 90.0, None]
    adults, flow = build(*rows, min_age=18)
    assert adults["subject_id"].to_list() == [2]
    assert left_by(flow) == {"younger than 18 years, or of unknown age": 2}


def test_unlabelled_visits_may_be_left_out():
    samples, flow = build(visit(1, 10, 0, 1), visit(1, 11, 9, 1), unlabelled=False)
    assert samples["hadm_id"].to_list() == [10]
    assert left_by(flow) == {"no next visit": 1}


def test_flows_of_splits_add_up():
    parts = [visit(1, 10, 0, 1) + visit(1, 11, 9, 1), visit(2, 12, 0, 1, discharge="DIED"), visit(3, 13, 0, 1, "")]
    _, whole = build(*parts)
    flows = [build(part)[1] for part in parts]
    assert flows[0] + flows[1] + flows[2] == whole
    with pytest.raises(ValueError, match="different criteria"):
        whole + build(*parts, min_age=1)[1]


def test_no_events_make_an_empty_table():
    samples, flow = build()
    assert samples.is_empty() and samples.schema == schema.SAMPLES
    assert all(left == 0 for _, _, left in flow.rows)


def test_missing_column_raises():
    with pytest.raises(ValueError, match="'hadm_id' is missing"):
        build_samples(pl.DataFrame(schema=schema.EVENTS).drop("hadm_id").lazy(), LABELS, Criteria(), columns_of)


@pytest.mark.parametrize(
    "prefix, name", [("DIAGNOSIS//ICD//9//", "bc"), ("MEDICATION//", "planted"), ("PROCEDURE//ICD//9//", "9")]
)
def test_code_planted_after_prediction_time_is_in_no_sample(prefix, name):
    """Planted in the index visit, in an earlier visit and in a nested stay; each time it must fire in the note."""
    honest = visit(1, 10, 0, 5, "a") + visit(1, 11, 30, 2, "b") + visit(1, 12, 60, 1, "x")
    before, _ = build(honest, history_visits=3)
    for hadm, end in ((10, 5), (11, 32), (12, 61)):
        late = START + end * DAY + timedelta(seconds=1)
        after, flow = build(honest, [event(1, late, prefix + name, hadm)], history_visits=3)
        assert flow.notes["events after their visit's discharge, left out"] == 1
        assert after.equals(before)


def test_stay_that_is_still_open_is_no_history():
    """Visit 10 encloses visit 11, and 12 begins within 13 alone: what had ended is history, newest first."""
    ten, eleven = visit(1, 10, 0, 9, "bc"), visit(1, 11, 2, 1, "a")
    samples, _ = build(ten, eleven, visit(1, 12, 20, 1, "x"), visit(1, 13, 19, 9, "b"), history_visits=3)
    codes = [[earlier["diagnoses"][0][-2:] for earlier in row] for row in samples["history"].to_list()]
    assert samples["hadm_id"].to_list() == [10, 13]
    assert codes == [["/a"], ["/x", "bc", "/a"]]
    assert samples["gap_days"].to_list() == [None, 10.0]


# --- any events against a loop ----------------------------------------------------------------------------------------

VISITS = st.lists(
    st.tuples(
        st.integers(1, 3),  # subject
        st.integers(0, 6),  # day of admission
        st.integers(0, 4),  # days
        st.lists(st.sampled_from(["a", "b", "bc", "x"]), max_size=3, unique=True),
        st.lists(st.tuples(st.sampled_from(["p", "q", "r"]), st.integers(-1, 6)), max_size=4),
        st.sampled_from(["HOME", "HOME", "DIED"]),
    ),
    max_size=8,
)


DEATHS = st.dictionaries(st.integers(1, 3), st.integers(0, 20), max_size=2)  # subject: half days, at noon or midnight


def slowly(visits: list[dict], deaths: dict[int, datetime], history_visits: int, max_gap: float | None) -> list[dict]:
    """The rules of criteria.py and stays.py, a visit at a time."""
    expected = []
    lived = [v for v in visits if v["codes"] and not is_after_death(v, visits, deaths)]
    for index in sorted(lived, key=in_order):
        own = sorted((v for v in lived if v["subject"] == index["subject"]), key=in_order)
        place = own.index(index)
        following = next((v for v in own[place + 1 :] if v["start"] >= index["end"]), None)
        if index["died"] or is_dead(index["end"], index["subject"], visits, deaths):
            continue
        if deaths.get(index["subject"]) == index["end"] or any(outlasts(v, index) for v in own):
            continue
        if max_gap is not None and following and (following["start"] - index["end"]) / DAY > max_gap:
            continue
        ended = sorted((v for v in own if by_end(v) < by_end(index)), key=by_end)
        expected.append(
            {
                "hadm_id": index["hadm"],
                "medications": index["drugs"],
                "history": [(v["codes"], v["drugs"]) for v in ended[::-1][:history_visits]],
                "gap_days": max(0, (index["start"] - max(v["end"] for v in own[:place])) / DAY) if place else None,
                "labels": following and bits(following["codes"]),
            }
        )
    return expected


def in_order(visit: dict) -> tuple:
    return visit["subject"], visit["start"], visit["hadm"]


def by_end(visit: dict) -> tuple:
    return visit["end"], visit["start"], visit["hadm"]


def is_dead(time: datetime, subject: int, visits: list[dict], deaths: dict[int, datetime]) -> bool:
    """A death at midnight may have been at any time of that day."""
    death = deaths.get(subject, datetime.max)
    at_latest = death + DAY if death.hour == 0 else death
    return at_latest <= time or any(v["end"] <= time for v in visits if v["subject"] == subject and v["died"])


def is_after_death(visit: dict, visits: list[dict], deaths: dict[int, datetime]) -> bool:
    """The visit that ends in death may begin after its own time of death, on that day."""
    if not visit["died"]:
        return is_dead(visit["start"], visit["subject"], visits, deaths)
    others = [v for v in visits if v["subject"] == visit["subject"] and v["died"] and v["end"] < visit["end"]]
    on_another_day = deaths.get(visit["subject"], datetime.max).date() < visit["start"].date()
    return on_another_day or any(v["end"] <= visit["start"] for v in others)


def outlasts(other: dict, visit: dict) -> bool:
    """Whether the subject is still in the other visit when this one ends."""
    is_earlier = in_order(other) < in_order(visit)
    if other["end"] == visit["end"]:
        return is_earlier and visit["start"] < visit["end"]
    return other["end"] > visit["end"] and (is_earlier or other["start"] < visit["end"])


def bits(codes: list[str]) -> list[int]:
    on = {column for code in codes for column in columns_of(f"DIAGNOSIS//ICD//9//{code}")}
    return [int(column in on) for column in range(3)]


def seen(drugs, days) -> list[str]:
    """Names by first start, those after the end of the stay left out."""
    in_order = sorted((drug for drug in drugs if drug[1] <= days), key=lambda drug: drug[1])
    return list(dict.fromkeys(name for name, _ in in_order))


@settings(max_examples=60, deadline=None)
@given(VISITS, DEATHS, st.integers(0, 3), st.sampled_from([None, 0.5, 2.0]))
def test_any_events_give_what_a_loop_gives(drawn, deaths, history_visits, max_gap):
    deaths = {subject: START + half_days * DAY / 2 for subject, half_days in deaths.items()}
    events, visits = [[event(subject, time, "MEDS_DEATH") for subject, time in deaths.items()]], []
    for hadm, (subject, day, days, codes, drugs, end) in enumerate(drawn):
        events.append(visit(subject, hadm, day, days, " ".join(codes), drugs=drugs, discharge=end))
        start = START + day * DAY
        visits.append(
            {
                "subject": subject,
                "hadm": hadm,
                "start": start,
                "end": start + days * DAY,
                "codes": codes,
                "drugs": seen(drugs, days),
                "died": end == "DIED",
            }
        )
    samples, flow = build(*events, history_visits=history_visits, max_gap_days=max_gap)
    found = [
        {
            "hadm_id": row["hadm_id"],
            "medications": row["medications"],
            "history": [
                ([code.rpartition("/")[2] for code in v["diagnoses"]], v["medications"]) for v in row["history"]
            ],
            "gap_days": row["gap_days"],
            "labels": row["labels"],
        }
        for row in samples.to_dicts()
    ]
    assert found == slowly(visits, deaths, history_visits, max_gap)
    assert flow.rows[-1][2] == len(samples)
    assert np.diff([left for _, _, left in flow.rows]).max(initial=0) <= 0
