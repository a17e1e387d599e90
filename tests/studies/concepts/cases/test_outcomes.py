"""Events to cases: nothing is known before its time, nothing that happened before the prediction is its outcome."""

from datetime import datetime, timedelta
from types import SimpleNamespace

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as trials
from hypothesis import strategies as st

from ckd_dist import schema
from ckd_dist.studies.concepts.cases.outcomes import build_cases
from ckd_dist.studies.concepts.cases.table import CASES, CONCEPTS
from ckd_dist.studies.concepts.config import Sites

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
START = datetime(2150, 1, 1, 10)
COLUMNS = {"DIAGNOSIS//ICD//9//a": (0,), "DIAGNOSIS//ICD//9//b": (1,)}
LABELS = SimpleNamespace(names=("A", "B"), columns_of=lambda code: COLUMNS.get(code, ()))
SEPSIS = "DIAGNOSIS//EICU//infectious|sepsis"
TITLES = {SEPSIS: "sepsis"}


def event(subject: int, hours: float | None, code: str, hadm: int | None = None) -> dict:
    """`hours` after START."""
    time = None if hours is None else START + hours * HOUR
    return {"subject_id": subject, "time": time, "code": code, "numeric_value": None, "hadm_id": hadm}


def visit(subject, hadm, start, end, *inside, site="a", discharge="HOME") -> list[dict]:
    """Hours after START; `inside` are (hours, code)."""
    return [
        *([event(subject, None, f"SITE//{site}", hadm)] if site else []),
        event(subject, start, "HOSPITAL_ADMISSION//EMERGENCY", hadm),
        *(event(subject, hours, code, hadm) for hours, code in inside),
        event(subject, end, f"HOSPITAL_DISCHARGE//{discharge}", hadm),
    ]


def build(*rows: list[dict], name=None, **settings):
    frame = pl.DataFrame([row for some in rows for row in some], schema=schema.EVENTS)
    frame = frame.sort("subject_id", "time", nulls_last=False, maintain_order=True)
    return build_cases(frame.lazy(), TITLES, Sites(**settings), source="here", name=name, label_set=LABELS)


def said(built) -> list[list[str]]:
    texts = built.concepts["text"].to_list()
    return [[texts[number] for number in row] for row in built.cases["concepts"].to_list()]


def left_by(built) -> dict[str, int]:
    return {reason: excluded for reason, excluded, _ in built.flow.rows if excluded}


def test_a_case_says_what_was_known_by_its_prediction():
    built = build(
        visit(
            1,
            10,
            0,
            100,
            (24, "MEDICATION//at the prediction"),
            (3, SEPSIS),
            (-2, "MEDICATION//before admission 5 mg po tabs"),
            (5, SEPSIS),
            (24.01, "MEDICATION//planted after"),
            (100, "DIAGNOSIS//ICD//9//4280"),
            discharge="DIED",
        )
    )
    assert built.cases.schema == CASES and built.concepts.schema == CONCEPTS
    assert said(built) == [["before admission", "sepsis", "at the prediction"]]
    assert built.concepts.rows() == [
        (0, "drug", "at the prediction", "MEDICATION//at the prediction", False),
        (1, "drug", "before admission", "MEDICATION//before admission 5 mg po tabs", False),
        (2, "eicu_diagnosis", "sepsis", SEPSIS, False),
    ]
    assert built.cases.row(0)[:4] == (0, 1, "a", None)
    assert built.outcomes == ("death in hospital",) and built.cases["outcomes"].to_list() == [[1]]
    note = "diagnoses and procedures of the same visit dated after the prediction (ICD codes: at discharge)"
    assert built.flow.notes[note] == 1


def test_codes_of_an_earlier_visit_count_while_they_are_not_too_old():
    rows = visit(1, 10, 0, 48, (48, "DIAGNOSIS//ICD//9//4280")), visit(1, 11, 240, 300, (245, SEPSIS))
    assert said(build(*rows)) == [[], ["Congestive heart failure, unspecified", "sepsis"]]
    assert said(build(*rows, history_days=8.0)) == [[], ["Congestive heart failure, unspecified", "sepsis"]]
    assert said(build(*rows, history_days=7.9)) == [[], ["sepsis"]]
    assert said(build(*rows, codes=("MEDICATION//",))) == [[], []]


def test_the_latest_concepts_are_read_and_the_rest_counted():
    drugs = [(i, f"MEDICATION//drug {name}") for i, name in enumerate(["ab", "cd", "ef", "ab", "gh"])]
    built = build(visit(1, 10, 0, 48, *drugs), max_concepts=3)
    assert said(built) == [["drug cd", "drug ef", "drug gh"]]
    assert built.lost["concepts beyond max_concepts"] == 1
    assert len(built.concepts) == 4 and built.concepts["concept"].to_list() == [0, 1, 2, 3]


@pytest.mark.parametrize("hours, drugs", [(13.9, ["ab"]), (14.0, ["ab", "cd"]), (37.9, ["ab", "cd"])])
def test_a_drug_dated_by_day_alone_is_known_when_the_day_is_over(hours, drugs):
    """START is at 10 o'clock, so its own midnight lies 10 hours before and the next one 14 hours after."""
    built = build(
        visit(1, 10, -24, 400, (-10, "MEDICATION//cd"), (14, "MEDICATION//ef"), (-3, "MEDICATION//ab"), (-1, SEPSIS)),
        hours=24 + hours,
        codes=("MEDICATION//",),
    )
    assert sorted(said(built)[0]) == drugs


def test_a_drug_of_a_visit_that_is_over_is_known():
    rows = visit(1, 10, -24, 2, (-10, "MEDICATION//ab")), visit(1, 11, 5, 99, (-10, "MEDICATION//cd"))
    assert said(build(*rows, hours=1.0)) == [[], ["ab"]]


def test_a_transfers_events_are_not_its_predecessors():
    """The next visit's drug is dated at the midnight before: it must not tell that there was a next visit."""
    rows = (
        visit(1, 10, -48, 0, (-40, "MEDICATION//mine"), (0, "DIAGNOSIS//ICD//9//a")),
        visit(1, 11, 0, 48, (-10, "MEDICATION//theirs"), (48, "DIAGNOSIS//ICD//9//b")),
    )
    built = build(*rows, outcome="next_visit", codes=("MEDICATION//",))
    assert said(built) == [["mine"]]
    assert built.cases["outcomes"].to_list() == [[0, 1]]


@pytest.mark.parametrize(
    "discharge, end, kept", [("HOME", 24, 0), ("HOME", 24.01, 1), ("DIED", 24, 0), ("DIED", 25, 1)]
)
def test_who_has_left_by_the_prediction_is_no_case(discharge, end, kept):
    built = build(visit(1, 10, 0, end, discharge=discharge))
    assert len(built.cases) == kept
    assert left_by(built) == ({} if kept else {"left or died within 24 hours": 1})
    assert built.cases["outcomes"].to_list() == [[int(discharge == "DIED")]] * kept


def test_death_before_the_written_discharge_ends_the_visit():
    dead = [event(1, 20, "MEDS_DEATH")]
    assert len(build(dead, visit(1, 10, 0, 30, discharge="DIED")).cases) == 0
    day_of_death = [event(1, -10, "MEDS_DEATH")]  # a date alone, before the admission of that day: dead by its end
    assert len(build(day_of_death, visit(1, 10, 0, 30, discharge="DIED")).cases) == 0
    assert len(build(day_of_death, visit(1, 10, 0, 30, discharge="DIED"), hours=13.9).cases) == 1


def test_death_within_a_visit_is_its_outcome_whatever_the_discharge_says():
    dead = [event(1, 28, "MEDS_DEATH")]
    assert build(dead, visit(1, 10, 0, 30)).cases["outcomes"].to_list() == [[1]]
    assert left_by(build(dead, visit(1, 10, 0, 30), visit(1, 11, 40, 90))) == {"admitted after death": 1}
    later = [event(1, 31, "MEDS_DEATH")]
    assert build(later, visit(1, 10, 0, 30)).cases["outcomes"].to_list() == [[0]]


def test_long_stays():
    rows = [visit(i, 10 + i, 0, 24 * days) for i, days in enumerate((1.5, 7, 7.1, 30))]
    built = build(*rows, outcome="stay")
    assert built.outcomes == ("stay over 7 days",)
    assert built.cases["outcomes"].to_list() == [[0], [0], [1], [1]]
    with pytest.raises(ValueError, match="7 days is long before it is predicted, 200 hours after"):
        build(*rows, outcome="stay", hours=200.0)


def test_a_stay_that_was_long_when_icu_began_is_no_case():
    rows = visit(1, 10, 0, 400, (10 * 24, "ICU_ADMISSION//MICU")), visit(2, 11, 0, 400, (24, "ICU_ADMISSION//MICU"))
    built = build(*rows, outcome="stay", begin="icu")
    assert built.cases["subject_id"].to_list() == [2]
    assert left_by(built) == {"the stay was long before the prediction": 1}


def test_every_unit_stay_is_a_case_of_its_visit():
    rows = visit(
        1,
        10,
        0,
        300,
        (5, "ICU_ADMISSION//MICU"),
        (100, "ICU_ADMISSION//SICU"),
        (290, "ICU_ADMISSION//MICU"),
        (50, SEPSIS),
    )
    built = build(rows, [event(1, 7, "ICU_ADMISSION//MICU")], begin="icu", hours=6.5)
    assert said(built) == [[], ["sepsis"], ["sepsis"]]
    assert built.flow.rows[0] == ("unit stays", 0, 4)
    assert left_by(built) == {"no admission or no discharge recorded": 1}
    assert left_by(build(rows, begin="icu")) == {"left or died within 24 hours": 1}


def test_unit_stays_that_begin_together_are_one_case():
    together = (5, "ICU_ADMISSION//MICU"), (5, "ICU_ADMISSION//MICU"), (5, "ICU_ADMISSION//SICU")
    built = build(visit(1, 10, 0, 300, *together), begin="icu")
    assert len(built.cases) == 1
    assert built.flow.rows[0] == ("unit stays", 0, 3)
    assert left_by(built) == {"begins with another unit stay of the visit: the same case": 2}


def test_broken_visits_are_counted():
    no_end = [event(1, 0, "HOSPITAL_ADMISSION//X", 10)]
    built = build(no_end, visit(2, 11, 0, -30), visit(3, 12, 0, 30))
    assert built.cases["subject_id"].to_list() == [3]
    assert left_by(built) == {"no admission or no discharge recorded": 1, "discharged before admitted": 1}


@pytest.mark.parametrize("by, sites", [("site", ["care", "mine"]), ("region", ["South"]), ("hospital", ["73", "73"])])
def test_sites(by, sites):
    rows = (
        visit(1, 10, 0, 30, site="region=South"),
        [event(1, None, "SITE//hospital=73", 10), event(1, None, "SITE//care", 10)],
        visit(2, 11, 0, 30, site="hospital=73"),
        [event(2, None, "SITE//mine")],
        visit(3, 12, 0, 30, site=None),
    )
    built = build(*rows, by=by)
    assert built.cases["site"].to_list() == sites
    assert left_by(built) == {f"no {by} named": 3 - len(sites)}
    assert build(*rows, by=by, name="all of it").cases["site"].to_list() == ["all of it"] * 3


def test_next_visits_are_those_of_the_first_study():
    rows = (
        visit(1, 10, 0, 24, (3, "MEDICATION//ab"), (24, "DIAGNOSIS//ICD//9//a"), (24, "PROCEDURE//ICD//9//3961")),
        visit(1, 11, 240, 300, (300, "DIAGNOSIS//ICD//9//b"), (250, "MEDICATION//planted after")),
        visit(2, 12, 0, 24, (24, "DIAGNOSIS//ICD//9//a")),
    )
    built = build(*rows, outcome="next_visit")
    assert built.outcomes == ("A", "B")
    assert built.cases["outcomes"].to_list() == [[0, 1]]
    assert said(built)[0][0] == "ab" and len(said(built)[0]) == 3
    assert left_by(built) == {"no next visit": 2}
    assert {system for system in built.concepts["system"]} == {"drug", "ICD9", "ICD9_procedure"}


def test_nobody_is_no_error():
    built = build(visit(1, 10, 0, 1))
    assert built.cases.schema == CASES and len(built.cases) == len(built.concepts) == 0


def test_events_without_a_column_are_refused():
    with pytest.raises(ValueError, match="column 'hadm_id' is missing"):
        build_cases(pl.LazyFrame(schema=schema.EVENTS).drop("hadm_id"), {}, Sites(), source="here")


CODES = st.sampled_from([SEPSIS, "MEDICATION//ab", "MEDICATION//cd 5 mg", "TREATMENT//EICU//x", "LAB//1"])
VISITS = st.lists(
    st.tuples(
        st.integers(1, 3),  # subject
        st.integers(0, 60),  # admitted
        st.integers(0, 60),  # hours of stay
        st.lists(st.tuples(st.integers(-30, 90), CODES), max_size=5),
        st.booleans(),
    ),
    max_size=6,
)


@trials(max_examples=30, deadline=None)
@given(VISITS, st.sampled_from([0.5, 14.0, 24.0]), st.sampled_from([0.0, 1.0, 365.0]))
def test_any_events_agree_with_a_loop(visits, hours, history):
    rows = [
        visit(subject, hadm, start, start + stay, *inside, discharge="DIED" if died else "HOME")
        for hadm, (subject, start, stay, inside, died) in enumerate(visits)
    ]
    built = build(*rows, hours=hours, history_days=history)
    columns = built.cases["subject_id"].to_list(), map(set, said(built)), built.cases["outcomes"].to_list()
    assert list(zip(*columns, strict=True)) == loop(visits, hours, history)


def loop(visits, hours, history) -> list[tuple]:
    """What a case is, said the long way round."""
    names = {SEPSIS: "sepsis", "MEDICATION//ab": "ab", "MEDICATION//cd 5 mg": "cd", "TREATMENT//EICU//x": "x"}
    cases = []
    for hadm, (subject, start, stay, _, died) in enumerate(visits):
        ends = [s + length for who, s, length, _, dead in visits if dead and who == subject]  # in death
        before = [end for end in ends if end <= start and (not died or end < start + stay)]
        if min([stay, *(end - start for end in ends if end >= start)]) <= hours or before:
            continue
        known = set()
        for other, (who, began, length, inside, _) in enumerate(visits):
            for when, code in inside:
                is_midnight = code.startswith("MEDICATION") and (START + when * HOUR).hour == 0
                by = max(when, min(when + 24, began + length)) if is_midnight else when
                if (
                    who == subject
                    and code in names
                    and start - 24 * history <= when
                    and by <= start + hours
                    and (other == hadm or began < start + hours)
                ):
                    known.add(names[code])
        cases.append((subject, start, hadm, known, [int(died or any(end <= start + stay for end in ends))]))
    return [(subject, known, outcome) for subject, _, _, known, outcome in sorted(cases, key=lambda case: case[:3])]
