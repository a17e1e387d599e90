"""Synthetic notes: gold is exact, what a visit has is in its note, and no dictionary is complete or always right."""

import json
import os
import random
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckd_dist.hospital.catalogue import OTHER_DRUGS, PHENOTYPES
from ckd_dist.notes.note import Mention, Note, decode, encode
from ckd_dist.studies.ner.synthetic import notes as notes_module
from ckd_dist.studies.ner.synthetic.diseases import DISEASES, OTHER_DISEASES
from ckd_dist.studies.ner.synthetic.medications import MEDICATIONS
from ckd_dist.studies.ner.synthetic.names import MARKS, held_by, without_mark
from ckd_dist.studies.ner.synthetic.notes import assemble, broken, write_synthetic_notes
from ckd_dist.studies.ner.synthetic.prose import Named, Problem, Stay, misspelled, write_note
from ckd_dist.studies.ner.synthetic.symptoms import SYMPTOMS, SYMPTOMS_OF

TYPES = ["disease", "medication", "symptom"]
LAW = {  # vocabulary: its type, share of that type's mentions that it has, share of what it finds that is right
    "disease": ("disease", 0.66, 0.81),
    "symptom": ("symptom", 0.65, 0.84),
    "medication": ("medication", 0.55, 0.85),
    "problems": ("disease", 0.11, 0.50),
    "formulary": ("medication", 0.19, 0.89),
}
TOLERANCE = 0.04


def read(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "notes.jsonl").read_text("utf-8").splitlines()]


def names_in(folder: Path, vocabulary: str) -> list[str]:
    lines = (folder / "vocabulary" / f"{vocabulary}.tsv").read_text("utf-8").splitlines()
    return [name for line in lines for name in line.split("\t")]


def texts(note: dict, kind: str) -> list[str]:
    """What the note calls things of this type, on one line each."""
    return [" ".join(note["text"][m["start"] : m["end"]].split()) for m in note["mentions"] if m["type"] == kind]


@pytest.fixture(scope="module")
def hospital(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("notes")
    write_synthetic_notes(folder, 400, seed=1)
    return folder


@pytest.fixture(scope="module")
def notes(hospital) -> list[dict]:
    return read(hospital)


# --- files ------------------------------------------------------------------------------------------------------------


def test_same_seed_same_bytes_other_seed_other_notes(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_synthetic_notes(tmp_path / name, 20, seed)
    files = ["notes.jsonl", *(f"vocabulary/{name}.tsv" for name in sorted(LAW))]
    a, b, c = ([(tmp_path / x / file).read_bytes() for file in files] for x in "abc")
    assert a == b and a[0] != c[0] and a[1:] == c[1:]
    found = sorted(file.relative_to(tmp_path / "a").as_posix() for file in (tmp_path / "a").rglob("*.*"))
    assert found == sorted(files), "nothing is left over"


def test_a_subject_does_not_depend_on_how_many_there_are(tmp_path, monkeypatch):
    monkeypatch.setattr(notes_module, "CHUNK", 20)
    write_synthetic_notes(tmp_path / "few", 45, seed=3)
    write_synthetic_notes(tmp_path / "many", 90, seed=3)
    few, many = read(tmp_path / "few"), read(tmp_path / "many")
    assert len({note["subject"] for note in few}) == 45 and few == many[: len(few)]


def test_lines_are_counted_and_a_file_is_its_callers_alone(tmp_path):
    before = os.umask(0o077)
    try:
        num_lines = write_synthetic_notes(tmp_path, 10, seed=0)
    finally:
        os.umask(before)
    assert num_lines.keys() == {"notes", *LAW}
    for name, num in num_lines.items():
        file = tmp_path / ("notes.jsonl" if name == "notes" else f"vocabulary/{name}.tsv")
        assert len(file.read_text("utf-8").splitlines()) == num
        assert file.stat().st_mode & 0o777 == 0o600


def test_a_hospital_without_subjects_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least one subject, got 0"):
        write_synthetic_notes(tmp_path, 0, seed=0)


def test_a_line_has_what_a_reader_needs(notes):
    assert all(note.keys() == {"name", "subject", "text", "mentions"} for note in notes)
    assert len({note["name"] for note in notes}) == len(notes)
    per_subject = Counter(note["subject"] for note in notes)
    assert len(per_subject) == 400 and set(per_subject.values()) == {1, 2, 3}
    assert {m["type"] for note in notes for m in note["mentions"]} == set(TYPES)


# --- gold -------------------------------------------------------------------------------------------------------------


def test_a_mention_is_whole_words_in_order_and_no_two_share_one(notes):
    """Tags of words give back every mention: nothing overlaps, touches, or ends within a word."""
    for note in notes:
        words = list(re.finditer(r"\w+|[^\w\s]", note["text"]))
        start_U, end_U = (np.array([getattr(word, side)() for word in words], np.int32) for side in ("start", "end"))
        as_words = Note(note["text"], start_U, end_U, np.zeros_like(start_U))
        gold = [Mention(**mention) for mention in note["mentions"]]
        tags_U, lost = encode(as_words, gold, TYPES)
        assert (lost.overlapping, lost.wordless) == (0, 0)
        assert decode(as_words, tags_U, TYPES) == gold


def test_a_mention_says_a_name_of_its_type(notes):
    """But for one in 20, which is misspelled.  A gap in a name (a side, a number) may hold any word."""
    groups = {
        "disease": [
            *(names for kinds in DISEASES.values() for names in kinds),
            *(names for _, names in OTHER_DISEASES),
        ],
        "medication": [names for _, names in MEDICATIONS.values()],
        "symptom": list(SYMPTOMS.values()),
    }
    for kind, concepts in groups.items():
        names = sorted({re.escape(without_mark(name)) for names in concepts for name in names})
        any_name = re.compile("|".join(re.sub(r"\\{\w+\\}", r"\\w+", name) for name in names), re.IGNORECASE)
        mentions = [text for note in notes for text in texts(note, kind)]
        share = sum(any_name.fullmatch(text) is not None for text in mentions) / len(mentions)
        assert 0.94 < share < 0.985, kind


def test_nothing_is_left_of_the_templates_and_notes_have_the_length_of_notes(notes):
    for note in notes:
        assert not re.search(r"[{}]|\s$|  |\n\n\n", note["text"].removesuffix("\n")), note["name"]
        assert 80 <= len(note["text"].split()) <= 250
        assert len(re.findall(r"(?m)^.+?:", note["text"])) >= 7, "seven headings"


def test_what_a_visit_has_is_in_its_note():
    stay = Stay(
        age=70,
        female=True,
        died=False,
        present=[
            Problem(("heart failure",), ("edema",), ("furosemide",)),
            Problem(("gout",), ("pain",), ()),
        ],
        past=[("hypertension",)],
        home=["aspirin", "lisinopril"],
        usual=["senna"],
    )
    no_errors = random.Random(5)
    for _ in range(50):
        text, mentions = assemble(write_note(stay, no_errors))
        note = {"text": text, "mentions": [{"start": a, "end": b, "type": kind} for a, b, kind in mentions]}
        diseases = [name.lower() for name in texts(note, "disease")]
        drugs = [name.lower() for name in texts(note, "medication")]

        def says(drug: str, drugs: list[str] = drugs) -> bool:
            return any(without_mark(name).lower() in drugs for name in MEDICATIONS[drug][1])

        misses = [name for name in ("heart failure", "gout", "hypertension") if name not in diseases]
        misses += [drug for drug in ("furosemide", "aspirin", "lisinopril", "senna") if not says(drug)]
        assert len(misses) <= 2, "only a misspelled one is not found"
        assert " she " in text or "woman" in text
        assert not re.search(r"\b([Hh]e|[Hh]is|[Hh]im|man)\b", text)


# --- the law: dictionaries --------------------------------------------------------------------------------------------


def plain_dictionary(names: list[str]):
    """Finds names word for word, the longest first, in any case; short ones in capitals only as they are written."""
    short = [name for name in names if name.isupper() and len(name) <= 7]
    both = ([name for name in names if name not in short], re.IGNORECASE), (short, 0)
    patterns = [
        re.compile(r"(?<!\w)(?:" + "|".join(re.escape(n).replace(r"\ ", r"\s") for n in chosen) + r")(?!\w)", flags)
        for chosen, flags in ((sorted(chosen, key=len, reverse=True), flags) for chosen, flags in both)
        if chosen
    ]

    def find(text: str) -> set[tuple[int, int]]:
        found = {match.span() for pattern in patterns for match in pattern.finditer(text)}
        return {a for a in found if not any(b != a and b[0] <= a[0] and a[1] <= b[1] for b in found)}

    return find


@pytest.mark.parametrize("vocabulary", LAW)
def test_the_vocabularies_know_the_share_that_the_docstring_says(hospital, notes, vocabulary):
    kind, covered, right = LAW[vocabulary]
    names = names_in(hospital, vocabulary)
    known = {name.casefold() for name in names}
    mentions = [text.casefold() for note in notes for text in texts(note, kind)]
    assert sum(text in known for text in mentions) / len(mentions) == pytest.approx(covered, abs=TOLERANCE)

    find, hits, finds = plain_dictionary(names), 0, 0
    for note in notes:
        gold = {(m["start"], m["end"]) for m in note["mentions"] if m["type"] == kind}
        found = find(note["text"])
        hits, finds = hits + len(found & gold), finds + len(found)
    assert hits / finds == pytest.approx(right, abs=TOLERANCE)
    said_so = re.findall(rf"{vocabulary} (\d+) %", notes_module.__doc__)
    assert said_so == [f"{100 * covered:.0f}", f"{100 * right:.0f}"], "the docstring's numbers"


def test_every_type_s_vocabulary_is_partial_but_worth_having(hospital, notes):
    for kind in TYPES:
        known = {name.casefold() for name in names_in(hospital, kind)}
        mentions = [text.casefold() for note in notes for text in texts(note, kind)]
        assert 0.5 < sum(text in known for text in mentions) / len(mentions) < 0.85


@pytest.mark.parametrize(
    ("name", "trap"),
    [
        ("MS", "MS: alert and oriented"),
        ("RA", "% on RA."),
        ("MI", "Detroit, MI."),
        ("CAD", "the CAD program"),
        ("ALL", "TAKE ALL PILLS"),
        ("cold", "The weather was cold"),
        ("heart failure", "the heart failure clinic"),
        ("albumin", "Albumin 3"),
        ("vancomycin", "vancomycin-resistant"),
        ("heparin", "Heparinized saline"),
        ("fall", "in the fall"),
        ("cough", "Cough and deep breathing"),
    ],
)
def test_an_ambiguous_name_is_an_entity_here_and_none_there(notes, name, trap):
    """The hand-picked place is in some note, no mention is in it, and the name is an entity elsewhere."""
    places = 0
    for note in notes:
        on_one_line = note["text"].replace("\n", " ")
        for match in re.finditer(re.escape(trap), on_one_line):
            places += 1
            assert not any(m["start"] < match.end() and match.start() < m["end"] for m in note["mentions"])
    assert places > 5
    assert any(text.casefold() == name.casefold() for note in notes for kind in TYPES for text in texts(note, kind))


def test_denied_and_family_findings_are_gold(notes):
    denied = family = 0
    for note in notes:
        starts = {m["start"] for m in note["mentions"]}
        on_one_line = note["text"].replace("\n", " ")
        denied_at = [match.end() for match in re.finditer(r"denies ", on_one_line)]
        family_at = [match.end() for match in re.finditer(r"Family history: father with ", on_one_line)]
        assert starts.issuperset(denied_at + family_at)
        denied, family = denied + len(denied_at), family + len(family_at)
    assert denied > 50 and family > 10


# --- names ------------------------------------------------------------------------------------------------------------


def test_the_catalogues_hold_together():
    """Every phenotype has names, every drug too, and a name is of one type and in one concept."""
    assert DISEASES.keys() == SYMPTOMS_OF.keys() == {p.name for p in PHENOTYPES}
    assert {symptom for symptoms in SYMPTOMS_OF.values() for symptom in symptoms} <= SYMPTOMS.keys()
    drugs = {drug for p in PHENOTYPES for drug, _ in p.effective} | {p.decoy for p in PHENOTYPES}
    assert drugs | {drug for drug, _ in OTHER_DRUGS} <= MEDICATIONS.keys()
    concepts = [names for kinds in DISEASES.values() for names in kinds]
    concepts += [
        *(names for _, names in OTHER_DISEASES),
        *SYMPTOMS.values(),
        *(names for _, names in MEDICATIONS.values()),
    ]
    counts = Counter(without_mark(name).casefold() for names in concepts for name in names)
    assert max(counts.values()) == 1, [name for name, num in counts.items() if num > 1]
    with_gaps = [name for names in concepts for name in names if "{" in name]
    assert with_gaps and all(name[0] == "-" for name in with_gaps), "a vocabulary has no gaps"


def test_marks_say_which_list_holds_a_name():
    concepts = [("heart failure", "=CHF", "+HF", "-weak heart"), ("-afib",), ("+MI", "heart attack")]
    assert held_by(concepts, " =") == [["heart failure", "CHF"], ["heart attack"]]
    assert held_by(concepts, "+=") == [["CHF", "HF"], ["MI"]]
    assert set(MARKS) == {"+", "=", "-"}


# --- text -------------------------------------------------------------------------------------------------------------


@given(st.lists(st.text(max_size=8) | st.builds(Named, st.sampled_from(TYPES), st.text(min_size=1, max_size=8))))
def test_every_place_is_where_the_piece_is(pieces):
    text, mentions = assemble(pieces)
    named = [piece for piece in pieces if isinstance(piece, Named)]
    assert [Named(kind, text[start:end]) for start, end, kind in mentions] == named
    assert text == "".join(piece.text if isinstance(piece, Named) else piece for piece in pieces)


@given(st.text("ab \n", max_size=300) | st.lists(st.text("abc", min_size=1, max_size=90)).map(" ".join))
def test_breaking_lines_moves_no_character_and_leaves_no_long_line(text):
    result = broken(text)
    assert len(result) == len(text)
    assert all(new == old or (old, new) == (" ", "\n") for old, new in zip(text, result, strict=True))
    for line in result.split("\n"):
        assert len(line) <= notes_module.COLUMNS or " " not in line[1 : notes_module.COLUMNS + 1]


@given(st.sampled_from(["congestive heart failure", "DM2", "Lasix", "shortness of breath", "HFpEF"]), st.randoms())
def test_a_misspelled_name_is_one_letter_off_and_a_short_one_stays(name, rng):
    wrong = misspelled(name, rng)
    if name in ("DM2", "Lasix", "HFpEF"):
        assert wrong == name
    letters, others = Counter(name), Counter(wrong)
    assert sum(((letters - others) + (others - letters)).values()) <= 1
    assert abs(len(wrong) - len(name)) <= 1
    assert wrong[0] == name[0] and wrong.count(" ") == name.count(" ")
