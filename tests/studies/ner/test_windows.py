"""TESTS row 22: windows merge without loss, whatever the text, the tokenizer and the room.

The reference is a loop over every word and every token of the uncut text.
"""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from ckd_dist.config import Tiny
from ckd_dist.models.tiny import make_tiny_student, make_tiny_teacher
from ckd_dist.notes.note import Note
from ckd_dist.studies.ner import windows
from ckd_dist.studies.ner.windows import DTYPES, Windows, cut

SENTENCES = (
    "The patient denies chest pain.",
    "Started on metoprolol 25 mg p.o. daily.",
    "History of atrial fibrillation, hypertension and diabetes.",
    "Follow up with cardiology in 2 weeks.",
)
TINY = Tiny(hidden=8, layers=1, heads=2, vocabulary=400)


def note_of(parts: list[tuple[str, str, bool]]) -> Note:
    """word, what follows it, whether a sentence ends there"""
    text, start, end, sentence = "", [], [], []
    for number, (word, blank, _) in enumerate(parts):
        start.append(len(text))
        end.append(len(text) + len(word))
        sentence.append(sum(ends for _, _, ends in parts[:number]))
        text += word + blank
    return Note(text, *(np.array(values, np.int32) for values in (start, end, sentence)))


def words_of(table: Windows, i: int) -> slice:
    """Words of the split that window i owns: first_U[words_of(table, i)] are their places in table.row(i)."""
    return slice(*table.unit_offsets_W1[i : i + 2])


def plain(*sentences: str) -> Note:
    """Words at blanks, a line each sentence."""
    return note_of(
        [
            (word, "\n" if last else " ", last)
            for sentence in sentences
            for word, last in zip(sentence.split(), [False] * (len(sentence.split()) - 1) + [True], strict=True)
        ]
    )


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("models")
    make_tiny_student(folder / "bert", (), TINY, seed=0, public=SENTENCES)
    make_tiny_teacher(folder / "bpe", (), TINY, seed=0, public=SENTENCES)
    return {name: AutoTokenizer.from_pretrained(folder / name) for name in ("bert", "bpe")}


NAMES = st.sampled_from(["bert", "bpe"])
SPECIALS = {"bert": 2, "bpe": 0}
# Long ones, scripts that BERT splits, accents of their own, marks that BERT drops, template marks that must not work.
ODD = [
    "é",
    "e\u0301",
    "\u0301",
    "\u200b",
    "\x00",
    "日本",
    "😀",
    "[SEP]",
    "<|im_end|>",
    "x" * 40,
    "ﬁ",
    "İ",
    "½",
    "\ufffd",
]
word = st.sampled_from(" ".join(SENTENCES).split()) | st.sampled_from(ODD) | st.text("ab-.5é\u0323\u0301", min_size=1)
blank = st.sampled_from([" ", " ", " ", "", "\n", "\n\n", "\t", "   ", "\xa0"])
notes_of_any_kind = st.lists(st.lists(st.tuples(word, blank, st.booleans()), max_size=40).map(note_of), max_size=4)


def whole(tokenizer, note: Note) -> tuple[list[int], list[tuple[int, int]]]:
    read = tokenizer(note.text, add_special_tokens=False, return_offsets_mapping=True, split_special_tokens=True)
    return read["input_ids"], read["offset_mapping"]


def touching(note: Note, spans: list[tuple[int, int]]) -> list[list[int]]:
    """For every word, the tokens that share a character with it."""
    words = list(zip(note.start_U.tolist(), note.end_U.tolist(), strict=True))
    return [[t for t, (a, b) in enumerate(spans) if a < end and b > start and a < b] for start, end in words]


@settings(max_examples=150, deadline=None)
@given(name=NAMES, notes=notes_of_any_kind, max_tokens=st.integers(8, 60), context=st.integers(0, 6), data=st.data())
def test_every_word_is_owned_once_in_order_and_reads_its_own_characters(
    tokenizers, name, notes, max_tokens, context, data
):
    tokenizer, context = tokenizers[name], min(context, (max_tokens - SPECIALS[name] - 1) // 2)
    cut_notes = cut(notes, tokenizer, max_tokens=max_tokens, context_tokens=context)
    assert len(cut_notes.first_U) == len(cut_notes.last_U) == cut_notes.num_units == sum(map(len, notes))
    assert cut_notes.unit_offsets_W1[0] == 0 and (np.diff(cut_notes.unit_offsets_W1) > 0).all()
    num_owned_N = np.bincount(cut_notes.note_W, np.diff(cut_notes.unit_offsets_W1), minlength=len(notes))
    assert num_owned_N.tolist() == [len(note) for note in notes] and (np.diff(cut_notes.note_W) >= 0).all()
    assert (cut_notes.lengths <= max_tokens).all()

    references = [(*whole(tokenizer, note), note) for note in notes]
    of_word = [
        (number, tokens) for number, (_, spans, note) in enumerate(references) for tokens in touching(note, spans)
    ]
    for i in range(len(cut_notes)):
        row, owned = cut_notes.row(i), words_of(cut_notes, i)
        head, body = (row[:1], row[1:-1]) if name == "bert" else (row[:0], row)
        if name == "bert":
            assert (row[0], row[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
            assert not np.isin(body, [tokenizer.cls_token_id, tokenizer.sep_token_id]).any()
        places = list(zip(cut_notes.first_U[owned].tolist(), cut_notes.last_U[owned].tolist(), strict=True))
        ids, _, _ = references[cut_notes.note_W[i]]
        shifts = set()
        for (number, tokens), (first, last) in zip(of_word[owned], places, strict=True):
            assert number == cut_notes.note_W[i]
            assert len(head) <= first <= last < len(head) + len(body)
            if tokens:
                shifts.add(tokens[0] - first)
                cut_off = tokens[-1] - tokens[0] > last - first
                assert row[first : last + 1].tolist() == ids[tokens[0] : tokens[0] + last - first + 1]
                assert last - first <= tokens[-1] - tokens[0]
                assert not cut_off or len(places) == 1, "only a word that is longer than the room loses sub-words"
        assert len(shifts) <= 1, "a window is one piece of the note"
        for shift in shifts:
            begin = shift + len(head)
            assert body.tolist() == ids[begin : begin + len(body)]
            if len(ids) > max_tokens - SPECIALS[name]:
                start, stop = places[0][0] + shift, places[-1][1] + shift + 1  # tokens of what is owned
                assert start - begin == min(context, start)
                assert len(places) == 1 or begin + len(body) - stop == min(context, len(ids) - stop)


@settings(max_examples=60, deadline=None)
@given(name=NAMES, notes=notes_of_any_kind, max_tokens=st.integers(16, 60), context=st.integers(0, 3))
def test_merged_predictions_are_those_of_the_uncut_text(tokenizers, name, notes, max_tokens, context):
    """A predict that looks at a word's first token, over windows and over whole texts."""
    tokenizer = tokenizers[name]
    small = cut(notes, tokenizer, max_tokens=max_tokens, context_tokens=context)
    large = cut(notes, tokenizer, max_tokens=10_000, context_tokens=context)
    assert len(large) == sum(len(note) > 0 for note in notes)
    merged, uncut = (
        np.concatenate([[0], *(table.row(i)[table.first_U[words_of(table, i)]] % 97 for i in range(len(table)))])
        for table in (small, large)
    )
    assert merged.tolist() == uncut.tolist()


@settings(max_examples=60, deadline=None)
@given(name=NAMES, notes=notes_of_any_kind, max_tokens=st.integers(20, 60), context=st.integers(0, 3))
def test_twice_points_at_the_same_tokens_in_the_second_copy(tokenizers, name, notes, max_tokens, context):
    tokenizer, extra = tokenizers[name], SPECIALS[name]
    once = cut(notes, tokenizer, max_tokens=(max_tokens - extra) // 2 + extra, context_tokens=context)
    twice = cut(notes, tokenizer, max_tokens=max_tokens, context_tokens=context, twice=True)
    assert (twice.lengths <= max_tokens).all()
    assert twice.unit_offsets_W1.tolist() == once.unit_offsets_W1.tolist()
    assert twice.note_W.tolist() == once.note_W.tolist()
    for i in range(len(once)):
        row, inner = once.row(i), slice(extra // 2, len(once.row(i)) - extra // 2)
        body = row[inner].tolist()
        assert twice.row(i).tolist() == [*row[: inner.start], *body, *body, *row[inner.stop :]]
        for places in ("first_U", "last_U"):
            second = getattr(twice, places)[words_of(twice, i)] - len(body)
            assert second.tolist() == getattr(once, places)[words_of(once, i)].tolist()


def read_back(table: Windows, tokenizer) -> list[list[str]]:
    """The words of every window, from its tokens."""
    return [
        [
            tokenizer.decode(table.row(i)[first : last + 1]).strip()
            for first, last in zip(table.first_U[words_of(table, i)], table.last_U[words_of(table, i)], strict=True)
        ]
        for i in range(len(table))
    ]


def test_the_sub_words_of_a_word_spell_it(tokenizers):
    note = plain("The patient denies chest pain", "Started on metoprolol daily")
    words = [word.lower() for word in note.words()]
    for name, tokenizer in tokenizers.items():
        table = cut([note], tokenizer, max_tokens=40, context_tokens=2)
        assert len(table) == 1
        assert [word.lower() for word in read_back(table, tokenizer)[0]] == words, name


def test_a_window_owns_up_to_a_sentences_end(tokenizers):
    """A sub-word a letter.  Room for 15: two whole sentences, and not the start of the third."""
    tokenizer = tokenizers["bert"]
    note = plain("a b c a b c", "b c a b c", "c c a b b c", "a a a a a")
    table = cut([note], tokenizer, max_tokens=17, context_tokens=0)
    assert [len(words) for words in read_back(table, tokenizer)] == [11, 11]
    # With 3 of context the first may own 12 and the second 9; the last has nothing after it and may own 12.
    longer = plain("a b c a b c", "b c a b c", "c c a b b c", "a a a a a", "b b b b b")
    table = cut([longer], tokenizer, max_tokens=17, context_tokens=3)
    assert [len(words) for words in read_back(table, tokenizer)] == [11, 6, 10]
    assert table.lengths.tolist() == [11 + 3 + 2, 3 + 6 + 3 + 2, 3 + 10 + 2]


def test_no_sentence_end_near_cuts_where_the_room_ends(tokenizers):
    """A window of 12 does not stop after 2 words because a sentence ends there."""
    table = cut([plain("a b", " ".join("c" * 30))], tokenizers["bert"], max_tokens=14, context_tokens=0)
    assert np.diff(table.unit_offsets_W1).tolist() == [12, 12, 8]


def test_a_word_longer_than_the_room_keeps_its_first_sub_words(tokenizers):
    tokenizer = tokenizers["bert"]
    note = plain("a " + "c" * 90 + " b")
    table = cut([note], tokenizer, max_tokens=12, context_tokens=2)
    owned = read_back(table, tokenizer)
    assert [len(words) for words in owned] == [1, 1, 1]
    assert owned[0] == ["a"] and owned[2] == ["b"]
    assert set(owned[1][0]) == {"c"} and len(owned[1][0]) >= 8
    assert table.last_U[1] == table.lengths[1] - 2, "up to the last token before [SEP]"


def test_a_word_without_sub_words_points_at_a_neighbour_and_a_note_of_such_words_is_not_lost(tokenizers):
    tokenizer = tokenizers["bert"]
    dropped = note_of([("a", " ", False), ("\x00", " ", False), ("b", " ", False), ("\x00", "", True)])
    nothing = note_of([("\x00", " ", False), ("\x00", "", True)])
    table = cut([dropped, nothing], tokenizer, max_tokens=16, context_tokens=0)
    assert read_back(table, tokenizer) == [["a", "b", "b", "b"], ["[UNK]", "[UNK]"]]


class Swapping:
    """A tokenizer, a token a letter, whose normalizer swaps the letters of "bc"."""

    is_fast, unk_token_id = True, 0

    def __call__(self, texts, **_) -> dict:
        if isinstance(texts, str):
            return {"input_ids": [1], "special_tokens_mask": [0]}
        spans = [(0, 1), (3, 4), (2, 3), (5, 6)]
        return {
            "input_ids": [[1, 3, 2, 4][: len(text.split()) + 1] for text in texts],
            "offset_mapping": [spans[: len(text.split()) + 1] for text in texts],
        }


def test_tokens_that_are_not_in_the_order_of_their_characters():
    """Each of the swapped letters is a word, and both tokens lie between them."""
    short = [("a", " ", False), ("b", "", False), ("c", " ", False)]
    for parts, first, last in ((short, [0, 1, 1], [0, 2, 2]), ([*short, ("d", "", True)], [0, 1, 1, 3], [0, 2, 2, 3])):
        table = cut([note_of(parts)], Swapping(), max_tokens=16, context_tokens=0)
        assert (table.first_U.tolist(), table.last_U.tolist()) == (first, last)


def test_template_marks_in_a_note_are_plain_text(tokenizers):
    note = plain("a [SEP] b <|im_end|> c")
    bert, bpe = tokenizers["bert"], tokenizers["bpe"]
    assert cut([note], bert, max_tokens=60, context_tokens=0).row(0).tolist().count(bert.sep_token_id) == 1
    assert bpe.eos_token_id not in cut([note], bpe, max_tokens=60, context_tokens=0).row(0)


def test_no_words_no_window_and_no_notes_an_empty_table(tokenizers, tmp_path):
    empty, blank, full = Note("", *np.zeros((3, 0), np.int32)), Note("  \n", *np.zeros((3, 0), np.int32)), plain("a b")
    for tokenizer in tokenizers.values():
        table = cut([empty, full, blank], tokenizer, max_tokens=20, context_tokens=2)
        assert table.note_W.tolist() == [1] and table.num_units == 2
        none = cut([], tokenizer, max_tokens=20, context_tokens=2)
        none.write(tmp_path / "none.safetensors")
        for nothing in (none, Windows.open(tmp_path / "none.safetensors")):
            assert len(nothing) == nothing.num_units == 0 and nothing.lengths.tolist() == []


def test_batches_do_not_show(tokenizers, monkeypatch):
    notes = [plain(*SENTENCES[: number % 5]) for number in range(11)]
    one, many = (
        (monkeypatch.setattr(windows, "BATCH", size), cut(notes, tokenizers["bpe"], max_tokens=24, context_tokens=4))[1]
        for size in (64, 3)
    )
    assert all(np.array_equal(getattr(one, name), getattr(many, name)) for name in DTYPES)


@pytest.mark.parametrize(("name", "max_tokens", "context", "twice"), [("bert", 16, 7, False), ("bpe", 16, 4, True)])
def test_no_room_to_own_is_refused_with_the_numbers(tokenizers, name, max_tokens, context, twice):
    with pytest.raises(ValueError, match=rf"window of {max_tokens} .* {context} of context"):
        cut([], tokenizers[name], max_tokens=max_tokens, context_tokens=context, twice=twice)
    cut([], tokenizers[name], max_tokens=max_tokens + 2, context_tokens=context, twice=twice)


def test_a_tokenizer_without_offsets_is_refused():
    with pytest.raises(ValueError, match="fast"):
        cut([], SimpleNamespace(is_fast=False), max_tokens=16, context_tokens=0)


@settings(max_examples=25, deadline=None)
@given(name=NAMES, notes=notes_of_any_kind)
def test_written_and_opened_is_the_same(tokenizers, tmp_path_factory, name, notes):
    path = tmp_path_factory.mktemp("windows") / "made" / "train.student.safetensors"
    table = cut(notes, tokenizers[name], max_tokens=16, context_tokens=2)
    table.write(path)
    opened = Windows.open(path)
    for column, dtype in DTYPES.items():
        assert getattr(opened, column).dtype == getattr(table, column).dtype == dtype
        assert np.array_equal(getattr(opened, column), getattr(table, column))
    assert [opened.row(i).tolist() for i in range(len(opened))] == [table.row(i).tolist() for i in range(len(table))]
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_file_cut_short_or_of_another_kind_is_refused_and_a_whole_one_is_not_read(tokenizers, tmp_path):
    path, torn = tmp_path / "whole.safetensors", tmp_path / "torn.safetensors"
    cut([plain(*SENTENCES)], tokenizers["bpe"], max_tokens=16, context_tokens=2).write(path)
    row = Windows.open(path).row(0)
    assert isinstance(row, np.memmap) and not row.flags.writeable
    content = path.read_bytes()
    for size in (0, 5, 60, len(content) - 1):
        torn.write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"torn\.safetensors is cut short"):
            Windows.open(torn)
    torn.write_bytes((8).to_bytes(8, "little") + b"not json")
    with pytest.raises(ValueError, match="not a safetensors file"):
        Windows.open(torn)
    torn.write_bytes(content.replace(b"first_U", b"worst_U"))
    with pytest.raises(ValueError, match="lacks first_U"):
        Windows.open(torn)


@pytest.mark.parametrize("name", ["offsets_N1", "unit_offsets_W1"])
def test_offsets_that_bound_no_rows_are_refused(tokenizers, tmp_path, name):
    whole = cut([plain(*SENTENCES)], tokenizers["bpe"], max_tokens=16, context_tokens=2)
    dataclasses.replace(whole, **{name: getattr(whole, name)[::-1]}).write(tmp_path / "t.safetensors")
    with pytest.raises(ValueError, match=f"is damaged: {name} are not the bounds of rows"):
        Windows.open(tmp_path / "t.safetensors")
