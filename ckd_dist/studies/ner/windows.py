"""Notes cut into windows that fit a model, and where in them each word is; one file, read by mmap.

    N notes, W windows (by note, then place), T tokens of all windows, U words of all notes

A note's text is tokenized whole, so a sub-word never depends on where a window ends.  Every word is owned by exactly
one window, which shows some tokens of its neighbours on either side and owns up to a sentence's end where one lies in
the second half of its room.  So what is predicted for the owned words, window after window, is what is predicted for
the words of all notes in order: merging is concatenation.  A note that fits is one window.

About 15 million words a minute on one core; a window costs its tokens and 20 bytes, a word 8 bytes.  Left out: windows
that hold several short notes; a task pads or packs rows as it likes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ckd_dist.notes.note import Note
from ckd_dist.ragged import end_to_end, map_arrays, offsets_from, take_rows, write_arrays

BATCH = 64  # notes tokenized at once
DTYPES = {
    "ids_T": np.int32,
    "offsets_N1": np.int64,
    "note_W": np.int32,
    "unit_offsets_W1": np.int64,
    "first_U": np.int32,
    "last_U": np.int32,
}
ROWS = {"offsets_N1": "ids_T", "unit_offsets_W1": "first_U"}


@dataclass(frozen=True)
class Windows:
    """Rows of tokens and the words of a split: `row(i)` are the tokens of window i, and each word has one owner."""

    ids_T: np.ndarray  # int32
    offsets_N1: np.ndarray  # int64, row i is ids_T[offsets_N1[i] : offsets_N1[i + 1]]
    note_W: np.ndarray  # int32, row of its note in the split
    unit_offsets_W1: np.ndarray  # int64, window i owns words unit_offsets_W1[i] to unit_offsets_W1[i + 1] of the split
    first_U: np.ndarray  # int32, place of each word's first sub-word in the row of the window that owns it
    last_U: np.ndarray  # int32, of its last one, included; of the last one that is shown, where a word is cut

    def __len__(self) -> int:
        return len(self.note_W)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of every window, int64 [W]."""
        return np.diff(self.offsets_N1)

    @property
    def num_units(self) -> int:
        """Words of all notes."""
        return len(self.first_U)

    def row(self, i: int) -> np.ndarray:
        """Return the token ids of window i: a view, int32."""
        return self.ids_T[self.offsets_N1[i] : self.offsets_N1[i + 1]]

    def take(self, chosen: np.ndarray) -> "Windows":
        """Return some windows, in that order, with the words that they own."""
        return Windows(
            ids_T=take_rows(self.ids_T, self.offsets_N1, chosen),
            offsets_N1=offsets_from(self.lengths[chosen]),
            note_W=self.note_W[chosen],
            unit_offsets_W1=offsets_from(np.diff(self.unit_offsets_W1)[chosen]),
            first_U=take_rows(self.first_U, self.unit_offsets_W1, chosen),
            last_U=take_rows(self.last_U, self.unit_offsets_W1, chosen),
        )

    def write(self, path: Path) -> None:
        """Write the table; readers see the whole file or none."""
        write_arrays(path, self, DTYPES)

    @classmethod
    def open(cls, path: Path) -> "Windows":
        """Map the file.  Raise ValueError where it is not a whole table of windows."""
        arrays, _ = map_arrays(path, DTYPES, ROWS, "a table of windows", "make the windows again")
        return cls(**arrays)


def cut(notes: Sequence[Note], tokenizer: Any, *, max_tokens: int, context_tokens: int, twice: bool = False) -> Windows:
    """Cut every note into windows of at most max_tokens tokens, the tokenizer's own special tokens included.

    tokenizer: a fast one of transformers.  context_tokens: shown of the neighbours on either side of what is owned.
    twice: a row is the window's tokens two times over, and words point into the second.  A word longer than the room is
    owned with its first sub-words; one without sub-words points at the token next to it; a note without words makes no
    window.  Special tokens spelled out in a note are read as plain characters.
    Raises ValueError where context and special tokens leave no token to own.
    """
    if not tokenizer.is_fast:
        raise ValueError("this tokenizer does not tell where its tokens lie in the text: take the model's fast one")
    before, after = _specials(tokenizer)
    room = (max_tokens - len(before) - len(after)) // (2 if twice else 1)
    if room - 2 * context_tokens < 1:
        read = "tokens, read twice," if twice else "tokens"
        raise ValueError(
            f"a window of {max_tokens} {read} with {len(before) + len(after)} special ones and {context_tokens} of "
            "context on either side has no room for a word of its own: raise max_tokens or lower context_tokens"
        )
    flat: dict[str, list] = {name: [] for name in ("ids", "length", "note", "units", "first", "last")}
    for start in range(0, len(notes), BATCH):
        batch = notes[start : start + BATCH]
        for number, (note, (ids_T, span_T2)) in enumerate(zip(batch, _tokens(batch, tokenizer), strict=True), start):
            if len(ids_T) == 0:  # a text that the tokenizer drops altogether still needs a token to point at
                ids_T, span_T2 = np.array([tokenizer.unk_token_id or 0]), np.zeros((1, 2), np.int64)
            first_U, last_U = _subwords(note, span_T2)
            for own, shown in _windows(first_U, last_U, note.sentence_U, len(ids_T), room, context_tokens):
                tokens = ids_T[shown]
                shift = len(before) - shown.start + (len(tokens) if twice else 0)
                row = np.concatenate([before, tokens, tokens, after] if twice else [before, tokens, after])
                flat["ids"].append(row)
                flat["length"].append(len(row))
                flat["note"].append(number)
                flat["units"].append(own.stop - own.start)
                flat["first"].append(first_U[own] + shift)
                flat["last"].append(np.minimum(last_U[own], shown.stop - 1) + shift)
    return Windows(
        ids_T=end_to_end(flat["ids"], np.int32),
        offsets_N1=offsets_from(flat["length"]),
        note_W=np.array(flat["note"], np.int32),
        unit_offsets_W1=offsets_from(flat["units"]),
        first_U=end_to_end(flat["first"], np.int32),
        last_U=end_to_end(flat["last"], np.int32),
    )


def _specials(tokenizer: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the special tokens that the tokenizer puts before and after a text, as it does with a letter."""
    seen = tokenizer("a", return_special_tokens_mask=True)
    ids, special = np.array(seen["input_ids"]), np.array(seen["special_tokens_mask"])
    plain = np.flatnonzero(special == 0)
    return ids[: plain[0]], ids[plain[-1] + 1 :]


def _tokens(notes: Sequence[Note], tokenizer: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return token ids [T] and their characters [T, 2] of each whole text."""
    read = tokenizer(
        [note.text for note in notes],
        add_special_tokens=False,
        truncation=False,
        padding=False,
        return_offsets_mapping=True,
        return_attention_mask=False,
        return_token_type_ids=False,
        split_special_tokens=True,
        verbose=False,  # longer than the model can read is why we are here
    )
    return [
        (np.array(ids, np.int64), np.array(spans, np.int64).reshape(-1, 2))
        for ids, spans in zip(read["input_ids"], read["offset_mapping"], strict=True)
    ]


def _subwords(note: Note, span_T2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return first and last token that shares a character with each word, int64 [U]; neither ever falls.

    Tokens of one character's bytes share its place, and a normalizer may swap accents: running extremes keep a binary
    search exact.
    """
    end_T = np.maximum.accumulate(span_T2[:, 1])
    start_T = np.minimum.accumulate(span_T2[::-1, 0])[::-1]
    first_U = np.searchsorted(end_T, note.start_U, side="right")
    last_U = np.searchsorted(start_T, note.end_U, side="left") - 1
    first_U = np.minimum(first_U, len(span_T2) - 1)  # a word at the end that has none: the token before it
    return first_U, np.maximum(first_U, last_U)


def _windows(
    first_U: np.ndarray, last_U: np.ndarray, sentence_U: np.ndarray, num_tokens: int, room: int, context: int
) -> list[tuple[slice, slice]]:
    """Return words owned and tokens shown, window after window of one note."""
    num_words = len(first_U)
    if num_tokens <= room:
        return [(slice(0, num_words), slice(0, num_tokens))] if num_words else []
    sentence_starts = np.flatnonzero(np.diff(sentence_U)) + 1
    windows, word = [], 0
    while word < num_words:
        begin = int(first_U[word])
        before = min(context, begin)
        if num_tokens - begin <= room - before:
            stop = num_words
        else:
            own = room - before - context
            stop = max(word + 1, int(np.searchsorted(last_U, begin + own)))
            stop = _sentence_end(sentence_starts, first_U, word, stop, begin + own // 2)
        end = min(num_tokens, int(last_U[stop - 1]) + 1 + context, begin - before + room)
        windows.append((slice(word, stop), slice(begin - before, end)))
        word = stop
    return windows


def _sentence_end(sentence_starts: np.ndarray, first_U: np.ndarray, word: int, stop: int, half: int) -> int:
    """Return the last sentence's end of words [word, stop) if the tokens before it reach `half`, else stop."""
    place = int(np.searchsorted(sentence_starts, stop, side="right")) - 1
    if stop == len(first_U) or place < 0:
        return stop
    candidate = int(sentence_starts[place])
    return candidate if candidate > word and first_U[candidate] >= half else stop
