"""Fast tagging gives the plain model's probabilities of every word, in the order of the words."""

import numpy as np
import pytest
import torch

from ckd_dist.models.encoder import build_student
from ckd_dist.models.teacher import TeacherOptions
from ckd_dist.studies.ner.tagger import build_tag_teacher, build_tagger
from ckd_dist.studies.ner.word_scores import predict_units
from tests.models.small import LORA, TAGS, WordRows, random_windows, shake


@pytest.fixture(scope="module")
def tagger(student_base):
    model = build_tagger(student_base, TAGS)
    shake(model)
    return model.eval()


def one_by_one(model, windows, position):
    """Window after window, word after word."""
    words, place_U = [], windows.first_U if position == "first" else windows.last_U
    with torch.no_grad():
        for i, row in enumerate(windows.ids):
            scores = model.model(input_ids=torch.as_tensor(row)[None].long()).logits[0].log_softmax(1)
            words += [scores[place] for place in place_U[windows.unit_offsets_W1[i] : windows.unit_offsets_W1[i + 1]]]
    return torch.stack(words).numpy()


@pytest.mark.parametrize("micro_tokens", [1, 100, 10_000])
@pytest.mark.parametrize("position", ["first", "last"])
def test_every_word_once_in_order(tagger, micro_tokens, position):
    windows = random_windows(23, 2, 50)
    got = predict_units(tagger, windows, micro_tokens=micro_tokens, pad_id=0, position=position)
    assert got.dtype == np.float32 and got.shape == (len(windows.first_U), len(TAGS))
    np.testing.assert_allclose(got, one_by_one(tagger, windows, position), atol=1e-5)


def test_a_causal_teacher(teacher_base):
    model = build_tag_teacher(teacher_base, TAGS, TeacherOptions("lora", LORA, torch.float32))
    shake(model)
    windows = random_windows(9, 3, 30)
    got = predict_units(model, windows, micro_tokens=90, pad_id=0, position="last")
    assert model.training  # dropout was off inside, and is back on
    np.testing.assert_allclose(got, one_by_one(model.eval(), windows, "last"), atol=1e-5)


def test_a_chain_gives_its_marginals(student_base):
    """Of each window on its own: words of another do not come into it."""
    model = build_tagger(student_base, TAGS, crf=True)
    shake(model)
    windows = random_windows(9, 3, 30)
    together, alone = (predict_units(model, windows, micro_tokens=n, pad_id=0) for n in (300, 1))
    np.testing.assert_allclose(together, alone, atol=1e-4)
    np.testing.assert_allclose(np.exp(together).sum(1), 1, atol=1e-4)
    plain = one_by_one(model.eval(), windows, "first")
    assert np.abs(together - plain).max() > 0.1


def test_batches_stay_within_the_budget_and_no_window_is_read_twice(tagger):
    windows, seen = random_windows(40, 5, 60), []
    hook = tagger.plain.base_model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs.get("input_ids", args[0] if args else None).shape),
        with_kwargs=True,
    )
    predict_units(tagger, windows, micro_tokens=300, pad_id=0)
    hook.remove()
    assert sum(size for size, _ in seen) == 40 and all(size * length <= 300 for size, length in seen)
    assert sum(size * length for size, length in seen) < 1.2 * windows.lengths.sum()


def test_bf16_autocast_is_near_and_no_windows_are_no_trouble(tagger):
    windows = random_windows(6, 5, 20)
    exact = predict_units(tagger, windows, micro_tokens=99, pad_id=0)
    with torch.autocast("cpu", torch.bfloat16):
        near = predict_units(tagger, windows, micro_tokens=99, pad_id=0)
    assert 0 < np.abs(exact - near).max() < 0.3
    none = WordRows([], np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int32))
    assert predict_units(tagger, none, micro_tokens=9, pad_id=0).shape == (0, len(TAGS))


def test_a_window_that_owns_no_word(tagger):
    windows = random_windows(3, 5, 9)
    cut = slice(int(windows.unit_offsets_W1[2]))
    offsets = np.append(windows.unit_offsets_W1[:3], windows.unit_offsets_W1[2])
    fewer = WordRows(windows.ids, offsets, windows.first_U[cut], windows.last_U[cut])
    whole, got = (predict_units(tagger, w, micro_tokens=1, pad_id=0) for w in (windows, fewer))
    np.testing.assert_array_equal(got, whole[cut])


def test_windows_that_do_not_own_every_word(tagger):
    windows = random_windows(3, 5, 9)
    windows.unit_offsets_W1 = windows.unit_offsets_W1 + 1
    with pytest.raises(ValueError, match="words have a place"):
        predict_units(tagger, windows, micro_tokens=9, pad_id=0)


def test_other_heads_tag_nothing(student_base):
    with pytest.raises(ValueError, match="not for tags"):
        predict_units(build_student(student_base, ("a",)), random_windows(2, 3, 4), micro_tokens=9, pad_id=0)
