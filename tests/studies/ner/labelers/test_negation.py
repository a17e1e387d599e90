"""What sentences and checklists deny (notes_concepts N7, table 2.6), in notes as they are read."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckd_dist.config import values_of
from ckd_dist.notes.document import Document
from ckd_dist.notes.read import note_of
from ckd_dist.studies.ner.config import Ontology
from ckd_dist.studies.ner.labelers.gazetteer import DictionaryOptions, Gazetteer
from ckd_dist.studies.ner.labelers.vocabularies import Vocabulary

NAMES = (
    "fever",
    "cough",
    "chills",
    "rash",
    "chest pain",
    "pneumonia",
    "headache",
    "nausea",
    "blood transfusion",
    "asthma",
)
LABELER = Gazetteer(values_of(Ontology(skip_negated=True), DictionaryOptions), [Vocabulary("symptom", NAMES)])


def kept(text):
    """Return what is not denied, in small letters."""
    note = note_of(Document("a", text, None), {})
    return [text[m.start : m.end].lower() for m, _ in LABELER([note]).predictions[0]]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        # the table
        ("Fever: no, cough: yes", ["cough"]),
        ("Fever: No. Cough: yes.", ["cough"]),
        ("fever: none, cough: present", ["cough"]),
        ("Blood transfusion: No", []),
        ("ROS: fever - denies, cough + ", ["cough"]),
        ("No fever\nCough present", ["cough"]),
        ("fever (-), cough (+)", ["cough"]),
        ("w/o fever", []),
        ("Neg for fever", []),
        # right before
        ("No increase in chest pain.", ["chest pain"]),
        ("Pneumonia not ruled out.", ["pneumonia"]),
        ("No fever, chills, rash or cough.", []),
        ("No chest pain but has fever.", ["fever"]),
        ("no fever, however cough", ["cough"]),
        ("Headache resolved.", []),
        ("Denies: fever, chills.", []),
        # of the same kind
        ("[ ] fever [x] cough", ["cough"]),
        ("[x] cough [ ] fever, chills", ["cough"]),
        ("fever [ ] cough [x]", ["cough"]),
        ("Fever: [ ] Cough: [X]", ["cough"]),
        ("☐ fever ☑ cough ☒ rash", ["cough", "rash"]),
        ("(-) fever, chills, (+) cough", ["cough"]),
        ("cough (+), fever (-)", ["cough"]),
        ("fever: N, cough: Y", ["cough"]),
        ("fever (neg), cough (pos)", ["cough"]),
        ("fever - absent", []),
        ("fever – absent; cough – present", ["cough"]),
        ("Fever? No", []),
        ("Fever? No. Cough? Yes.", ["cough"]),
        ("Fever?  no  Cough?  yes", ["cough"]),
        ("ROS negative for fever, cough", []),
        ("Fever: no\nCough: yes\nRash: denies\n", ["cough"]),
        ("Fever:\nNo\nCough:\nYes", ["cough"]),
        ("Fever\tno\nCough\tyes", ["cough"]),
        ("Fever | no | Cough | yes", ["cough"]),
        ("Fever ... no\nCough ... yes", ["cough"]),
        ("**Fever:** no, **cough:** yes", ["cough"]),
        ("fever = false; cough = true", ["cough"]),
        ("fever: 0, cough: 1", ["cough"]),
        ("Fever: no cough: yes", ["cough"]),
        ("Fever absent, cough present", ["cough"]),
        ("cough positive, fever negative", ["cough"]),
        ("fever negative, cough positive", ["cough"]),
        ("Fever no, cough yes", ["cough"]),
        ("fever-, cough+", ["cough"]),
        ("fever -ve, cough +ve", ["cough"]),
        ("cough: yes, fever: not present", ["cough"]),
        ("Fever: none reported, cough: yes", ["cough"]),
        ("Nausea/chills: no, cough: yes", ["cough"]),
        ("Nausea, fever and chills: denies", []),
        ("Nausea and chills: no. Cough: yes.", ["cough"]),
        ("Fever at home: no, cough: yes", ["cough"]),
        ("Has cough, fever: no", ["cough"]),
        ("Positive: cough. Negative: fever, chills.", ["cough"]),
        ("Negative: fever, chills. Positive: cough.", ["cough"]),
        ("Negative: fever, chills; positive: cough", ["cough"]),
        ("Pertinent negatives: fever, chills.", []),
        ("neg fever, pos cough", ["cough"]),
        ("+cough, no fever", ["cough"]),
        ("without fever\nCough present", ["cough"]),
        ("Fever negative\nCough", ["cough"]),
        ("Cough present\nFever absent", ["cough"]),
        ("no fever\r\nCough", ["cough"]),
        ("+cough, -fever, -chills", ["cough"]),
        ("No fever, +cough", ["cough"]),
        ("( ) fever (x) cough", ["cough"]),
        ("Fever\n  No\nCough\n  Yes", ["cough"]),
        ("Fever,no\nCough,yes", ["cough"]),
        ("Fever;No\nCough;Yes", ["cough"]),
        ('"fever": false, "cough": true', ["cough"]),
        ("fever-no, cough-yes", ["cough"]),
        ("Fever (Y/N): N  Cough (Y/N): Y", ["cough"]),
        ("ROS (+) cough, rash (-) fever, chills", ["cough", "rash"]),
        ("Patient denies\nfever", []),
        # no answer: a heading, or a denial of what follows
        ("Cough: no fever.", ["cough"]),
        ("Cough - denies fever, chills.", ["cough"]),
        ("Pneumonia (no fever)", ["pneumonia"]),
        ("Asthma: no recent admissions.", ["asthma"]),
        ("Pneumonia - no antibiotics given.", ["pneumonia"]),
        ("Chest pain: not relieved by rest", ["chest pain"]),
        ("Fever: Yes/No", ["fever"]),
        ("Chest pain: 0/10", ["chest pain"]),
        ("ROS: no fever, cough", []),
        ("ROS: denies fever. Cough: yes", ["cough"]),
        ("Fever, cough.", ["fever", "cough"]),
        ("fever - cough - chills", ["fever", "cough", "chills"]),
        ("- fever\n- cough\n", ["fever", "cough"]),
        ("Cough, fever () and chills", ["cough", "fever", "chills"]),
        ("fever+, then -cough", ["fever", "cough"]),
        ("No fever present.", []),
        ("No fever or cough present", []),
        # remarks, other separators, tables on a page, signs on their own line; what is said to be there after a denial
        ("Fever: no (afebrile), cough: yes (dry)", ["cough"]),
        ("<td>fever</td><td>no</td><td>cough</td><td>yes</td>", ["cough"]),
        ("fever: does not have, cough: has", ["cough"]),
        ("No fever; cough present", ["cough"]),
        ("No fever, cough present", ["cough"]),
        ("No fever; has cough", ["cough"]),
        ("No fever; cough is present", ["cough"]),
        ("No fever; positive cough", ["cough"]),
        ("Denies fever; cough noted", ["cough"]),
        ("Fever: no (afebrile). Cough: yes (dry).", ["cough"]),
        ("Fever: no (per wife)\nCough: yes (dry)", ["cough"]),
        ("Fever: no per patient, cough: yes", ["cough"]),
        ("Fever: no since Monday, cough: yes", ["cough"]),
        ("Headache: no [denies], cough: yes", ["cough"]),
        ("Fever: no / Cough: yes", ["cough"]),
        ("Fever: no & cough: yes", ["cough"]),
        ("1. Fever: no 2. Cough: yes", ["cough"]),
        ("FEVER......NO COUGH......YES", ["cough"]),
        ("Fever: n/a, cough: yes", ["cough"]),
        ("fever: no evidence, cough: yes", ["cough"]),
        ("Fever: No history. Cough: yes", ["cough"]),
        ("Fever\n(-)\nCough\n(+)", ["cough"]),
        ("Fever ❌ Cough ✅", ["cough"]),
        ("Fever_no_ cough_yes_", ["cough"]),
        ("+ cough - fever", ["cough"]),
        ("Fever: not applicable", []),
        ("No fever; cough", []),
        ("No fever, cough or chills present", []),
        ("No fever, chills, or rash noted.", []),
        ("No fever, chills, cough noted", []),
        ("No fever, chills; cough present", ["cough"]),
        ("Fever: no (101 at home last week)", []),
        ("fever: has not, cough: has", ["cough"]),
        ("Pneumonia: no in-hospital complications", ["pneumonia"]),
        ("Asthma: never hospitalized", ["asthma"]),
        ("Asthma + cough - rash", ["asthma", "cough", "rash"]),
        ("Cough - no history\nof fever", ["cough"]),
        ("Cough - negative\nfor fever", ["cough"]),
        ("asthma - Na, K normal", ["asthma"]),
        ("Cough<br>No fever<br>", ["cough"]),
        ("[x]\nCough\n[ ]\nFever", ["cough"]),
        ("a) Fever: no b) Cough: yes", ["cough"]),
        ("Fever: no • Cough: yes", ["cough"]),
        # a wrapped line goes on
        ("The patient denies any recent episodes of fever,\nchills or cough.", []),
        ("The patient reports that there was no fever or\nCough.", []),
        ("The patient says that she has had no fever and\nno chills today, chest pain\nor cough.", []),
        ("There were no signs of\nfever", []),
    ],
)
def test_what_is_denied_is_left_out_and_nothing_else(text, wanted):
    assert kept(text) == wanted


STYLES = [  # an item denied, an item affirmed, what parts them
    ("{}: no", "{}: yes", ", "),
    ("{}: No", "{}: Yes", ". "),
    ("{}: none", "{}: present", "; "),
    ("{} - denies", "{} +", ", "),
    ("{} (-)", "{} (+)", ", "),
    ("[ ] {}", "[x] {}", " "),
    ("{} [ ]", "{} [x]", " "),
    ("{}: N", "{}: Y", ", "),
    ("{}: no", "{}: yes", "\n"),
    ("{}? No", "{}? Yes", ". "),
    ("{}\tno", "{}\tyes", "\n"),
    ("{}: negative", "{}: positive", ", "),
    ("{} (neg)", "{} (pos)", ", "),
    ("{} absent", "{} present", ", "),
    ("{} negative", "{} positive", "; "),
    ("no {}", "has {}", "\n"),
    ("No {}", "{} present", "\n"),
    ("☐ {}", "☒ {}", "  "),
    ("{} | no", "{} | yes", " | "),
    ("{}: no", "{}: yes", " "),
]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(STYLES), st.lists(st.sampled_from(NAMES), min_size=1, unique=True), st.randoms(), st.booleans())
def test_the_order_of_items_does_not_matter(style, names, random, capitals):
    denied, affirmed, part = style
    answers = [(name.capitalize() if capitals else name, random.random() < 0.5) for name in names]
    text = part.join((affirmed if yes else denied).format(name) for name, yes in answers)
    assert kept(text) == [name.lower() for name, yes in answers if yes], text


@pytest.mark.parametrize(
    "unit", ["_", ".", "fever: no (a), ", "no fever, cough present, ", "cough<td><td", "Fever\n(-)\n"]
)
def test_a_long_run_of_marks_is_read_at_once(unit):
    began = time.perf_counter()
    kept("fever " + unit * 2000)
    assert time.perf_counter() - began < 5
