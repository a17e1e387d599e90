"""Turn records into tokens within a budget: whole items are cut, in a fixed order, until the rest fits.

A role's text is `before` + record + `after`.  The teacher's `before` is the start of its chat template and the
question, its `after` the generation prompt; neither is ever cut.  The question comes first because it is the same in
every prompt: a labeler computes that prefix once.

Records repeat the same few thousand names, so a text is tokenized piece by piece (pieces.py), each piece once; a few
rows of every list are also tokenized whole, and where the two differ (a tokenizer whose tokens reach across spaces)
all are.  That is 10 to 20 times slower.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ckd_dist.ragged import offsets_from
from ckd_dist.studies.disease.prompts.pieces import Pieces, TextTokens, tokenize_whole
from ckd_dist.studies.disease.prompts.render import KINDS, Page, Record, cut, lay_out, num_items, order_of_cut
from ckd_dist.studies.disease.prompts.tokens import TokenTable

# T tokens of a text, S spans, I items

PLACE = "PLACE-OF-THE-RECORD"
NUM_CHECKED = 8  # rows of a list that are tokenized both ways


@dataclass(frozen=True)
class PromptRole:
    """How teacher or student reads records: a fast tokenizer, the text around a record, and the budget in tokens."""

    tokenizer: Any
    before: str
    after: str
    adds_special_tokens: bool
    budget: int  # tokens
    pieces: Pieces

    def text(self, page: Page) -> str:
        """Return the whole text of a page."""
        return self.before + page.text + self.after

    def tokenize(self, pages: Sequence[Page]) -> list[TextTokens]:
        """Return the tokens of every page's text, as the tokenizer gives them for the whole text."""
        checked = pages[:: len(pages) // NUM_CHECKED + 1]
        by_pieces = self.pieces.tokenize(checked)
        if all(a == b for a, b in zip(by_pieces, self.tokenize_whole(checked), strict=True)):
            return self.pieces.tokenize(pages)
        return self.tokenize_whole(pages)

    def tokenize_whole(self, pages: Sequence[Page]) -> list[TextTokens]:
        """Return the same, without pieces."""
        return tokenize_whole(self.tokenizer, [self.text(page) for page in pages], self.adds_special_tokens)


class EncodedPrompt(NamedTuple):
    """What a role reads of one sample."""

    text: str
    tokens: TextTokens
    span_kinds: np.ndarray  # int8 [S], into KINDS
    span_visits: np.ndarray  # int16 [S]
    span_chars: np.ndarray  # int32 [S, 2], of text
    span_tokens: np.ndarray  # int32 [S, 2]
    num_cut: int


def teacher_role(tokenizer: Any, question: str, budget: int) -> PromptRole:
    """Return the teacher's role: question and record as the user's turn of the tokenizer's chat template.

    Raises ValueError where the tokenizer has no template, or the budget has no room for template and question.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise ValueError(
            "the teacher's tokenizer has no chat template: take an instruct model, or add one to its folder"
        )
    before, after = _around(tokenizer, question + "\n")
    role = _role(tokenizer, "teacher", before, after, False, budget)
    return _with_room(role, "prompt.teacher_tokens", "the chat template and the question")


def student_role(tokenizer: Any, budget: int, question: str | None = None) -> PromptRole:
    """Return the student's role: the record, after the question if any, between the tokenizer's special tokens."""
    before = "" if question is None else question + "\n"
    role = _role(tokenizer, "student", before, "", True, budget)
    return _with_room(role, "prompt.student_tokens", "the special tokens" + (" and the question" if before else ""))


def encode(role: PromptRole, records: Sequence[Record]) -> list[EncodedPrompt]:
    """Return text and tokens of every record, as much of it as fits.

    A prompt depends on its own record alone, not on the others of the list.
    """
    prompts: list[EncodedPrompt | None] = [None] * len(records)
    waiting = [(number, record, lay_out(record), 0) for number, record in enumerate(records)]
    while waiting:
        too_long = []
        all_tokens = role.tokenize([page for _, _, page, _ in waiting])
        for (number, record, page, num_cut), tokens in zip(waiting, all_tokens, strict=True):
            if len(tokens.ids) <= role.budget:
                prompts[number] = _prompt(role.text(page), page, tokens, num_cut, len(role.before))
            else:
                more = _num_to_cut(record, page, tokens, len(tokens.ids) - role.budget, len(role.before))
                rest = cut(record, more)
                too_long.append((number, rest, lay_out(rest), num_cut + more))
        waiting = too_long
    return [prompt for prompt in prompts if prompt is not None]


def table_of(sample_ids: Sequence[int], prompts: Sequence[EncodedPrompt]) -> TokenTable:
    """Return the prompts of one role as a table."""
    return TokenTable(
        ids_T=np.concatenate([prompt.tokens.ids for prompt in prompts]),
        offsets_N1=offsets_from([len(prompt.tokens.ids) for prompt in prompts]),
        sample_id_N=np.array(sample_ids),
        span_offsets_N1=offsets_from([len(prompt.span_kinds) for prompt in prompts]),
        span_tokens_S2=np.concatenate([prompt.span_tokens for prompt in prompts]),
        span_kind_S=np.concatenate([prompt.span_kinds for prompt in prompts]),
        span_visit_S=np.concatenate([prompt.span_visits for prompt in prompts]),
        kinds=KINDS,
    )


def tokens_of(span_chars: np.ndarray, tokens: TextTokens) -> np.ndarray:
    """Return the tokens [S, 2] that overlap the characters [S, 2] of each span: the first, and one past the last.

    A token without characters ([CLS], [SEP]) overlaps nothing; a span of which no token is left is empty.
    """
    first = np.searchsorted(tokens.ends, span_chars[:, 0], "right")
    last = np.searchsorted(tokens.starts, span_chars[:, 1], "left")
    return np.stack([first, np.maximum(first, last)], axis=1).astype(np.int32)


def _prompt(text: str, page: Page, tokens: TextTokens, num_cut: int, shift: int) -> EncodedPrompt:
    """Return a prompt whose record starts at character `shift`."""
    chars = np.array([page.starts, page.ends], np.int32).T + np.int32(shift)
    kinds, visits = np.array(page.kinds, np.int8), np.array(page.visits, np.int16)
    return EncodedPrompt(text, tokens, kinds, visits, chars, tokens_of(chars, tokens), num_cut)


def _num_to_cut(record: Record, page: Page, tokens: TextTokens, excess: int, shift: int) -> int:
    """Return how many items hold `excess` tokens, counted in the order of cut.

    An item's tokens start at the end of the item before it, so a section's lead is cut with its first item.
    """
    ends_I = np.searchsorted(tokens.starts, np.array(page.ends_of_items) + shift, "left")
    costs_I = np.diff(ends_I, prepend=np.searchsorted(tokens.starts, shift, "left"))
    firsts = np.cumsum([0, *(len(section.items) for section in record)])
    order_I = np.concatenate([np.arange(firsts[s], firsts[s + 1])[::-1] for s in order_of_cut(record)])
    saved_I = np.cumsum(costs_I[order_I])
    return int(min(np.searchsorted(saved_I, excess) + 1, num_items(record)))


def _around(tokenizer: Any, opening: str) -> tuple[str, str]:
    """Return what the chat template puts before and after a user's turn that starts with `opening`."""
    turn = [{"role": "user", "content": opening + PLACE}]
    text = tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
    if text.count(opening + PLACE) != 1:
        raise ValueError(
            "the teacher's chat template does not repeat the user's words as they are: take another template"
        )
    before, after = text.split(PLACE)
    return before, after


def _role(tokenizer: Any, name: str, before: str, after: str, adds_special_tokens: bool, budget: int) -> PromptRole:
    """Return a role.  Raise ValueError where its tokenizer is not a fast one."""
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError(f"the {name}'s tokenizer gives no character offsets: take a model with a tokenizer.json")
    pieces = Pieces(tokenizer, before, after, adds_special_tokens)
    return PromptRole(tokenizer, before, after, adds_special_tokens, budget, pieces)


def _with_room(role: PromptRole, field: str, what: str) -> PromptRole:
    """Return `role`.  Raise ValueError where not even an empty record fits its budget."""
    (empty,) = role.tokenize_whole([lay_out(())])
    least = len(empty.ids)
    if least > role.budget:
        raise ValueError(f"{field}={role.budget} has no room for a record: {what} take {least} tokens, so give more")
    return role
