"""A user's label set: any vocabulary, one reading or a refusal, and codes that match nothing are named (F11, F14)."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckd_dist.ehr import codes
from ckd_dist.ehr.labelcheck import check_codes
from ckd_dist.ehr.labelset import LabelSet, event_code, load_label_set

ICD9, ICD10, SNOMED = "DIAGNOSIS//ICD//9//", "DIAGNOSIS//ICD//10//", "DIAGNOSIS//SNOMED//"
EVENTS = {f"{ICD9}4280", f"{ICD9}0389", f"{ICD10}I509"}


def own(folder: Path, text: str | bytes) -> LabelSet:
    path = folder / "labels.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_label_set(str(path))


def columns(labels: LabelSet, *event_codes: str) -> list[tuple[int, ...]]:
    return [labels.columns_of(code) for code in event_codes]


def test_a_label_set_of_any_vocabulary(tmp_path: Path):
    """Field test F11: a SNOMED site needs no disguise as ICD-10."""
    labels = own(
        tmp_path,
        """
Heart failure: {codes: {SNOMED: ["84114007"], ICD9: ["428.0"], ICD-10-CM: ["i50.9"]}}
Asthma: {codes: {snomed: [" 195967001 "], READ: ["H33..", "h33.."]}, codes10: ["J45.909"]}
Septicemia: {id: 2, codes: {SNOMED: ["91302008"]}}
Full: {codes: ["DIAGNOSIS//SNOMED//22298006", "DIAGNOSIS//ICD//9//410.90"]}
""",
    )
    assert columns(labels, f"{SNOMED}84114007", f"{ICD9}4280", f"{ICD10}I509") == [(0,)] * 3
    assert columns(labels, f"{SNOMED}195967001", f"{ICD10}J45909", "DIAGNOSIS//READ//H33..") == [(1,)] * 3
    assert labels.columns_of("DIAGNOSIS//READ//H33") == (), "dots are Read's own"
    assert columns(labels, f"{ICD9}0389", f"{SNOMED}91302008", f"{ICD10}A419") == [(2,)] * 3, "its category too"
    assert columns(labels, f"{SNOMED}22298006", f"{ICD9}41090") == [(3,)] * 2
    assert labels.columns_of(f"{ICD10}I501") == (), "codes of ICD-10 take the place of the map"


@pytest.mark.parametrize("written", ["4280", "428.0", " 428.0 ", "4280.0", "428 .0", "4 2 8 0", "\u00a04280"])
def test_one_reading_of_a_code(written: str):
    assert event_code("ICD9", written) == f"{ICD9}4280"


@settings(deadline=None, max_examples=50)
@given(st.sampled_from(codes.known_codes(ICD9)), st.sampled_from(codes.known_codes(ICD10)), st.data())
def test_dots_blanks_and_case_never_change_an_icd_code(icd9: str, icd10: str, data: st.DataObject):
    for vocabulary, prefix, code in (("ICD9CM", ICD9, icd9), ("ICD10", ICD10, icd10)):
        place = 4 if code.startswith("E") and prefix == ICD9 else 3
        dotted = f"{code[:place]}.{code[place:]}" if len(code) > place else code
        at = data.draw(st.integers(0, len(dotted)))
        blank = data.draw(st.sampled_from(["", " ", "\t", "\u00a0"]))
        spelled = dotted[:at] + blank + dotted[at:]
        assert event_code(vocabulary, data.draw(st.sampled_from([spelled, spelled.lower()]))) == prefix + code


@settings(deadline=None, max_examples=50)
@given(st.text(st.characters(exclude_categories=["Zs", "Cc", "Cs", "Zl", "Zp"]), min_size=1))
def test_a_code_of_another_vocabulary_is_left_as_it_is(code: str):
    assert event_code("own", f" {code} ") == f"DIAGNOSIS//OWN//{code}" or code.startswith("DIAGNOSIS//")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('a: {codes: ["4280"]}\na: {codes: ["4281"]}', "'a' stands twice, at lines 1 and 2"),
        ('a: {codes: ["4280"], codes: ["4281"]}', "'codes' stands twice, at lines 1 and 1"),
        ('No: {codes: ["4280"]}', "must be text: put it in quotes"),
        ('0401: {codes: ["4280"]}', "must be text: put it in quotes"),
        ('a: {use_in_benchmark: "False", codes: ["4280"]}', "must be True or False, without quotes"),
        ("a: {codes: []}", "lists no code"),
        ('a: {codes: ["."], codes10: [" "]}', "lists no code"),
        ("a: {codes: {SNOMED: [84114007]}}", "SNOMED must be a list of quoted codes"),
        ('a: {codes: {SNOMED: "84114007"}}', "SNOMED must be a list of quoted codes"),
        ("a: {codes: {SNOMED: }}", "SNOMED must be a list of quoted codes"),
        ('subject_id: {codes: ["4280"]}', "is a column of every table of predictions"),
        ("a: {codes: null}", "codes must be a list of quoted codes"),
        ('a: {codes: {EICU: ["renal|failure"]}}', "eICU's own paths"),
        ("", "must map names"),
        ('a: {codes: ["4280"]}'.encode("utf-16"), "is not UTF-8 text"),
    ],
)
def test_two_readings_are_refused(tmp_path: Path, text: str | bytes, message: str):
    with pytest.raises(ValueError, match=message) as refused:
        own(tmp_path, text)
    assert "labels.yaml" in str(refused.value)


def test_a_byte_order_mark_and_windows_line_ends(tmp_path: Path):
    labels = own(tmp_path, b'\xef\xbb\xbfHeart failure:\r\n  codes: ["428.0"]\r\n')
    assert labels.names == ("Heart failure",)
    assert labels.columns_of(f"{ICD9}4280") == (0,)


@pytest.mark.parametrize(
    ("label", "cause"),
    [
        ('{codes: ["428"]}', "428 .under codes. is a heading, no code: list its codes, such as 4280 and 4281"),  # F14
        ('{codes: ["R65.21"]}', "R6521 .under codes. is an ICD-10 code: put it under codes10"),  # F14
        ('{codes10: ["785.52"]}', "78552 .under codes10. is an ICD-9 code: put it under codes"),
        ('{codes: ["R65.21"], codes10: ["785.52"]}', "78552 .*put it under codes; R6521 .* put it under codes10"),
        ('{codes: ["3899"]}', None),  # a valid code, though it may have been 03899
        ('{codes10: ["I50"]}', "I50 .under codes10. is a heading, no code: list its codes, such as I501"),
        ('{codes: ["428*"]}', "a heading"),
        ('{codes10: ["I50.-"]}', "a heading"),
        ('{codes: ["428x"]}', "a heading"),
        ('{codes: ["4280, 4281"]}', "several codes in one"),
        ('{codes: ["36.15"]}', "a procedure's code"),
        ('{codes: ["108"]}', "a CCS category: write id: 108"),
        ('{codes: ["nonsense"]}', "in no table of ICD-9"),
        ('{codes: {SNOMED: ["84114007"]}}', r"no event .there are: DIAGNOSIS//ICD//10//, DIAGNOSIS//ICD//9//"),
    ],
)
def test_a_label_whose_codes_match_nothing_is_refused_with_its_cause(tmp_path: Path, label: str, cause: str | None):
    labels = own(tmp_path, f"heart: {label}\nother: {{id: 2}}")
    if cause is None:
        assert check_codes(labels, EVENTS, "labels.yaml") == []
        return
    with pytest.raises(ValueError, match=f"1 of 2 labels can never be set.*of 'heart'.*{cause}"):
        check_codes(labels, EVENTS, "labels.yaml")


@pytest.mark.parametrize(("lost", "whole"), [("389", "0389"), ("845", "0845 or 00845"), ("41", "0041")])
def test_a_list_that_lost_its_zeros_is_refused(tmp_path: Path, lost: str, whole: str | None):
    """The same as F3, in a label set: some of the codes would be other diseases, the rest none."""
    labels = own(tmp_path, f'heart: {{codes: ["4280", "{lost}"]}}')
    with pytest.raises(
        ValueError, match=f"1 code in no table would be in one with a leading zero .*{whole} without its zero"
    ):
        check_codes(labels, EVENTS, "x")


def test_a_code_that_matches_nothing_beside_others_is_said(tmp_path: Path):
    labels = own(tmp_path, 'shock: {codes: ["78552", "R65.21"]}\nlocal: {codes: ["999XX"]}')
    remarks = check_codes(labels, EVENTS | {f"{ICD9}999XX"}, "labels.yaml")
    assert remarks == [
        "1 code of the label set can match nothing: R6521 (under codes) is an ICD-10 code: put it under codes10"
    ], "a code that an event has is known, in whatever table"


def test_codes_without_a_table_are_judged_by_their_events(tmp_path: Path):
    labels = own(tmp_path, 'a: {codes: {SNOMED: ["84114007", "1"]}}\nb: {codes: {SNOMED: ["2"]}}')
    assert check_codes(labels, {f"{SNOMED}84114007"}, "x") == [
        f"2 of 3 codes of {SNOMED} in the label set occur in no event: 2 (of 'b'), 1 (of 'a')"
    ], "a label that nothing else sets comes first"


@pytest.mark.parametrize(
    ("event", "otherwise"),
    [("AS01", True), ("as1", True), ("AS-1", True), ("A.S_1", True), ("AS10", False), ("AS11", False), ("BS1", False)],
)
def test_own_codes_that_no_event_has_are_quoted(tmp_path: Path, event: str, otherwise: bool):
    """The label could be set here, so it is for check_labels to refuse; but the sentence names the cause."""
    labels = own(tmp_path, 'Asthma: {codes: {OWN: ["AS1"]}}\nGout: {codes: {OWN: ["G1", "G2", "G3", "G4"]}}')
    (remark,) = check_codes(labels, {f"DIAGNOSIS//OWN//{event}"}, "x")
    assert remark.startswith("5 of 5 codes of DIAGNOSIS//OWN// in the label set occur in no event: AS1 (of 'Asthma'")
    assert remark.endswith("G1 (of 'Gout'), G2 (of 'Gout'), and 2 more")
    assert ("spell with other zeros" in remark) == otherwise
    assert event == "AS1" or event not in remark.split("no event: ")[1], "an event's code is not quoted"


def test_a_vocabulary_that_no_label_knows(tmp_path: Path):
    """A SNOMED site with the labels of ICD: refused where all is SNOMED, else said."""
    with pytest.raises(ValueError, match=r"diagnoses are of DIAGNOSIS//SNOMED//, of which no label .*select.labels"):
        check_codes(load_label_set("phenotypes25"), {f"{SNOMED}84114007"}, "phenotypes25")
    assert check_codes(load_label_set("phenotypes25"), EVENTS | {f"{SNOMED}84114007", f"{SNOMED}1"}, "x") == [
        f"no label knows {SNOMED}, of which there are 2 codes"
    ]


def test_the_benchmarks_labels_have_nothing_to_say():
    assert check_codes(load_label_set("phenotypes25"), EVENTS, "phenotypes25") == []
