"""Budgets and token spans, in a teacher's and a student's tokenizer."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckd_dist.studies.disease.prompts.encode import PromptRole, encode, student_role, table_of, teacher_role
from ckd_dist.studies.disease.prompts.render import KINDS, cut, lay_out, num_items, question, record_of
from tests.studies.disease.prompts.samples import LABELS, NAMES, byte_level_bpe, sample, samples

QUESTION = question(LABELS)


def record(row: dict):
    return record_of(row, NAMES.__getitem__, lambda name: " ".join(name.split()), ["d5w for Gout, acute (61%)"])


def roles(teacher_tokenizer, student_tokenizer, budget: int = 10_000) -> list[PromptRole]:
    return [
        teacher_role(teacher_tokenizer, QUESTION, budget),
        student_role(student_tokenizer, budget),
        student_role(student_tokenizer, budget, QUESTION),
    ]


def least(role: PromptRole) -> int:
    """Tokens of a text without a record."""
    return len(role.tokenizer(role.before + role.after, add_special_tokens=role.adds_special_tokens)["input_ids"])


@settings(max_examples=60, deadline=None)
@given(row=samples())
def test_pieces_give_what_the_whole_text_gives(row, teacher_tokenizer, student_tokenizer):
    page = lay_out(record(row))
    for role in roles(teacher_tokenizer, student_tokenizer):
        (by_pieces,) = role.pieces.tokenize([page])
        (whole,) = role.tokenize_whole([page])
        assert by_pieces.ids.tolist() == whole.ids.tolist()
        assert by_pieces == whole
        direct = role.tokenizer(role.text(page), add_special_tokens=role.adds_special_tokens)["input_ids"]
        assert whole.ids.tolist() == direct


@settings(max_examples=60, deadline=None)
@given(row=samples(), share=st.floats(0, 1))
def test_spans_have_exactly_the_tokens_that_touch_their_text(row, share, teacher_tokenizer, student_tokenizer):
    whole = record(row)
    for role in roles(teacher_tokenizer, student_tokenizer):
        smallest, full = least(role), len(encode(role, [whole])[0].tokens.ids)
        budget = smallest + int(share * (full - smallest))
        (prompt,) = encode(replace(role, budget=budget), [whole])
        chars = role.tokenizer(prompt.text, add_special_tokens=role.adds_special_tokens, return_offsets_mapping=True)[
            "offset_mapping"
        ]
        page = lay_out(cut(whole, prompt.num_cut))
        names = [(span.kind, page.text[span.start : span.end], span.visit) for span in page.spans]
        assert names == [
            (KINDS[kind], prompt.text[start:end], visit)
            for kind, (start, end), visit in zip(prompt.span_kinds, prompt.span_chars, prompt.span_visits, strict=True)
        ]
        for (start, end), (first, last) in zip(prompt.span_chars, prompt.span_tokens, strict=True):
            touching = [t for t, (a, b) in enumerate(chars) if a < end and b > start]
            assert touching == list(range(first, last))
            named = prompt.text[start:end]
            if named.isascii() and named.isprintable():  # no character that a tokenizer throws away
                assert chars[first][0] <= start and chars[last - 1][1] >= end


@settings(max_examples=40, deadline=None)
@given(row=samples(), share=st.floats(0, 1))
def test_a_budget_cuts_the_record_and_nothing_else(row, share, teacher_tokenizer, student_tokenizer):
    whole = record(row)
    for role in roles(teacher_tokenizer, student_tokenizer):
        smallest, full = least(role), len(encode(role, [whole])[0].tokens.ids)
        role = replace(role, budget=smallest + int(share * (full - smallest)))
        (prompt,) = encode(role, [whole])
        assert len(prompt.tokens.ids) <= role.budget
        assert prompt.text == role.before + lay_out(cut(whole, prompt.num_cut)).text + role.after
        assert (prompt.num_cut == 0) == (full <= role.budget)
        if prompt.num_cut:  # an item less would not have fitted, but for tokens that a comma or a full stop costs
            (one_more,) = role.tokenize_whole([lay_out(cut(whole, prompt.num_cut - 1))])
            assert len(one_more.ids) > role.budget - 8


def test_question_and_template_survive_the_smallest_budget(teacher_tokenizer):
    smallest = least(teacher_role(teacher_tokenizer, QUESTION, 10_000))
    whole = record(sample())
    (prompt,) = encode(teacher_role(teacher_tokenizer, QUESTION, smallest), [whole])
    assert prompt.text == f"<|im_start|>user\n{QUESTION}\n<|im_end|>\n<|im_start|>assistant\n"
    assert prompt.num_cut == num_items(whole)
    for budget in range(smallest, smallest + 40):
        (prompt,) = encode(teacher_role(teacher_tokenizer, QUESTION, budget), [whole])
        assert prompt.text.startswith(f"<|im_start|>user\n{QUESTION}\n")
        assert prompt.text.endswith("<|im_end|>\n<|im_start|>assistant\n")
        assert len(prompt.tokens.ids) <= budget


def test_no_room_for_the_question_is_one_sentence(teacher_tokenizer, student_tokenizer):
    smallest = least(teacher_role(teacher_tokenizer, QUESTION, 10_000))
    with pytest.raises(
        ValueError, match=rf"prompt.teacher_tokens={smallest - 1} has no room .* take {smallest} tokens"
    ):
        teacher_role(teacher_tokenizer, QUESTION, smallest - 1)
    with pytest.raises(ValueError, match=r"prompt.student_tokens=32 has no room"):
        student_role(student_tokenizer, 32, QUESTION)


def test_a_tokenizer_that_cannot_serve_is_refused(student_tokenizer):
    with pytest.raises(ValueError, match="no chat template"):
        teacher_role(student_tokenizer, QUESTION, 1000)
    slow = SimpleNamespace(is_fast=False, chat_template=None)
    with pytest.raises(ValueError, match="gives no character offsets"):
        student_role(slow, 512)


def test_a_chat_template_that_changes_the_words_is_refused(corpus):
    tokenizer = byte_level_bpe(corpus)
    tokenizer.chat_template = "{{ messages[0].content | upper }}"
    with pytest.raises(ValueError, match="chat template does not repeat"):
        teacher_role(tokenizer, QUESTION, 1000)


def test_tokens_that_reach_across_spaces_are_tokenized_whole(corpus):
    """A tokenizer without pre-tokenization: pieces would be wrong, so the role notices and tokenizes whole texts."""
    pages = [lay_out(record(sample(medications=["d5w"] * n + ["furosemide"]))) for n in range(3)]
    tokenizer = byte_level_bpe([*corpus, *(page.text for page in pages)], parts_at_spaces=False)
    role = teacher_role(tokenizer, QUESTION, 10_000)
    by_pieces = role.pieces.tokenize(pages)
    assert by_pieces != role.tokenize_whole(pages), "the tokenizer of this test was meant to reach across spaces"
    assert role.tokenize(pages) == role.tokenize_whole(pages)


def test_a_prompt_does_not_depend_on_its_neighbours(teacher_tokenizer):
    whole = [record(sample(medications=[f"drug {n}" for n in range(size)])) for size in (0, 40, 3, 90, 7)]
    role = teacher_role(teacher_tokenizer, QUESTION, 420)
    together, alone = encode(role, whole), [encode(role, [one])[0] for one in whole]
    assert any(prompt.num_cut for prompt in together) and not all(prompt.num_cut for prompt in together)
    for a, b in zip(together, alone, strict=True):
        assert a.text == b.text and a.num_cut == b.num_cut and a.tokens == b.tokens


def test_table_holds_every_prompt(teacher_tokenizer):
    role = teacher_role(teacher_tokenizer, QUESTION, 10_000)
    prompts = encode(role, [record(sample()), record(sample(diagnoses=[], age=None, sex=None))])
    table = table_of([5, 3], prompts)
    assert table.sample_id_N.tolist() == [5, 3]
    for i, prompt in enumerate(prompts):
        assert np.array_equal(table.row(i), prompt.tokens.ids)
        tokens, kinds, visits = table.spans(i)
        assert np.array_equal(tokens, prompt.span_tokens)
        assert [table.kinds[kind] for kind in kinds] == [KINDS[kind] for kind in prompt.span_kinds]
        assert np.array_equal(visits, prompt.span_visits)
