"""Fast inference gives the plain forward's logits, in the order asked for."""

import numpy as np
import pytest
import torch

from ckd_dist.models.encoder import build_student
from ckd_dist.models.predict import MIN_PREFIX, predict_logits, shared_prefix
from ckd_dist.models.teacher import build_answerer, build_classifier
from tests.models.small import ADAPTER, NAMES, Rows, random_rows, shake


@pytest.fixture(scope="module")
def teacher(teacher_base):
    model = build_classifier(teacher_base, NAMES, ADAPTER)
    shake(model)
    return model.eval()


def one_by_one(model, tokens, rows):
    with torch.no_grad():
        ids = [torch.as_tensor(tokens.row(row))[None].long() for row in rows]
        return torch.cat([model.model(input_ids=row).logits for row in ids]).numpy()


@pytest.mark.parametrize("micro_tokens", [1, 100, 10_000])
@pytest.mark.parametrize("prefix", [0, MIN_PREFIX - 1, MIN_PREFIX, 31])
def test_teacher_logits_with_and_without_a_shared_prefix(teacher, micro_tokens, prefix):
    tokens = random_rows(23, 1, 50, prefix=prefix)
    rows = np.random.default_rng(1).permutation(23)[:17]
    got = predict_logits(teacher, tokens, rows, micro_tokens=micro_tokens, pad_id=0)
    np.testing.assert_allclose(got, one_by_one(teacher, tokens, rows), atol=1e-5)
    assert got.dtype == np.float32


def test_student_logits(student_base):
    model = build_student(student_base, NAMES)
    shake(model)
    tokens = random_rows(9, 3, 30, prefix=20)
    model.train()  # dropout must be off inside, and back on after
    got = predict_logits(model, tokens, np.arange(9), micro_tokens=90, pad_id=0)
    assert model.training
    np.testing.assert_allclose(got, one_by_one(model.eval(), tokens, range(9)), atol=1e-5)


def test_each_row_is_read_once_in_batches_within_the_budget(teacher):
    """Counts what the model's backbone is given: no row twice, padding small, no vocabulary projection to run."""
    tokens, seen = random_rows(40, 5, 60, prefix=20), []
    hook = teacher.plain.base_model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["input_ids"].shape), with_kwargs=True
    )
    predict_logits(teacher, tokens, np.arange(40), micro_tokens=300, pad_id=0)
    hook.remove()
    assert seen[0] == (1, 20) and sum(size for size, _ in seen[1:]) == 40
    assert all(size * length <= 300 for size, length in seen[1:])
    assert sum(size * length for size, length in seen[1:]) < 1.2 * (tokens.lengths - 20).sum()
    assert not hasattr(teacher.plain, "lm_head")


def test_shared_prefix_is_exact():
    rng = np.random.default_rng(0)
    for shared in (0, 1, 7):
        start = rng.integers(5, 9, shared)
        tokens = Rows([np.concatenate([start, [n], rng.integers(5, 9, 3)]) for n in (100, 101, 100)])
        assert shared_prefix(tokens, np.arange(3)) == shared
    same = Rows([np.arange(5), np.arange(5), np.arange(4)])
    assert shared_prefix(same, np.arange(3)) == 3  # every row keeps a token of its own
    assert shared_prefix(same, np.array([1])) == 0


def test_prefix_that_ends_inside_the_middle_row_only(teacher):
    """First and last agree for longer than the middle one does."""
    long, short = np.arange(10, 60), np.arange(10, 60)
    short[30] = 7
    tokens = Rows([long, short, long.copy()])
    got = predict_logits(teacher, tokens, np.arange(3), micro_tokens=500, pad_id=0)
    np.testing.assert_allclose(got, one_by_one(teacher, tokens, range(3)), atol=1e-5)


def test_no_rows_are_no_trouble(teacher):
    tokens = random_rows(6, 5, 20)
    assert predict_logits(teacher, tokens, np.array([], int), micro_tokens=9, pad_id=0).shape == (0, len(NAMES))


def test_answerers_do_not_label(teacher_base):
    model = build_answerer(teacher_base, ADAPTER)
    with pytest.raises(ValueError, match="classif"):
        predict_logits(model, random_rows(2, 3, 4), np.arange(2), micro_tokens=9, pad_id=0)
