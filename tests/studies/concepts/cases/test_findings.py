"""Findings from files, and several sources as one: nothing lost, nobody in two splits, no phrase under two numbers."""

import gzip

import numpy as np
import polars as pl
import pytest

from ckd_dist.ehr.flow import Flow
from ckd_dist.studies.concepts.cases import table
from ckd_dist.studies.concepts.cases.built import Built, join_sources
from ckd_dist.studies.concepts.cases.findings import read_findings
from ckd_dist.studies.concepts.config import Sites

CASES = """case_id,subject_id,site,outcome:flu,outcome:Death
a,1,north,1,0
b,1,north,0,0
c,2,south,0,1
"""
CONCEPTS = """concept,system,text
f1,emergency,fever
f2,emergency,cough
f3,emergency,"rash, itching"
"""
FINDINGS = """case_id,concept,state
a,f2,present
a,f1,absent
c,f3,present
c,f1,Present
"""


def write(folder, cases=CASES, findings=FINDINGS, concepts=CONCEPTS):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cases.csv").write_text(cases)
    (folder / "FINDINGS.csv").write_text(findings)
    (folder / "Concepts.CSV.GZ").write_bytes(gzip.compress(concepts.encode()))
    return folder


def said(built: Built) -> list[list[str]]:
    """Each case's phrases, in order."""
    texts = built.concepts["text"].to_list()
    return [[texts[number] for number in row] for row in built.cases["concepts"].to_list()]


def test_present_absent_and_missing(tmp_path):
    built = read_findings(write(tmp_path), Sites())
    assert built.cases.schema == table.CASES and built.concepts.schema == table.CONCEPTS
    assert said(built) == [["cough", "Not fever"], [], ["rash, itching", "fever"]]
    assert built.concepts["concept"].to_list() == list(range(4))
    assert built.concepts.select("text").to_series().to_list() == sorted(
        ["Not fever", "cough", "fever", "rash, itching"]
    )
    assert built.concepts.filter("absent")["text"].to_list() == ["Not fever"]
    assert set(built.concepts["system"]) == {"emergency"}
    assert built.outcomes == ("flu", "Death")
    assert built.cases["outcomes"].to_list() == [[1, 0], [0, 0], [0, 1]]
    assert built.cases["subject_id"].to_list() == [1, 1, 2]
    assert built.cases["oracle"].null_count() == built.cases["split"].null_count() == 3
    assert not any(built.lost.values()) and not built.remarks
    assert {note: number for note, number in built.flow.notes.items() if number} == {"cases without a finding": 1}


def test_missing_is_absent_within_the_sites_own_list(tmp_path):
    built = read_findings(write(tmp_path), Sites(missing="absent"))
    assert said(built) == [["cough", "Not fever"], ["Not fever", "Not cough"], ["rash, itching", "fever"]]
    assert built.flow.notes["missing findings, taken as absent"] == 2
    shortest = read_findings(write(tmp_path), Sites(missing="absent", max_concepts=1))
    assert said(shortest) == [["Not fever"], ["Not cough"], ["fever"]]
    assert shortest.lost["findings beyond max_concepts"] == 3


def test_what_was_looked_for_outlives_what_was_not(tmp_path):
    findings = FINDINGS + "b,f3,present\n"
    built = read_findings(write(tmp_path, findings=findings), Sites(missing="absent", max_concepts=2))
    assert said(built)[0] == ["cough", "Not fever"]


def test_rows_that_are_left_out_are_counted(tmp_path):
    findings = FINDINGS + "x,f1,present\na,f2,present\na,f2,absent\nd,f1,present\n"
    cases = CASES + "d,4,,0,0\ne,5,south,,1\n"
    built = read_findings(write(tmp_path, cases, findings), Sites())
    assert said(built) == [["cough", "Not fever"], [], ["rash, itching", "fever"]]
    assert built.flow.rows == (("cases", 0, 5), ("no site named", 1, 4), ("an outcome is not known", 1, 3))
    assert {note: number for note, number in (built.flow.notes | built.lost).items() if number} == {
        "findings of an unknown case": 1,
        "findings of a case that is left out": 1,
        "findings said twice": 1,
        "findings both present and absent, taken as present": 1,
        "cases without a finding": 1,
    }


def test_one_phrase_of_two_concepts_is_one(tmp_path):
    findings = "case_id,concept,state\na,f1,present\na,f9,present\nb,f9,absent\nb,f1,present\n"
    built = read_findings(write(tmp_path, findings=findings, concepts=CONCEPTS + "f9,emergency,fever\n"), Sites())
    assert said(built) == [["fever"], ["fever"], []]


def test_a_case_is_a_person_where_none_is_named_and_the_rest_is_as_given(tmp_path):
    cases = "case_id,outcome:flu,oracle:flu,split\nx 1,1,0.25,train\nx 2,0,0.5,\n"
    built = read_findings(write(tmp_path, cases, "case_id,concept,state\n"), Sites(), name="mine")
    assert built.cases["site"].to_list() == ["mine", "mine"]
    assert built.cases["oracle"].to_list() == [[0.25], [0.5]]
    assert built.cases["split"].to_list() == ["train", None]
    assert built.cases["subject_id"].n_unique() == 2
    one = cases.replace("x 2,0,0.5,\n", "")
    alone = read_findings(write(tmp_path, one, "case_id,concept,state\n"), Sites(), name="mine")
    assert alone.cases["subject_id"][0] == built.cases["subject_id"][0]


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"cases": CASES + "a,3,north,0,0\n"}, "2 of 4 rows have a case_id that is not theirs alone"),
        ({"cases": CASES.replace("c,2,south,0,1", "c,2,south,0,7")}, "1 of 3 rows have an outcome"),
        ({"cases": "case_id,site\na,north\n"}, "a case needs an outcome"),
        ({"cases": CASES.replace(",site", ",place")}, "column site is missing"),
        ({"cases": "case_id,site,outcome:flu,outcome:x,oracle:x\na,n,0,0,0.5\n"}, "for every outcome, or for none"),
        ({"cases": "case_id,site,outcome:flu,oracle:flu\na,n,0,1.5\n"}, "1 of 1 rows have an oracle"),
        ({"cases": "case_id,site,outcome:flu,split\na,n,0,test\n"}, "1 of 1 rows have a split"),
        ({"findings": FINDINGS + "b,f1,unknown\nb,f2,\n"}, "2 of 6 rows have a state that is none of"),
        ({"findings": FINDINGS + "b,secret,present\n"}, "1 of 5 rows have a concept that concepts.csv does not have"),
        ({"concepts": "concept,system,text\nF01,s,t\n"}, r"4 of 4 rows have .*like a9 and a99, 9 for a"),
        ({"findings": FINDINGS + "b,f1,present,more,secret\n"}, "cannot be read as CSV"),
        ({"concepts": CONCEPTS + "f1,other,secret\n"}, "2 of 4 rows have a concept that is not theirs alone"),
        ({"concepts": CONCEPTS + "f4,,secret\n"}, "1 of 4 rows have no concept, system or text"),
    ],
)
def test_what_cannot_be_read_is_refused_without_its_text(tmp_path, changed, message):
    with pytest.raises(ValueError, match=message) as error:
        read_findings(write(tmp_path, **changed), Sites())
    assert "secret" not in str(error.value) and "unknown" not in str(error.value)


def test_missing_or_double_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="there is no folder"):
        read_findings(tmp_path / "nowhere", Sites())
    (write(tmp_path) / "cases.csv.gz").write_bytes(gzip.compress(CASES.encode()))
    with pytest.raises(ValueError, match=r"cases.csv and cases.csv.gz"):
        read_findings(tmp_path, Sites())


# --- several sources -------------------------------------------------------------------------------------------------


def built_of(source: str, cases: list[tuple], texts: list[str], outcomes=("flu",)) -> Built:
    """cases: (subject, site, split, places in `texts`)."""
    concepts = pl.DataFrame(
        {
            "concept": range(len(texts)),
            "system": ["s"] * len(texts),
            "text": texts,
            "code": [f"{source} {text}" for text in texts],
            "absent": [False] * len(texts),
        },
        schema=table.CONCEPTS,
    )
    frame = pl.DataFrame(
        [(i, subject, site, split, said, [i % 2], None) for i, (subject, site, split, said) in enumerate(cases)],
        schema=table.CASES,
        orient="row",
    )
    return Built(frame, concepts, outcomes, Flow((("cases", 0, len(cases)),), {"notes": 1}), source)


def test_joined_cases_say_what_they_said():
    one = built_of("one", [(7, "a", None, [1, 0]), (7, "a", None, [])], ["cough", "fever", "never said"])
    other = built_of("other", [(7, "b", None, [2, 0]), (8, "b", None, [1])], ["ache", "fever", "cough"])
    joined = join_sources([one, other], Sites(min_cases=1))
    assert said(joined) == [["fever", "cough"], [], ["cough", "ache"], ["fever"]]
    assert joined.concepts["text"].to_list() == ["ache", "cough", "fever"]
    assert joined.concepts["code"].to_list() == ["other ache", "one cough", "one fever"]
    assert joined.cases["case_id"].to_list() == [0, 1, 2, 3]
    assert joined.cases.schema == table.CASES and joined.concepts.schema == table.CONCEPTS
    assert joined.cases["split"].null_count() == 0
    backwards = join_sources([other, one], Sites(min_cases=1))
    assert backwards.concepts.equals(joined.concepts)
    assert said(backwards) == [*said(joined)[2:], *said(joined)[:2]]


def test_persons_of_two_sources_are_two_and_of_one_source_one():
    one, other = (built_of(name, [(7, name, None, []), (9, name, None, [])], ["x"]) for name in ("a", "b"))
    again = built_of("a", [(7, "c", None, [])], ["x"])
    subjects = join_sources([one, other, again], Sites(min_cases=1)).cases["subject_id"].to_list()
    assert subjects[:2] == [7, 9] and len(set(subjects)) == 4 and subjects[4] == 7


def test_a_source_more_moves_nobody_to_another_split():
    rng = np.random.default_rng(0)
    cases = [(int(subject), "a", None, []) for subject in rng.integers(0, 2**55, 400)]
    one, other = built_of("one", cases, []), built_of("other", cases, [])
    alone, both = (join_sources(builts, Sites()).cases["split"] for builts in ([one], [one, other]))
    assert both[:400].to_list() == alone.to_list()
    assert 0.5 < (alone == "train").mean() < 0.7
    assert (both[:400] == both[400:]).mean() < 0.6  # the same numbers are other persons: their splits are independent


def test_sites_that_do_not_count_are_counted():
    cases = [(i, "large" if i < 5 else "small" if i < 7 else "other", None, [i % 2]) for i in range(12)]
    joined = join_sources([built_of("s", cases, ["x", "y"])], Sites(min_cases=3, keep=("large", "small")))
    assert set(joined.cases["site"]) == {"large"}
    assert joined.flow.rows[1:] == (
        ("cases of all sources", 0, 12),
        ("site not in sites.keep", 5, 7),
        ("site of fewer than 3 cases", 2, 5),
    )
    with pytest.raises(ValueError, match="keep names nowhere, but the sites are large, other, small"):
        join_sources([built_of("s", cases, ["x", "y"])], Sites(keep=("nowhere",)))
    with pytest.raises(ValueError, match="no site has 50 cases or more"):
        join_sources([built_of("s", cases, ["x", "y"])], Sites())


def test_a_subject_in_two_splits_raises():
    with pytest.raises(ValueError, match="1 subjects are in both train and held_out"):
        join_sources([built_of("s", [(771, "a", "train", []), (771, "a", "held_out", [])], [])], Sites(min_cases=1))
    own = built_of("s", [(1, "a", "tuning", []), (2, "a", "held_out", [])], [])
    assert join_sources([own], Sites(min_cases=1)).cases["split"].to_list() == ["tuning", "held_out"]


def test_sources_with_other_outcomes_are_refused():
    one, other = built_of("one", [(1, "a", None, [])], []), built_of("two", [(1, "b", None, [])], [], ("death",))
    with pytest.raises(ValueError, match="source 2 has"):
        join_sources([one, other], Sites(min_cases=1))
