"""Records to tokens within a budget: whole items go, in a fixed order, until the rest fits.

A reader's text is `before` + record + `after`.  The teacher's `before` is the head of its chat template and the question,
its `after` the generation prompt; neither is ever cut.  The question stands first because it is the same in every prompt:
a labeller computes that prefix once.  How many items must go is read off the first tokenization (every token belongs to
an item), so that two or three calls of the tokenizer, each over a list, do a whole chunk on all cores.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from ckd_dist.prompts.render import KINDS, Page, Record, Span, cut, lay_out, num_items, order_of_cut
from ckd_dist.prompts.tokens import TokenTable

KIND_NUMBER = {kind: number for number, kind in enumerate(KINDS)}
PLACE = "PLACE-OF-THE-RECORD"


@dataclass(frozen=True)
class Reader:
    """A fast tokenizer, what stands around a record, and the most tokens a text may have."""

    tokenizer: Any
    before: str
    after: str
    adds_special_tokens: bool
    budget: int

    def read(self, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Token ids [T] and their characters [T, 2] of every text, int32."""
        if not texts:
            return []
        encoded = self.tokenizer(
            list(texts),
            add_special_tokens=self.adds_special_tokens,
            return_offsets_mapping=True,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        return [
            (np.array(ids, np.int32), np.fromiter(chain.from_iterable(pairs), np.int32, 2 * len(ids)).reshape(-1, 2))
            for ids, pairs in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
        ]


class Prompt(NamedTuple):
    """What a reader reads of one sample."""

    text: str
    spans: list[Span]  # characters of text
    ids_T: np.ndarray  # int32
    span_tokens_S2: np.ndarray  # int32
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
    reader = Reader(_fast(tokenizer, "teacher"), before, after, False, budget)
    return _with_room(reader, "prompt.teacher_tokens", "the chat template and the question")


def student_reader(tokenizer: Any, budget: int, question: str | None = None) -> Reader:
    """The record alone, or after the question, between the tokenizer's own special tokens."""
    before = "" if question is None else question + "\n"
    reader = Reader(_fast(tokenizer, "student"), before, "", True, budget)
    return _with_room(reader, "prompt.student_tokens", "the special tokens" + (" and the question" if before else ""))


def encode(reader: Reader, records: Sequence[Record], pages: Sequence[Page] | None = None) -> list[Prompt]:
    """The text and tokens of every record, as much of it as fits.  `pages`: the whole records, if already laid out.

    A prompt depends on its own record alone, not on the others of the list.
    """
    prompts: list[Prompt | None] = [None] * len(records)
    pages = [lay_out(record) for record in records] if pages is None else pages
    waiting = [(number, record, page, 0) for number, (record, page) in enumerate(zip(records, pages, strict=True))]
    while waiting:
        texts = [reader.before + page.text + reader.after for _, _, page, _ in waiting]
        too_long = []
        for (number, record, page, num_cut), text, (ids_T, chars_T2) in zip(
            waiting, texts, reader.read(texts), strict=True
        ):
            if len(ids_T) <= reader.budget:
                prompts[number] = _prompt(page, text, ids_T, chars_T2, num_cut, len(reader.before))
            else:
                more = _num_to_cut(record, page, chars_T2, len(ids_T) - reader.budget, len(reader.before))
                rest = cut(record, more)
                too_long.append((number, rest, lay_out(rest), num_cut + more))
        waiting = too_long
    return [prompt for prompt in prompts if prompt is not None]


def table_of(sample_ids: Sequence[int], prompts: Sequence[Prompt]) -> TokenTable:
    """The prompts of one reader as a table."""
    spans = [span for prompt in prompts for span in prompt.spans]
    return TokenTable(
        ids_T=np.concatenate([prompt.ids_T for prompt in prompts]),
        offsets_N1=np.cumsum([0, *(len(prompt.ids_T) for prompt in prompts)]),
        sample_id_N=np.array(sample_ids),
        span_offsets_N1=np.cumsum([0, *(len(prompt.spans) for prompt in prompts)]),
        span_tokens_S2=np.concatenate([prompt.span_tokens_S2 for prompt in prompts]),
        span_kind_S=np.array([KIND_NUMBER[span.kind] for span in spans], np.int8),
        span_visit_S=np.array([span.visit for span in spans], np.int16),
        kinds=KINDS,
    )


def tokens_of(chars_S2: np.ndarray, chars_T2: np.ndarray, num_chars: int) -> np.ndarray:
    """The tokens [S, 2] that overlap the characters [S, 2] of each span; first and one past the last.

    A token without characters ([CLS], [SEP]) overlaps nothing, wherever it stands.
    """
    starts_T, ends_T = chars_T2[:, 0].copy(), chars_T2[:, 1].copy()
    empty_T = starts_T == ends_T
    starts_T[empty_T] = ends_T[empty_T] = num_chars  # right for a token at the end ...
    if len(empty_T) and empty_T[0]:
        starts_T[0] = ends_T[0] = 0  # ... and at the start
    first_S = np.searchsorted(ends_T, chars_S2[:, 0], "right")
    last_S = np.searchsorted(starts_T, chars_S2[:, 1], "left")
    return np.stack([first_S, np.maximum(first_S, last_S)], axis=1).astype(np.int32)


def _prompt(page: Page, text: str, ids_T: np.ndarray, chars_T2: np.ndarray, num_cut: int, shift: int) -> Prompt:
    spans = [Span(kind, start + shift, end + shift, visit) for kind, start, end, visit in page.spans]
    chars_S2 = np.array([span[1:3] for span in spans], np.int32).reshape(-1, 2)
    return Prompt(text, spans, ids_T, tokens_of(chars_S2, chars_T2, len(text)), num_cut)


def _num_to_cut(record: Record, page: Page, chars_T2: np.ndarray, excess: int, shift: int) -> int:
    """How many items hold `excess` tokens, counted in the order of cut.

    An item is charged from the end of the one before it in the text, so a section's lead goes with its first item.
    """
    ends_I = np.searchsorted(chars_T2[:, 0], np.array(page.ends) + shift, "left")
    start = np.searchsorted(chars_T2[:, 0], shift, "left")
    costs_I = np.diff(ends_I, prepend=start)
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


def _fast(tokenizer: Any, reader: str) -> Any:
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError(f"the {reader}'s tokenizer gives no character offsets: take a model with a tokenizer.json")
    return tokenizer


def _with_room(reader: Reader, field: str, what: str) -> Reader:
    """Return the reader if an empty record fits."""
    ((ids_T, _),) = reader.read([reader.before + reader.after])
    if len(ids_T) > reader.budget:
        raise ValueError(
            f"{field}={reader.budget} has no room: {what} alone take {len(ids_T)} tokens, so raise it above that"
        )
    return reader
