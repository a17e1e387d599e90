"""What reading kept and lost is said, and what is left to learn from is looked at before anything long starts."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from ckd_dist.studies.concepts.cases.built import Built, join_sources
from ckd_dist.studies.concepts.cases.findings import read_findings
from ckd_dist.studies.concepts.cases.kept import account_of, check_joined
from ckd_dist.studies.concepts.cases.sources import Sources, read_sources
from ckd_dist.studies.concepts.config import Sites
from ckd_dist.studies.concepts.grid import check_pairs
from ckd_dist.studies.concepts.runfolder import ConceptsRun
from tests.studies.concepts.cases.test_findings import CASES, CONCEPTS, FINDINGS, built_of, said, write
from tests.studies.concepts.small import SMALL, do_stage, with_sources


def frame_of(num: int, spelled) -> tuple[str, str]:
    """Cases and findings, ids of the findings spelled in a way of their own."""
    cases = "case_id,site,outcome:flu\n" + "".join(f"{i},{'ns'[i % 2]},{i % 3 % 2}\n" for i in range(1, num + 1))
    findings = "case_id,concept,state\n" + "".join(f"{spelled(i)},f1,present\n" for i in range(1, num + 1))
    return cases, findings


# --- findings meet cases (N9) ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spelled", "remark"),
    [
        (lambda i: f"{i}.0", ""),  # N9: what pandas makes of a column with a gap; never anything else
        (lambda i: f" '{i}' ", ""),
        (lambda i: f'"""{i}"""', ""),
        (lambda i: f"{i:03d}", "60 findings meet their case but for how it is spelled"),
    ],
)
def test_findings_meet_their_cases_however_ids_are_spelled(tmp_path, spelled, remark):
    cases, findings = frame_of(60, spelled)
    built = read_findings(write(tmp_path, cases, findings), Sites())
    assert said(built) == [["fever"]] * 60 and not any(built.lost.values())
    assert list(built.remarks) == [remark] * bool(remark)


def test_concepts_meet_however_they_are_spelled(tmp_path):
    findings = FINDINGS.replace("f1", "F1").replace("f2", "'f2'")
    built = read_findings(write(tmp_path, findings=findings), Sites())
    assert said(built) == [["cough", "Not fever"], [], ["rash, itching", "fever"]]
    assert built.remarks == ("2 findings meet their concept but for how it is spelled",)


def test_findings_of_another_data_set_are_refused_with_how_both_write_ids(tmp_path):
    """N9: 600 of 600 findings met no case, and 264 experiments later scikit-learn complained."""
    cases, findings = frame_of(60, lambda i: f"S-{i + 100}")
    with pytest.raises(ValueError, match=r"60 of 60 findings name a case .* \(mostly like a-999 and 99, 9 for a digit"):
        read_findings(write(tmp_path, cases, findings), Sites())


@pytest.mark.parametrize(("num_strange", "refused"), [(29, False), (30, False), (31, True)])
def test_fewer_than_half_is_refused_and_less_is_counted(tmp_path, num_strange, refused):
    cases, findings = frame_of(60, lambda i: f"x{i}" if i <= num_strange else i)
    folder = write(tmp_path, cases, findings)
    if refused:
        with pytest.raises(ValueError, match="31 of 60 findings name a case"):
            read_findings(folder, Sites())
    else:
        assert read_findings(folder, Sites()).lost["findings of an unknown case"] == num_strange


def test_findings_of_cases_that_are_left_out_are_no_failed_join(tmp_path):
    cases, findings = frame_of(60, str)
    cases = cases.replace(",n,0", ",n,").replace(",s,0", ",s,")
    built = read_findings(write(tmp_path, cases, findings), Sites())
    assert built.lost["findings of a case that is left out"] == 40 and len(built.cases) == 20


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"cases": CASES.replace("a,1,", "1.2E+08,1,")}, "1 of 3 rows have a case_id with an exponent"),
        ({"findings": FINDINGS + "1e+10,f1,present\n"}, "1 of 5 rows have a case_id with an exponent"),
        ({"cases": CASES + "1,4,north,0,0\n1.0,5,north,0,0\n"}, "2 of 5 rows have a case_id that is not theirs alone"),
        (
            {"cases": CASES.replace("1,0\n", ",\n").replace("0,0\n", ",\n").replace("0,1\n", ",\n")},
            "none of 3 cases has",
        ),
        ({"concepts": CONCEPTS + "'f1',other,secret\n"}, "2 of 4 rows have a concept that is not theirs alone"),
    ],
)
def test_what_has_two_readings_is_refused(tmp_path, changed, message):
    with pytest.raises(ValueError, match=message) as error:
        read_findings(write(tmp_path, **changed), Sites())
    assert "secret" not in str(error.value)


def test_outcomes_splits_and_sites_as_programs_write_them(tmp_path):
    cases = (
        "case_id,site,outcome:flu,split\n1,North,1.0,Train\n2,north,0.0,held-out\n3,NORTH ,TRUE,\n4,North,no,\n"
        "5,south,Yes,tuning\n6,,1,\n"
    )
    built = read_findings(write(tmp_path, cases, "case_id,concept,state\n1,f1,present\n"), Sites())
    assert built.cases["outcomes"].to_list() == [[1], [0], [1], [0], [1]]
    assert built.cases["site"].to_list() == ["North"] * 4 + ["south"]
    assert built.cases["split"].to_list() == ["train", "held_out", None, None, "tuning"]
    assert built.remarks == ("site North is spelled in several ways, taken as one",)


# --- what is left of all sources -------------------------------------------------------------------------------------


def joined(*cases: tuple, texts=("x", "y"), outcomes: list[list[int]] | None = None, names=("flu",)) -> Built:
    built = built_of("s", list(cases), list(texts), names)
    if outcomes:
        built = replace(built, cases=built.cases.with_columns(outcomes=pl.Series(outcomes, dtype=pl.List(pl.Int8))))
    return join_sources([built], Sites(min_cases=1))


GOOD = [(i, "ab"[i > 3], None, [i % 2]) for i in range(8)]


@pytest.mark.parametrize(
    ("built", "message"),
    [
        (joined(*((i, "a", None, []) for i in range(4))), r"none of 4 cases has a concept.* sites.codes \(DRUG//\)"),
        (joined(*GOOD, (9, "c", None, []), (10, "c", None, [])), "no case of site c has a concept"),
        (joined(*GOOD, outcomes=[[0]] * 8), "outcome flu is the same in all 8 cases"),
        (joined(*GOOD, outcomes=[[1]] * 8), "outcome flu is the same in all 8 cases"),
        (joined(*GOOD, outcomes=[[0, 1]] * 8, names=("flu", "death")), "each of 2 outcomes is the same in all 8 cases"),
    ],
)
def test_nothing_to_learn_from_is_refused(built, message):
    with pytest.raises(ValueError, match=message):
        check_joined(built, ("DRUG//",))


def test_codes_are_no_advice_where_findings_are_all_that_is_read(tmp_path):
    folder = write(tmp_path / "empty", findings="case_id,concept,state\n")
    settings = Sources((f"A=findings:{folder}",), synthetic_seed=1, memory_gb=1.0)
    with pytest.raises(ValueError, match=r"none of 3 cases has a concept.* has findings\.csv a row") as refusal:
        read_sources(settings, Sites(), Sites(min_cases=1), ConceptsRun(tmp_path), lambda done, total: None)
    assert "codes" not in str(refusal.value)


def test_what_may_be_a_fault_is_said():
    bits = [[0, i % 2] if i < 4 else [0, 1] for i in range(8)]
    cases = [(i, "ab"[i > 3], None, [int(i > 3)] if i % 4 == 0 else []) for i in range(8)]
    built = joined(*cases, outcomes=bits, names=("flu", "death"))
    check_joined(built, ())
    assert account_of(built).sentence() == (
        "2 sites, 8 subjects, 8 cases, 2 concepts; lost: 6 of the cases without a concept; "
        "flu: the same in all cases, so not scored; no outcome differs between the cases of b; "
        "at most half of the cases of a, b have a concept; "
        "a and b share no concept: codes do not meet there, vectors may"
    )


def test_a_clean_source_has_a_short_line():
    assert account_of(joined(*GOOD)).sentence() == "2 sites, 8 subjects, 8 cases, 2 concepts"


def test_losses_of_several_sources_add_up_and_remarks_name_theirs():
    one, other = (built_of(name, GOOD, ["x", "y"]) for name in ("one", "other"))
    one = replace(one, lost={"rows of A": 2}, remarks=("no B",), unnamed_drugs={"a": [1, 4]})
    other = replace(other, lost={"rows of A": 3, "rows of C": 9}, unnamed_drugs={"a": [1, 6], "b": [0, 3]})
    both = join_sources([one, other], Sites(min_cases=1))
    assert both.lost == {"rows of A": 5, "rows of C": 9} and both.remarks == ("source 1: no B",)
    assert both.unnamed_drugs == {"a": [2, 10], "b": [0, 3]}
    assert "lost: 9 rows of C, 5 rows of A; source 1: no B" in account_of(both).sentence()


def test_a_source_without_a_case_is_not_passed_over():
    one, other = built_of("one", GOOD, ["x", "y"]), built_of("other", [], [])
    with pytest.raises(ValueError, match="source 2 has no case"):
        join_sources([one, other], Sites(min_cases=1))


def test_one_site_alone_has_no_pair():
    with pytest.raises(ValueError, match="north is the only site"):
        check_pairs((), ["north"])
    check_pairs((), ["north", "south"])


# --- the stage -------------------------------------------------------------------------------------------------------


def test_the_read_stage_refuses_before_it_leaves_anything(tmp_path: Path):
    cases, findings = frame_of(200, lambda i: f"S-{i}")
    folder = write(tmp_path / "mine", cases, findings)
    run = ConceptsRun(tmp_path / "run")
    with pytest.raises(ValueError, match="200 of 200 findings name a case"):
        do_stage("read", with_sources(SMALL, f"findings:{folder}"), run)
    assert not run.cases.exists()
