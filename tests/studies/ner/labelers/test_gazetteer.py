"""The ontology labeler on sentences that a clinician can check, and against a matcher that is obviously right."""

import re
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckd_dist.config import values_of
from ckd_dist.notes.note import Note
from ckd_dist.studies.ner.config import Ontology
from ckd_dist.studies.ner.labelers import negation
from ckd_dist.studies.ner.labelers.gazetteer import DictionaryOptions, Gazetteer, stop_list
from ckd_dist.studies.ner.labelers.spelling import folded
from ckd_dist.studies.ner.labelers.vocabularies import Vocabulary

DISEASES = (
    "asthma",
    "lung cancer",
    "cancer",
    "non-small cell lung carcinoma",
    "carcinoma",
    "aortic valve stenosis",
    "peripheral neuropathy",
    "Crohn's disease",
    "Graves' disease",
    "Sjögren's syndrome",
    "haemorrhage",
    "kidney disease",
    "pneumonia",
    "St. Louis encephalitis",
    "diabetes mellitus, type 2",
    "ALL",
    "AIDS",
    "MS",
    "VSD",
    "HoFH",
    "CANDLE",
    "syndrome",
    "best disease",
)
SYMPTOMS = ("pain", "chest pain", "asthma", "fever", "tumor", "gas", "blood pressure")
DRUGS = ("aspirin", "Water", "calcium", "calcium carbonate", "kidney", "CO", "Iron")
VOCABULARIES = [Vocabulary("disease", DISEASES), Vocabulary("symptom", SYMPTOMS), Vocabulary("medication", DRUGS)]
SENTENCE_ENDS = ".?!"


def note_of(text, words=r"\w+|[^\w\s]"):
    """A note whose words are found by a pattern; a sentence ends at . ? ! before white space."""
    places = [match.span() for match in re.finditer(words, text)]
    start_U, end_U = (np.array([place[side] for place in places], np.int32) for side in (0, 1))
    ends_U = [text[end - 1] in SENTENCE_ENDS and text[end : end + 1].isspace() for end in end_U]
    return Note(text, start_U, end_U, np.cumsum([0, *ends_U[:-1]]).astype(np.int32))


def labeler(vocabularies=VOCABULARIES, **changes):
    return Gazetteer(values_of(Ontology(**changes), DictionaryOptions), vocabularies)


def mentions(text, gazetteer=None, **changes):
    """What is found in a text, as "text/type"."""
    (found,) = (gazetteer or labeler(**changes))([note_of(text)]).predictions
    return [f"{text[m.start : m.end]}/{m.type}" for m, _ in found]


def texts(text, **changes):
    return [mention.rpartition("/")[0] for mention in mentions(text, **changes)]


# --- which match stays ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("Lung cancer, and cancer elsewhere.", ["Lung cancer", "cancer"]),  # the longest, not both
        ("chest pain, then pain", ["chest pain", "pain"]),
        ("chronic kidney disease", ["kidney disease"]),  # not kidney
        ("She is short of asthmatic words; asthma.", ["asthma"]),  # a word of its own
        ("preasthma asthma1", []),
    ],
)
def test_the_longest_name_is_found(text, want):
    assert texts(text) == want


def test_of_equally_long_overlapping_names_the_leftmost_stays():
    gazetteer = labeler([Vocabulary("disease", ("lung skin", "skin nose", "nose lung"))])
    assert mentions("lung skin nose", gazetteer) == ["lung skin/disease"]
    assert mentions("skin nose lung skin", gazetteer) == ["skin nose/disease", "lung skin/disease"]


def test_the_longer_of_two_overlapping_names_stays_though_it_begins_later():
    gazetteer = labeler([Vocabulary("disease", ("acute renal",)), Vocabulary("symptom", ("renal colic pain",))])
    done = gazetteer([note_of("acute renal colic pain")])
    assert [m.type for m, _ in done.predictions[0]] == ["symptom"] and done.counts["overlapped"] == 1


def test_a_place_that_two_types_claim_goes_to_the_first_vocabulary_and_is_counted():
    first = labeler()([note_of("Asthma and fever.")])
    assert [m.type for m, _ in first.predictions[0]] == ["disease", "symptom"] and first.counts["ties"] == 1
    last = labeler(VOCABULARIES[::-1])([note_of("Asthma and fever.")])
    assert [m.type for m, _ in last.predictions[0]] == ["symptom", "symptom"] and last.counts["ties"] == 1


def test_a_tie_between_a_name_in_any_case_and_one_as_written_is_counted_too():
    gazetteer = labeler([Vocabulary("symptom", ("flu",)), Vocabulary("disease", ("FLU",))])
    assert gazetteer([note_of("FLU")]).counts["ties"] == 1
    assert mentions("FLU or flu", gazetteer) == ["FLU/symptom", "flu/symptom"]


# --- how a name may be written ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("carcinomas or carcinomata", ["carcinomas", "carcinomata"]),
        ("aortic valve stenoses", ["aortic valve stenoses"]),
        ("peripheral neuropathies", ["peripheral neuropathies"]),
        ("kidney diseases", ["kidney diseases"]),
        ("Crohn disease, Crohn’s disease", ["Crohn disease", "Crohn’s disease"]),
        ("Graves disease, Grave's disease", ["Graves disease", "Grave's disease"]),
        ("the asthma's severity", ["asthma"]),
        ("Sjogren syndrome, SJÖGREN'S SYNDROME", ["Sjogren syndrome", "SJÖGREN'S SYNDROME"]),
        ("non small cell lung carcinoma", ["non small cell lung carcinoma"]),
        ("non - small - cell lung\ncarcinoma", ["non - small - cell lung\ncarcinoma"]),
        ("tumour, tumors", ["tumour", "tumors"]),
        ("hemorrhages", ["hemorrhages"]),
        ("St Louis encephalitis", ["St Louis encephalitis"]),
        ("diabetes mellitus type 2", ["diabetes mellitus type 2"]),
        ("two VSDs", ["VSDs"]),
        ("Streptococcus pneumoniae", []),  # a germ, not pneumonias
        ("lung\n\ncancer", ["cancer"]),  # a paragraph ends
        ("lung, cancer", ["cancer"]),  # a list of two
        ("lung. Cancer", ["Cancer"]),
    ],
)
def test_inflections_are_found(text, want):
    assert texts(text) == want


def test_without_inflections_only_case_and_white_space_may_differ():
    assert texts("carcinomas, Crohn disease, tumour, hemorrhage, VSDs, Sjogren's syndrome", inflections=False) == [
        "Sjogren's syndrome"
    ]
    assert texts("CARCINOMA  lung\ncancer, Crohn's Disease", inflections=False) == [
        "CARCINOMA",
        "lung\ncancer",
        "Crohn's Disease",
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *(("stenosis", "stenoses"), ("metastasis", "metastases"), ("crisis", "crises"), ("disease", "diseases")),
        *(("mass", "masses"), ("virus", "viruses"), ("thrombus", "thrombi"), ("diverticulum", "diverticula")),
        *(("vertebra", "vertebrae"), ("arthritis", "arthritides"), ("biopsy", "biopsies"), ("nose", "noses")),
        *(("edema", "oedema"), ("leukemias", "leukaemia"), ("localized", "localised"), ("fiber", "fibres")),
        *(("behavioral", "behavioural"), ("bruise", "bruises"), ("toe", "toes"), ("diarrhoea", "diarrhea")),
    ],
)
def test_variants_of_a_word_share_a_form(one, other):
    assert folded(one, True) == folded(other, True)
    assert folded(one, False) != folded(other, False)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *(("pneumonia", "pneumoniae"), ("typhus", "typhi"), ("ileum", "ilium"), ("virus", "vira")),
        *(("mast", "mass"), ("hypertension", "hypotension"), ("hour", "whore"), ("anemia", "anomia")),
        *(("colitis", "coleitis"), ("apnea", "apneic"), ("iodine", "iodide"), ("nitrite", "nitrate")),
    ],
)
def test_other_words_keep_another_form(one, other):
    assert folded(one, True) != folded(other, True)


# --- case and the stop-list -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("ALL in remission, all is well, All.", ["ALL"]),
        ("AIDS; hearing aids", ["AIDS"]),
        ("MS is not ms", ["MS"]),
        ("HoFH hofh HOFH", ["HoFH"]),
        ("CANDLE by candle light", ["CANDLE"]),
        ("ASTHMA Asthma asthma", ["ASTHMA", "Asthma", "asthma"]),
    ],
)
def test_abbreviations_are_found_only_as_written(text, want):
    assert texts(text) == want


def test_names_with_too_few_letters_are_found_only_as_written():
    gazetteer = labeler([Vocabulary("disease", ("flu", "Pox"))], min_letters=4)
    assert mentions("flu Flu FLU pox Pox", gazetteer) == ["flu/disease", "Pox/disease"]
    assert len(mentions("flu Flu FLU pox Pox", labeler([Vocabulary("disease", ("flu", "Pox"))]))) == 5


@pytest.mark.parametrize(
    "text", ["a syndrome", "best diseases", "Gas", "blood pressure 120/80", "waters", "CO 5 l/min"]
)
def test_what_the_stop_list_names_is_not_found(text):
    assert texts(text) == []


def test_the_stop_list_stops_whole_names_only():
    assert texts("calcium 2.3, on calcium carbonate") == ["calcium carbonate"]


def test_the_stop_list_says_nothing_twice():
    lines = files("ckd_dist.studies.ner.labelers").joinpath("stop_list.txt").read_text("utf-8").splitlines()
    names = [name for line in lines if (name := line.partition("#")[0].strip())]
    in_any_case, as_written = stop_list()
    assert len(as_written) == len(names) and len(in_any_case) == sum(name.islower() for name in names) > 100


# --- short forms that a note defines ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("LC is lung cancer (LC); two LCs, LCx.", ["LC", "lung cancer", "LC", "LCs"]),
        ("lung cancers (LCs): LC", ["lung cancers", "LCs", "LC"]),
        ("Kidney disease [KD, of old]. KD!", ["Kidney disease", "KD", "KD"]),
        ("lung cancer (see below), see", ["lung cancer"]),  # no capital
        ("lung cancer (XR); XR", ["lung cancer"]),  # other letters
        ("lung cancer (UC); UC", ["lung cancer"]),  # its first letter begins no word
        ("lung cancer of a man (LC); LC", ["lung cancer"]),  # not right behind it
        ("lung cancer (LC) and lc", ["lung cancer", "LC"]),  # as written
    ],
)
def test_short_forms_that_the_note_defines_are_found(text, want):
    assert texts(text) == want
    assert [mention for mention in texts(text, inflections=False) if mention[0] in "LK" and len(mention) < 4] == []


def test_a_short_form_is_of_its_mention_s_type_is_counted_and_known_in_its_note_alone():
    done = labeler()([note_of("chest pain (CP), no CP"), note_of("CP")])
    assert [m.type for m, _ in done.predictions[0]] == ["symptom"] * 3 and done.predictions[1] == []
    assert done.counts["short_forms"] == 2


def test_a_short_form_that_is_a_name_itself_is_found_once():
    gazetteer = labeler([Vocabulary("disease", ("acute lymphoid leukemia", "ALL"))])
    done = gazetteer([note_of("Acute lymphoid leukemia (ALL). ALL again.")])
    assert len(done.predictions[0]) == 3 and done.counts["short_forms"] == 0


def test_a_denied_short_form_is_left_out():
    assert texts("Chest pain (CP) at noon. No CP now.", skip_negated=True) == ["Chest pain", "CP"]


# --- places -----------------------------------------------------------------------------------------------------------


def test_offsets_are_exact_in_text_that_is_not_ascii():
    text = "Größe 1,80 m – „Asthma“ 😷 und Sjo\u0308gren's syndrome, ﬁebre; İ asthma"
    assert texts(text) == ["Asthma", "Sjo\u0308gren's syndrome", "asthma"]


def test_a_mention_begins_and_ends_with_a_word_of_the_note():
    text = "asthma/fever lung-cancer"
    assert texts(text) == ["asthma", "fever", "lung-cancer"]
    (found,) = labeler()([note_of(text, words=r"\S+")]).predictions  # this note's words are coarser
    assert [text[m.start : m.end] for m, _ in found] == ["lung-cancer"]


def test_counts_are_of_all_notes_and_confidence_is_as_set():
    done = labeler(confidence=0.75)([note_of("Asthma."), note_of(""), note_of("no pain")])
    assert [[confidence for _, confidence in found] for found in done.predictions] == [[0.75], [], [0.75]]
    assert done.counts == {
        "notes": 3,
        "words": 4,
        "mentions": 2,
        "overlapped": 0,
        "ties": 1,
        "short_forms": 0,
        "denied": 0,
    }


def test_vocabularies_may_share_a_type_and_may_be_absent():
    gazetteer = labeler([Vocabulary("disease", ("asthma",)), Vocabulary("disease", ("cancer", "asthma"))])
    assert mentions("asthma cancer", gazetteer) == ["asthma/disease", "cancer/disease"]
    assert labeler([])([note_of("asthma")]).predictions == [[]]


# --- against a naive matcher ------------------------------------------------------------------------------------------

WORDS = ("ab", "bc", "abc", "Ab", "BC")
NAMES = st.lists(st.lists(st.sampled_from(WORDS[:3]), min_size=1, max_size=3).map(" ".join), max_size=8)
TEXT = st.lists(st.sampled_from([*WORDS, ","]), max_size=14)


def naive(words, types):
    """Every run of words that is a name, longest first, then leftmost, unless it shares a word with one before.

    types: name -> type, in order.  Returns (first word, one past the last, type).
    """
    found = [
        (first, last, kind)
        for first in range(len(words))
        for last in range(first + 1, len(words) + 1)
        for name, kind in [(" ".join(words[first:last]).lower(), types.get(" ".join(words[first:last]).lower()))]
        if kind
    ]
    offset = np.cumsum([0, *(len(word) + 1 for word in words)])
    found.sort(key=lambda match: (offset[match[0]] - offset[match[1]], match[0]))
    kept = []
    for match in found:
        if all(match[1] <= first or last <= match[0] for first, last, _ in kept):
            kept.append(match)
    return sorted((int(offset[first]), int(offset[last]) - 1, kind) for first, last, kind in kept)


@settings(max_examples=300, deadline=None)
@given(NAMES, NAMES, TEXT)
def test_equals_a_naive_matcher(diseases, symptoms, words):
    types = {name: "symptom" for name in symptoms} | {name: "disease" for name in diseases}
    gazetteer = labeler(
        [Vocabulary("disease", tuple(diseases)), Vocabulary("symptom", tuple(symptoms))],
        inflections=False,
        min_letters=1,
    )
    (found,) = gazetteer([note_of(" ".join(words), words=r"\S+")]).predictions
    assert [tuple(mention) for mention, _ in found] == naive(words, types)


@settings(deadline=None)
@given(NAMES, TEXT)
def test_found_in_many_notes_at_once_as_in_each(names, words):
    gazetteer = labeler([Vocabulary("disease", tuple(names))])
    notes = [note_of(" ".join(words[:cut])) for cut in range(len(words))]
    assert gazetteer(notes).predictions == [gazetteer([note]).predictions[0] for note in notes]


# --- negation ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("No fever, pain or asthma. Cancer.", ["Cancer"]),
        ("Denies chest pain but has asthma.", ["asthma"]),
        ("There is no evidence of cancer.", []),
        ("Negative for fever; pain in the chest.", []),  # as NegEx: to the end of the sentence
        ("Cancer was ruled out; however, asthma.", ["asthma"]),
        ("Asthma, but pneumonia is unlikely.", ["Asthma"]),
        ("Fever. Not today.", ["Fever"]),  # another sentence
        ("No change in pain.", ["pain"]),  # a denial of the change
        ("Not only fever but pain.", ["fever", "pain"]),
        ("Gram negative pneumonia.", ["pneumonia"]),
        ("NO  SIGNS\nOF cancer", []),
        ("Nodules, cannot exclude cancer.", ["cancer"]),
        ("Asthma without fever.", ["Asthma"]),
        ("No fever except pain.", ["pain"]),
        ("Fever and pain today; then all three blood cultures were negative.", ["Fever", "pain"]),  # too far before
        ("Fever today and cultures negative.", []),
        ("With or without pain.", ["pain"]),
    ],
)
def test_what_a_sentence_denies_is_left_out_on_demand(text, want):
    assert texts(text, skip_negated=True) == want


def test_denied_mentions_are_counted_and_stay_unless_asked_for():
    text = note_of("No fever, no pain. Asthma.")
    assert labeler(skip_negated=True)([text]).counts["denied"] == 2
    assert len(labeler()([text]).predictions[0]) == 3


def test_a_trigger_within_a_mention_denies_nothing():
    gazetteer = labeler([Vocabulary("disease", ("absence of kidney", "asthma"))], skip_negated=True)
    assert mentions("Absence of kidney and asthma.", gazetteer) == ["Absence of kidney/disease", "asthma/disease"]


def test_every_trigger_is_of_one_kind():
    listed = [term for terms in negation.TRIGGERS.values() for term in terms.split("|")]
    assert len(listed) == len(set(listed)) == len(negation.KINDS)


# --- fingerprint ------------------------------------------------------------------------------------------------------

BASE = values_of(Ontology(), DictionaryOptions)


@pytest.mark.parametrize(
    "change",
    [
        {"inflections": False},
        {"skip_negated": True},
        {"min_letters": 5},
        {"confidence": 0.8},
    ],
)
def test_the_fingerprint_changes_with_a_setting_that_decides_what_is_found(change):
    assert labeler().fingerprint != Gazetteer(replace(BASE, **change), VOCABULARIES).fingerprint


def test_the_fingerprint_changes_with_names_their_type_and_which_type_wins():
    prints = [
        labeler([Vocabulary("disease", ("asthma",)), Vocabulary("symptom", ("pain",))]),
        labeler([Vocabulary("disease", ("asthma", "croup")), Vocabulary("symptom", ("pain",))]),
        labeler([Vocabulary("disease", ("asthma",)), Vocabulary("symptom", ("pains and aches",))]),
        labeler([Vocabulary("symptom", ("asthma",)), Vocabulary("disease", ("pain",))]),
        labeler([Vocabulary("symptom", ("pain",)), Vocabulary("disease", ("asthma",))]),
    ]
    assert len({gazetteer.fingerprint for gazetteer in prints}) == len(prints)


def test_the_fingerprint_stays_with_what_decides_nothing():
    one = labeler([Vocabulary("disease", ("asthma", "tumor", "lung cancer"))])
    renamed = replace(BASE, name="another", vocabularies=("disease=tsv:/elsewhere",))
    first, second = ("lung cancer", "syndrome"), ("tumours", "asthma", "Asthma")
    other = Gazetteer(renamed, [Vocabulary("disease", first), Vocabulary("disease", second)])
    assert one.fingerprint == other.fingerprint and re.fullmatch("[0-9a-f]{64}", one.fingerprint)
    assert (one.name, other.name) == ("ontology", "another")
