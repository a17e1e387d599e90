"""Records to tokens within a budget: whole items go, in a fixed order, until the rest fits.

A reader's text is `before` + record + `after`.  The teacher's `before` is the head of its chat template and the
question, its `after` the generation prompt; neither is ever cut.  The question stands first because it is the same in
every prompt: a labeller computes that prefix once.

A hospital says the same few thousand names over and over, so a text is read piece by piece (pieces.py), each piece
tokenized once; a few rows of every list are also read whole, and where the two differ (a tokenizer whose tokens reach
across spaces) all are.  Whole reading is 10 to 20 times slower.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ckd_dist.studies.disease.prompts.pieces import Pieces, Tokens, read_whole
from ckd_dist.studies.disease.prompts.render import KINDS, Page, Record, cut, lay_out, num_items, order_of_cut
from ckd_dist.studies.disease.prompts.tokens import TokenTable

# T tokens of a text, S spans, I items

PLACE = "PLACE-OF-THE-RECORD"
NUM_CHECKED = 8  # rows of a list that are read both ways


@dataclass(frozen=True)
class Reader:
    """A fast tokenizer, what stands around a record, and the most tokens a text may have."""

    tokenizer: Any
    before: str
    after: str
    adds_special_tokens: bool
    budget: int
    pieces: Pieces

    def text(self, page: Page) -> str:
        return self.before + page.text + self.after

    def read(self, pages: Sequence[Page]) -> list[Tokens]:
        """The tokens of every page's text, as the tokenizer gives them for the whole text."""
        checked = pages[:: len(pages) // NUM_CHECKED + 1]
        by_pieces = self.pieces.read(checked)
        if all(a == b for a, b in zip(by_pieces, self.read_whole(checked), strict=True)):
            return self.pieces.read(pages)
        return self.read_whole(pages)

    def read_whole(self, pages: Sequence[Page]) -> list[Tokens]:
        """The same, without pieces."""
        return read_whole(self.tokenizer, [self.text(page) for page in pages], self.adds_special_tokens)


class Prompt(NamedTuple):
    """What a reader reads of one sample."""

    text: str
    tokens: Tokens
    span_kinds: np.ndarray  # int8 [S], into KINDS
    span_visits: np.ndarray  # int16 [S]
    span_chars: np.ndarray  # int32 [S, 2], of text
    span_tokens: np.ndarray  # int32 [S, 2]
    num_cut: int


def teacher_reader(tokenizer: Any, question: str, budget: int) -> Reader:
    """The question and then the record as the user's turn of the tokenizer's chat template.

    ValueError where the tokenizer has no template, or the budget has no room for template and question.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise ValueError(
            "the teacher's tokenizer has no chat template: take an instruct model, or add one to its folder"
        )
    before, after = _around(tokenizer, question + "\n")
    reader = _reader(tokenizer, "teacher", before, after, False, budget)
    return _with_room(reader, "prompt.teacher_tokens", "the chat template and the question")


def student_reader(tokenizer: Any, budget: int, question: str | None = None) -> Reader:
    """The record alone, or after the question, between the tokenizer's own special tokens."""
    before = "" if question is None else question + "\n"
    reader = _reader(tokenizer, "student", before, "", True, budget)
    return _with_room(reader, "prompt.student_tokens", "the special tokens" + (" and the question" if before else ""))


def encode(reader: Reader, records: Sequence[Record], pages: Sequence[Page] | None = None) -> list[Prompt]:
    """The text and tokens of every record, as much of it as fits.  `pages`: the whole records, if already laid out.

    A prompt depends on its own record alone, not on the others of the list.
    """
    prompts: list[Prompt | None] = [None] * len(records)
    pages = [lay_out(record) for record in records] if pages is None else pages
    waiting = [(number, record, page, 0) for number, (record, page) in enumerate(zip(records, pages, strict=True))]
    while waiting:
        too_long = []
        all_tokens = reader.read([page for _, _, page, _ in waiting])
        for (number, record, page, num_cut), tokens in zip(waiting, all_tokens, strict=True):
            if len(tokens.ids) <= reader.budget:
                prompts[number] = _prompt(reader.text(page), page, tokens, num_cut, len(reader.before))
            else:
                more = _num_to_cut(record, page, tokens, len(tokens.ids) - reader.budget, len(reader.before))
                rest = cut(record, more)
                too_long.append((number, rest, lay_out(rest), num_cut + more))
        waiting = too_long
    return [prompt for prompt in prompts if prompt is not None]


def table_of(sample_ids: Sequence[int], prompts: Sequence[Prompt]) -> TokenTable:
    """The prompts of one reader as a table."""
    return TokenTable(
        ids_T=np.concatenate([prompt.tokens.ids for prompt in prompts]),
        offsets_N1=np.cumsum([0, *(len(prompt.tokens.ids) for prompt in prompts)]),
        sample_id_N=np.array(sample_ids),
        span_offsets_N1=np.cumsum([0, *(len(prompt.span_kinds) for prompt in prompts)]),
        span_tokens_S2=np.concatenate([prompt.span_tokens for prompt in prompts]),
        span_kind_S=np.concatenate([prompt.span_kinds for prompt in prompts]),
        span_visit_S=np.concatenate([prompt.span_visits for prompt in prompts]),
        kinds=KINDS,
    )


def tokens_of(span_chars: np.ndarray, tokens: Tokens) -> np.ndarray:
    """The tokens [S, 2] that overlap the characters [S, 2] of each span: the first, and one past the last.

    A token without characters ([CLS], [SEP]) overlaps nothing; a span of which no token is left is empty.
    """
    first = np.searchsorted(tokens.ends, span_chars[:, 0], "right")
    last = np.searchsorted(tokens.starts, span_chars[:, 1], "left")
    return np.stack([first, np.maximum(first, last)], axis=1).astype(np.int32)


def _prompt(text: str, page: Page, tokens: Tokens, num_cut: int, shift: int) -> Prompt:
    chars = np.array([page.starts, page.ends], np.int32).T + np.int32(shift)
    kinds, visits = np.array(page.kinds, np.int8), np.array(page.visits, np.int16)
    return Prompt(text, tokens, kinds, visits, chars, tokens_of(chars, tokens), num_cut)


def _num_to_cut(record: Record, page: Page, tokens: Tokens, excess: int, shift: int) -> int:
    """How many items hold `excess` tokens, counted in the order of cut.

    An item is charged from the end of the one before it in the text, so a section's lead goes with its first item.
    """
    ends_I = np.searchsorted(tokens.starts, np.array(page.ends_of_items) + shift, "left")
    costs_I = np.diff(ends_I, prepend=np.searchsorted(tokens.starts, shift, "left"))
    firsts = np.cumsum([0, *(len(section.items) for section in record)])
    order_I = np.concatenate([np.arange(firsts[s], firsts[s + 1])[::-1] for s in order_of_cut(record)])
    saved_I = np.cumsum(costs_I[order_I])
    return int(min(np.searchsorted(saved_I, excess) + 1, num_items(record)))


def _around(tokenizer: Any, head: str) -> tuple[str, str]:
    """What the chat template puts before and after a user's turn that starts with `head`."""
    turn = [{"role": "user", "content": head + PLACE}]
    text = tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
    if text.count(head + PLACE) != 1:
        raise ValueError(
            "the teacher's chat template does not repeat the user's words as they are: take another template"
        )
    before, after = text.split(PLACE)
    return before, after


def _reader(tokenizer: Any, name: str, before: str, after: str, adds_special_tokens: bool, budget: int) -> Reader:
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError(f"the {name}'s tokenizer gives no character offsets: take a model with a tokenizer.json")
    pieces = Pieces(tokenizer, before, after, adds_special_tokens)
    return Reader(tokenizer, before, after, adds_special_tokens, budget, pieces)


def _with_room(reader: Reader, field: str, what: str) -> Reader:
    """Return the reader if an empty record fits."""
    (empty,) = reader.read_whole([lay_out(())])
    least = len(empty.ids)
    if least > reader.budget:
        raise ValueError(f"{field}={reader.budget} has no room for a record: {what} take {least} tokens, so give more")
    return reader
