"""What stands around a name of a list is no part of it (notes_concepts table 2.5): read, passed over, or refused."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckd_dist.studies.ner.labelers.word_lists import read_words

NAMES = ["asthma", "heart failure", "cough"]


def read(folder, text, kind="disease"):
    """Return the names of a list and what was passed over."""
    file = folder / "names.tsv"
    file.write_text(text, encoding="utf-8")
    left_out = Counter()
    return list(read_words(file, kind, left_out)), {what: number for what, number in left_out.items() if number}


@pytest.mark.parametrize(
    ("text", "left_out"),
    [
        ("“asthma”\n‘heart failure’\n'cough'\n", {}),
        ("„asthma“\n«heart failure»\n`cough`\n", {}),
        ("“asthma\"\n''heart failure''\n``cough´´\n", {}),
        ("'asthma\n'heart failure\n'cough\n", {}),  # as a spreadsheet marks text
        ('"asthma",\n"heart failure",\n"cough"\n', {}),
        ('[\n  "asthma",\n  "heart failure",\n  "cough"\n]\n', {"fields without a word": 2}),
        ("asthma;\nheart failure;\ncough;\n", {}),
        ("- asthma\n* heart failure\n1. cough\n", {"list marks": 3}),
        ("• asthma\n–  heart failure\n•cough\n", {"list marks": 3}),
        ("(1) asthma\n2) heart failure\na) cough\n", {"list marks": 3}),
        ("- [ ] asthma\n  - [x] heart failure\n1.2. cough\n", {"list marks": 3}),
        ("1 asthma\n2 heart failure\n3 cough\n", {"list marks": 3}),
        ("- “asthma”\n- 'heart failure'\n- cough\u200b\n", {"list marks": 3}),
        ("•\tasthma\n•\theart failure\n•\tcough\n", {"fields without a word": 3}),
        ("1.\tasthma\n2.\theart failure\n3.\tcough\n", {"columns of codes": 1}),
        ("asthma\u200b\n\u2060heart fail\u00adure\n\u200ecough\ufeff\n", {}),
        ("//a\nasthma\n; b\nheart failure\n% c\ncough\n-- d\n/* e */\n<!-- f -->\n", {"comment lines": 6}),
        ("asthma // common\nheart failure\ncough # x\n", {}),
        ("asthma\nnan\nNULL\nN/A\nheart failure\nNone\nNA\n-\n...\ncough\n", {"fields without a word": 7}),
        ("asthma\tNULL\nheart failure\tn/a\ncough\t#N/A\n", {"fields without a word": 3}),
        ("asthma\tJ45\nheart failure\tI50.9\ncough\tR05\n", {"columns of codes": 1}),
        ("C0004096\tasthma\nC0018801\theart failure\nC0010200\tcough\n", {"columns of codes": 1}),
        ("DOID:2841\tasthma\t7\nDOID:6000\theart failure\t8\nNULL\tcough\t9\n", {"columns of codes": 2}),
        ("asthma\tJ45.20, J45.21\nheart failure\tI50.9\ncough\tT36.0X5A\n", {"columns of codes": 1}),
        ("asthma\tICD10CM:J45\nheart failure\tICD10CM:I50.9\ncough\n", {"columns of codes": 1}),
        ("asthma\thttp://x.org/DOID_2841\nheart failure\thttp://x.org/DOID_6000\ncough\n", {"columns of codes": 1}),
        ("Diagnosis\tICD10\nasthma\tJ45\nheart failure\tI50\ncough\tR05\n", {"columns of codes": 1, "header lines": 1}),
        ("disease_name\ticd_code\nasthma\tJ45\nheart failure\tI50\ncough\tR05\n", {"header lines": 1}),
        ("Disease Name\nasthma\nheart failure\ncough\n", {"header lines": 1}),
    ],
)
def test_what_stands_around_a_name_is_no_part_of_it(tmp_path, text, left_out):
    assert read(tmp_path, text) == (NAMES, left_out)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('"asthma, severe"\n"heart, failing"\n', ["asthma, severe", "heart, failing"]),
        ("“asthma, severe”\n'heart, failing'\n", ["asthma, severe", "heart, failing"]),
        ('"asthma; severe",\n"heart | failing",\n', ["asthma; severe", "heart | failing"]),
        ('"asthma, severe"\ncough\n', ["asthma, severe", "cough"]),
        ("asthma, severe\ncough\n", ["asthma, severe", "cough"]),
        ("asthma, severe\n", ["asthma, severe"]),
        ("'Crohn's disease'\nBell's palsy\n", ["Crohn's disease", "Bell's palsy"]),
        ("“Stone man” disease\n'a' and 'b'\n", ["“Stone man” disease", "'a' and 'b'"]),
        ('"“Stone man” disease"\n', ["“Stone man” disease"]),
        ("5 alpha reductase deficiency\n1 asthma\n", ["5 alpha reductase deficiency", "1 asthma"]),
        ("C#-disease\nstage #2 ulcer\nand/or\n", ["C#-disease", "stage #2 ulcer", "and/or"]),
        ("flu\tinfluenza A\nlupus\tSLE\n", ["flu", "influenza A", "lupus", "SLE"]),
        ("COVID\tCOVID-19\nflu\tgrippe\n", ["COVID", "COVID-19", "flu", "grippe"]),
        ("diabetes\tT2DM\nCOVID\tCOVID-19\n", ["diabetes", "T2DM", "COVID", "COVID-19"]),
        ("active disease\ncough\n", ["active disease", "cough"]),
        ("Na\nnone of these\n", ["Na", "none of these"]),
        ("J45\nI50\n", ["J45", "I50"]),  # nothing but codes: the vocabulary is refused, not emptied
    ],
)
def test_what_is_part_of_a_name_stays(tmp_path, text, names):
    assert read(tmp_path, text)[0] == names


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("asthma, severe\nheart, failing\n", "every line has 1 commas and no tab"),
        ('"asthma, severe","cough"\n"croup"\n', "quoted names stand between commas, semicolons or bars \\(lines: 1\\)"),
        ('["asthma", "cough"]\n', "quoted names stand between"),
        ("“asthma”; “cough”\ncroup\n", "quoted names stand between"),
        ("asthma, cough, croup\n", "every line has 2 commas"),
        ("“asthma\ncough\n", "line 1: a quote is not closed"),
    ],
)
def test_two_readings_are_refused_without_a_name(tmp_path, text, says):
    with pytest.raises(ValueError, match=says) as refusal:
        read(tmp_path, text)
    assert not any(name in str(refusal.value) for name in ("asthma", "heart", "cough", "croup"))


@given(
    names=st.lists(st.from_regex(r"[b-z]{2,8}( [b-z]{2,8}(, [b-z]{3,8})?)?", fullmatch=True), min_size=1, max_size=5),
    marks=st.sampled_from(['""', "“”", "''", "‘’", "«»", "„“"]),
    before=st.sampled_from(["", "- ", "* ", "1. ", "\u200b"]),
    after=st.sampled_from(["", ",", ";", " # note", " // note", "\u200b", "  "]),
)
def test_quoted_names_come_out_as_they_went_in(tmp_path_factory, names, marks, before, after):
    text = "".join(f"{before}{marks[0]}x{name}{marks[1]}{after}\n" for name in names)
    assert read(tmp_path_factory.getbasetemp(), text)[0] == [f"x{name}" for name in names]
