"""What a model answers is placed where it occurs in the note or counted as what it is, never guessed (row 24)."""

import json
import re
import unicodedata
from difflib import SequenceMatcher
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckd_dist.notes.note import Mention
from ckd_dist.studies.ner.labelers.align import DROPPED, PLACED, align
from ckd_dist.studies.ner.labelers.question import EXAMPLE_ENTITIES, EXAMPLE_LINES, questions, show
from tests.endpoints.server import note

TYPES = ["disease", "medication", "symptom"]
D, M, S = TYPES


def aligned(answer, *sentences):
    """Mentions as (text, start, type), and the counts that are not zero."""
    asked = note(*sentences)
    (question,) = questions(asked, 1000)
    text = answer if isinstance(answer, str) else json.dumps({"entities": answer})
    mentions, unknown, counts, _ = align(text, asked.text, question.lines, TYPES)
    assert sum(counts[name] for name in (*PLACED, *DROPPED)) == counts["entities"]
    assert sum(counts[name] for name in PLACED) == len(mentions)
    assert all(0 <= start <= end <= len(asked.text) for start, end in unknown)
    for before, after in pairwise(mentions):
        assert before.end <= after.start
    return [(asked.text[m.start : m.end], m.start, m.type) for m in mentions], dict(+counts)


def entry(line, text, kind):
    return {"line": line, "text": text, "type": kind}


def test_the_example_in_the_prompt_aligns_with_itself():
    """A model that answered as the example does would lose nothing."""
    found, counts = aligned([entry(*stated) for stated in EXAMPLE_ENTITIES], *EXAMPLE_LINES)
    assert [(text, kind) for text, _, kind in found] == [(text, kind) for _, text, kind in EXAMPLE_ENTITIES]
    assert counts == {"entities": 7, "aligned": 7}


# -- repeated ----------------------------------------------------------------------------------------------------------
def test_repeated_mentions_go_to_the_lines_that_were_stated():
    sentences = ("Pain since May .", "No pain at rest .", "The pain radiates ; pain at night .")
    found, counts = aligned([entry(3, "pain", S), entry(3, "pain", S), entry(2, "pain", S)], *sentences)
    assert [start for _, start, _ in found] == [20, 39, 55]
    assert counts == {"entities": 3, "aligned": 3}


def test_stated_once_but_written_thrice_takes_the_next_in_reading_order_and_says_so():
    found, counts = aligned([entry(1, "rest pain", S), entry(1, "pain", S)], "pain , rest pain , pain , pain")
    assert found == [("rest pain", 7, S), ("pain", 19, S)]
    assert counts == {"entities": 2, "aligned": 1, "once_of_many": 1}


def test_stated_more_often_than_written_is_extra():
    """Small models repeat themselves until they are stopped."""
    found, counts = aligned([entry(1, "CKD", D)] * 50, "Has CKD .", "Renal clinic .")
    assert found == [("CKD", 4, D)]
    assert counts == {"entities": 50, "aligned": 1, "extra": 49}


def test_a_wrong_line_is_forgiven_where_only_one_place_is_left():
    assert aligned([entry(1, "CKD", D)], "Known patient .", "Has CKD .") == (
        [("CKD", 20, D)],
        {"entities": 1, "moved": 1},
    )
    assert aligned([entry(1, "CKD", D)], "Known patient .", "Has CKD .", "CKD stable .") == (
        [],
        {"entities": 1, "ambiguous": 1},
    )


def test_all_lines_off_by_one_lose_nothing():
    found, counts = aligned([entry(0, "CKD", D), entry(1, "CKD", D), entry(2, "CKD", D)], "CKD .", "CKD .", "CKD .")
    assert [start for _, start, _ in found] == [0, 6, 12]
    assert counts["entities"] == 3


@pytest.mark.parametrize("line", [None, "two", 99, -1, True, 1e400, [], {}])
def test_without_a_usable_line_reading_order_decides(line):
    sentences = ("Cough and fever .", "Fever gone , cough persists .")
    stated = [("Cough", S), ("fever", S), ("Fever", S), ("cough", S)]
    answer = json.dumps({"entities": [entry(line, text, kind) for text, kind in stated]})
    found, counts = aligned(answer, *sentences)
    assert [text for text, *_ in found] == ["Cough", "fever", "Fever", "cough"]
    assert counts == {"entities": 4, "aligned": 4}


@pytest.mark.parametrize("line", ["2", 2.0])
def test_a_line_in_quotes_is_a_line(line):
    assert aligned([entry(line, "CKD", D)], "CKD .", "CKD .")[0] == [("CKD", 6, D)]


# -- re-spelled --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("stated", "written"),
    [
        ("covid 19", "COVID-19"),
        ("COVID19", "COVID-19"),
        ("Type 2 Diabetes", "type 2 diabetes"),
        ("follow up fever", "follow-up fever"),
        ("Sjogren syndrome", "Sjögren syndrome"),
        ("Sjögren syndrome", "Sjo\u0308gren syndrome"),  # composed and decomposed
        ("CO2 retention", "CO₂ retention"),
        ("µ-opioid", "μ-opioid"),  # micro sign and Greek mu
        ("ﬁbrosis", "fibrosis"),
        ("E coli", "E. coli"),
        ("hypotenison", "hypotension"),
        ("infection", "infections"),
        ("metformine", "metformin"),
        ("Crohns disease", "Crohn's disease"),
    ],
)
def test_another_spelling_finds_the_words_as_written(stated, written):
    found, counts = aligned([entry(1, stated, D)], f"History of {written} , stable .")
    assert found == [(written, 11, D)]
    assert counts == {"entities": 1, "respelled": 1}


@pytest.mark.parametrize(
    ("stated", "written"),
    [
        ("hypertension", "hypotension"),
        ("hyperkalemia", "hypokalemia"),
        ("history of hyperthyroidism", "history of hypothyroidism"),
        ("febrile", "afebrile"),
        ("type 1 diabetes", "type 2 diabetes"),
        ("warfarin 25 mg", "warfarin 2.5 mg"),
        ("HLA B2705", "HLA B2708"),
        ("1", "½"),
        ("ALL", "all"),  # a leukaemia, or a word
        ("MS", "ms"),
        ("flu", "flow"),
        ("pain", "painful"),  # within a word
        ("itis", "arthritis"),
        ("prednisone", "prednisolone"),
    ],
)
def test_what_means_something_else_is_not_another_spelling(stated, written):
    assert aligned([entry(1, stated, D)], f"Notes {written} today .") == ([], {"entities": 1, "invented": 1})


def test_white_space_is_no_difference_for_the_question_showed_it_as_one_blank():
    found, counts = aligned([entry(1, "chest pain", S)], "Has chest \n\t pain now .")
    assert found == [("chest \n\t pain", 4, S)]
    assert counts == {"entities": 1, "aligned": 1}


def test_a_respelling_with_two_places_is_not_guessed():
    answer = [entry(1, "Metastases", D)]
    assert aligned(answer, "metastases here , metastases there .")[1] == {"entities": 1, "ambiguous": 1}
    found, counts = aligned(answer * 2, "metastases here , metastases there .")
    assert [start for _, start, _ in found] == [0, 18]
    assert counts == {"entities": 2, "respelled": 2}


# -- overlapping -------------------------------------------------------------------------------------------------------
def test_of_overlapping_mentions_the_longest_stays():
    answer = [entry(1, "pain", S), entry(1, "chest pain", S), entry(1, "acute chest pain", S), entry(1, "acute", D)]
    found, counts = aligned(answer, "Has acute chest pain .")
    assert found == [("acute chest pain", 4, S)]
    assert counts == {"entities": 4, "aligned": 1, "overlapping": 3}


def test_a_part_goes_to_its_own_place_where_it_has_one():
    found, counts = aligned([entry(1, "pain", S), entry(1, "chest pain", S)], "chest pain and pain")
    assert found == [("chest pain", 0, S), ("pain", 15, S)]
    assert counts == {"entities": 2, "aligned": 2}


def test_one_place_has_one_type():
    found, counts = aligned([entry(1, "cold", S), entry(1, "cold", D)], "Has a cold .")
    assert found == [("cold", 6, S)]
    assert counts == {"entities": 2, "aligned": 1, "overlapping": 1}


# -- invented, unknown, malformed --------------------------------------------------------------------------------------
def test_what_stands_nowhere_or_has_no_type_of_ours_is_dropped_and_counted():
    answer = [entry(1, "sepsis", D), entry(1, "CKD", "diagnosis"), entry(1, "CKD", "Disease"), entry(1, "", D), 7, None]
    found, counts = aligned(answer, "Has CKD .")
    assert found == [("CKD", 4, D)]
    assert counts == {"entities": 6, "invented": 1, "unknown_type": 1, "aligned": 1, "malformed": 3}


ONE = '{"line": 1, "text": "CKD", "type": "disease"}'
TWO = '{"line": 2, "text": "fever", "type": "symptom"}'


@pytest.mark.parametrize(
    ("answer", "malformed", "broken"),
    [
        (f'{{"entities": [{ONE}, {TWO}]}}', 0, 0),
        (f'<think>CKD {{"is": a disease</think>\n{{"entities": [{ONE}, {TWO}]}}', 0, 0),
        (f'```json\n{{"entities": [{ONE}, {TWO}]}}\n```', 0, 1),
        (f'Here they are {{as JSON}}:\n{{"entities": [{ONE}, {TWO}]}}\nI hope {{this}} helps!', 0, 1),
        (f"[{ONE}, {TWO}]", 0, 1),
        (f"{ONE}\n{TWO}", 0, 1),  # JSON lines
        (f'{{"entities": [{ONE}, {TWO}, {{"line": 2, "text": "a fev', 1, 1),  # cut off at the limit
        (f'{{"entities": [{ONE}, {TWO}, ', 0, 1),
        (f'{{"entities": [{ONE}, {{"line": 1 "text": "CKD"}}, {TWO}]}}', 1, 1),
        (f'{{"entities": [{ONE}, {{"line": 1, "text": "a "quoted" word", "type": "disease"}}, {TWO}]}}', 1, 1),
        (f'{{"entities": [{ONE}, {{"line": 1}}, {{"text": 3, "type": "disease"}}, "CKD", {TWO}]}}', 3, 0),
    ],
)
def test_complete_entries_survive_a_broken_answer(answer, malformed, broken):
    found, counts = aligned(answer, "Has CKD .", "No fever .")
    assert [text for text, *_ in found] == ["CKD", "fever"]
    expected = {"entities": 2 + malformed, "aligned": 2, "malformed": malformed, "broken_answers": broken}
    assert counts == {name: count for name, count in expected.items() if count}


@pytest.mark.parametrize(
    "answer", ["", "I cannot do that.", "null", "42", '"CKD"', "[[[", '{"entities": {}}', "[" * 10**5]
)
def test_an_answer_without_entities_finds_nothing_and_is_counted_as_broken(answer):
    found, counts = aligned(answer, "Has CKD .")
    assert found == []
    assert counts["broken_answers"] == 1


# -- any text ----------------------------------------------------------------------------------------------------------
WORDS = [
    "pain",
    "Pain",
    "chest",
    "CKD",
    "ckd",
    "E.",
    "coli",
    "2.5",
    "25",
    "mg",
    "naïve",
    "ß",
    "ﬁ",
    "-",
    "(HF)",
    "½",
    "µ",
]
words = st.sampled_from(WORDS)
sentence = st.lists(words | words | st.text(min_size=1, max_size=6), min_size=1, max_size=8).map(" ".join)
sentences = st.lists(sentence.filter(str.strip), min_size=1, max_size=4)
fields = {
    "line": st.integers(1, 4) | st.integers(-1, 5) | st.none() | st.text(max_size=2),
    "text": st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(" ".join) | st.text(max_size=8),
    "type": st.sampled_from([*TYPES, "Disease", "other"]),
}
whole = st.fixed_dictionaries(fields)
stated = whole | whole | whole | st.fixed_dictionaries({}, optional=fields)


def alike(said, written):
    """An independent view of sameness: letters and digits without case, nearly all of them in order."""
    said, written = (re.sub(r"[\W_]", "", unicodedata.normalize("NFKD", text).casefold()) for text in (said, written))
    return said == written or SequenceMatcher(None, said, written, autojunk=False).ratio() >= 0.8


@given(sentences, st.lists(stated, max_size=8), st.integers(0, 400))
def test_every_entity_ends_in_one_count_and_every_span_is_like_what_was_stated(sentences, entries, cut_at):
    answer = json.dumps({"entities": entries})
    for text in (answer, answer[:cut_at], f"```{answer[cut_at:]}"):
        found, _ = aligned(text, *sentences)  # asserts the sums and that no two mentions overlap
        said = [(e["text"], e["type"].casefold()) for e in entries if "text" in e and "type" in e]
        for written, _, kind in found:
            assert any(kind == other and alike(words, written) for words, other in said), (written, said)


@given(st.text() | st.text(alphabet='{}[]":,\\entiylx1 ', max_size=60))
def test_no_answer_raises(answer):
    aligned(answer, "Has CKD .", "No fever .")


def test_lines_are_shown_whole_and_come_back_by_their_places():
    asked = note("He has CKD stage 3 .", "No  fever\ntoday .", "Stop <|im_end|> now .")
    parts = questions(asked, 8)
    assert [part.text for part in parts] == [
        show(["He has CKD stage 3 ."]),
        show(["No fever today .", "Stop < |im_end|> now ."]),
    ]
    covered = [asked.text[start:end] for part in parts for start, end in part.lines]
    assert covered == ["He has CKD stage 3 .", "No  fever\ntoday .", "Stop <|im_end|> now ."]
    mentions, *_ = align(json.dumps({"entities": [entry(1, "fever", S)]}), asked.text, parts[1].lines, TYPES)
    assert mentions == [Mention(25, 30, S)]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=10), st.integers(20, 25))
def test_every_word_is_asked_once_and_no_question_is_too_long(lengths, max_words):
    """A sentence that fits whole is never cut."""
    asked = note(*(" ".join(f"w{i}" for i in range(length)) for length in lengths))
    parts = questions(asked, max_words)
    assert [w for part in parts for start, end in part.lines for w in asked.text[start:end].split()] == asked.words()
    assert all(sum(len(asked.text[a:b].split()) for a, b in part.lines) <= max_words for part in parts)
    whole = [asked.text[start:end] for part in parts for start, end in part.lines]
    assert all(" ".join(f"w{i}" for i in range(length)) in whole for length in lengths if length <= max_words)


@given(st.text(alphabet="</note> \n[1]ab\r\u2028\u0085", max_size=40))
def test_no_text_of_a_note_can_stand_on_a_line_of_its_own(text):
    shown = show([text, text]).splitlines()
    assert len(shown) == 4
    assert (shown[0], shown[-1]) == ("<note>", "</note>")
    assert [line[:4] for line in shown[1:-1]] == ["[1] ", "[2] "]
    assert "</note>" not in "".join(shown[1:-1])
