"""Tables of vectors: by key in any order, whole or not at all; whitening as derived."""

import os
import stat

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckd_dist.studies.concepts import tables
from ckd_dist.studies.concepts.tables import Table, draw, key_of, keys_of, random_table
from ckd_dist.studies.concepts.whiten import fit_whitening


def concepts(*said: tuple[str, str]) -> pl.DataFrame:
    return pl.DataFrame(said, schema=["system", "text"], orient="row")


def table(num: int = 7, width: int = 3) -> Table:
    keys_V = keys_of(concepts(*((f"system {i % 2}", f"phrase {i}") for i in range(num))))
    return Table(keys_V, np.random.default_rng(0).normal(size=(num, width)).astype(np.float32), {"name": "fake"})


@given(st.permutations(range(7)), st.integers(0, 7))
def test_any_subset_in_any_order_gets_its_own_vectors(order, num):
    whole, chosen = table(), list(order)[:num]
    assert np.array_equal(whole.rows_of(whole.keys_V[chosen]), whole.vectors_VD[chosen])


def test_a_key_that_is_not_there_is_refused_with_a_count():
    whole = table()
    wanted = np.array([whole.keys_V[0], key_of("ICD9", "Fever"), key_of("ICD9", "Cough")])
    with pytest.raises(ValueError, match="lacks 2 of 3 concepts"):
        whole.rows_of(wanted)
    with pytest.raises(ValueError, match="lacks 3 of 3"):
        Table(np.zeros(0, np.int64), np.zeros((0, 3), np.float32)).rows_of(wanted)


def test_a_key_tells_system_and_text_apart():
    assert len({key_of("a", "b"), key_of("b", "a"), key_of("ab", ""), key_of("a", "B")}) == 4
    keys_V = keys_of(concepts(("a", "b"), ("b", "a"), ("a", "b")))
    assert keys_V[0] == keys_V[2] != keys_V[1] and keys_V.dtype == np.int64


def test_two_concepts_of_one_key_are_refused_without_their_words(monkeypatch):
    monkeypatch.setattr(tables, "key_of", lambda system, text: len(text))  # a hash that collides
    with pytest.raises(ValueError, match="1 of 2 concepts") as refused:
        keys_of(concepts(("a", "fever"), ("a", "cough")))
    assert "fever" not in str(refused.value)


def test_what_is_written_is_read_back_by_its_owner_alone(tmp_path):
    whole, path = table(), tmp_path / "embeddings" / "fake.safetensors"
    whole.save(path)
    first = path.read_bytes()
    whole.save(path)
    again = Table.open(path)
    assert path.read_bytes() == first
    assert np.array_equal(again.keys_V, whole.keys_V) and np.array_equal(again.vectors_VD, whole.vectors_VD)
    assert again.metadata == {"name": "fake"} and again.width == 3
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["fake.safetensors"]


def test_a_table_that_is_cut_short_or_another_file_is_refused(tmp_path):
    path = tmp_path / "fake.safetensors"
    table().save(path)
    whole = path.read_bytes()
    for content in (whole[:-4], whole[:20], b"", b"{}" * 40):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="no table"):
            Table.open(path)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "fake.safetensors"
    table().save(path)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        table(5).save(path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["fake.safetensors"]


@pytest.mark.parametrize(
    ("keys", "vectors", "words"),
    [([1, 1], [[0.0], [1.0]], "two vectors"), ([1, 2], [[0.0], [np.nan]], "1 of 2"), ([1], [[0.0], [1.0]], "1 keys")],
)
def test_a_table_that_is_none_is_refused(keys, vectors, words):
    with pytest.raises(ValueError, match=words):
        Table(np.array(keys), np.array(vectors, np.float32))


def test_a_random_vector_is_a_function_of_key_and_seed_alone():
    keys_V = table(50).keys_V
    whole, part = random_table(keys_V, 16, seed=3), random_table(keys_V[::-1][:9], 16, seed=3)
    assert np.array_equal(whole.rows_of(keys_V[::-1][:9]), part.vectors_VD)
    assert not np.array_equal(random_table(keys_V, 16, seed=4).vectors_VD, whole.vectors_VD)
    assert np.allclose(np.linalg.norm(whole.vectors_VD, axis=1), 1)


def test_drawn_numbers_are_standard_normal_and_unrelated():
    drawn_VD = draw(np.arange(4000), 8, seed=0)
    assert np.abs(drawn_VD.mean(0)).max() < 0.06 and np.abs(drawn_VD.std(0) - 1).max() < 0.04
    assert np.abs(np.corrcoef(drawn_VD.T) - np.eye(8)).max() < 0.06
    assert abs(np.corrcoef(drawn_VD[:-1].ravel(), drawn_VD[1:].ravel())[0, 1]) < 0.03
    assert (np.abs(drawn_VD) > 1.96).mean() == pytest.approx(0.05, abs=0.005)


def crooked(num: int, width: int, seed: int = 0) -> np.ndarray:
    """Vectors with a mean, and with directions of very different variance."""
    random = np.random.default_rng(seed)
    return 5 + random.normal(size=(num, width)) * np.logspace(0, 1, width) @ random.normal(size=(width, width))


def test_without_whitening_only_the_scale_changes():
    vectors_VD = crooked(60, 5)
    moved_VD = fit_whitening(vectors_VD, None).apply(vectors_VD)
    ratio_VD = moved_VD / vectors_VD
    assert np.allclose(ratio_VD, ratio_VD[0, 0], rtol=1e-4)
    assert np.sqrt((moved_VD**2).mean()) == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("directions", [1, 3, 5])
def test_whitened_directions_are_the_largest_uncorrelated_and_equally_long(directions):
    vectors_VD = crooked(80, 5)
    moved_VM = fit_whitening(vectors_VD, directions).apply(vectors_VD)
    assert np.allclose(np.cov(moved_VM.T, bias=True), np.eye(directions), atol=1e-4)
    assert np.allclose(moved_VM.mean(0), 0, atol=1e-4)
    left, _, _ = np.linalg.svd(vectors_VD - vectors_VD.mean(0), full_matrices=False)  # the same by another way
    assert np.allclose(
        np.abs(left[:, :directions].T @ moved_VM),
        np.abs(np.diag(np.diag(left[:, :directions].T @ moved_VM))),
        atol=1e-3,
    )


def test_whitening_is_fitted_once_and_has_one_sign():
    source_VD, target_VD = crooked(80, 5), crooked(9, 5, seed=1)
    fitted = fit_whitening(source_VD, 4)
    shuffled = fit_whitening(source_VD[np.random.default_rng(2).permutation(80)], 4)
    assert np.allclose(fitted.apply(target_VD), shuffled.apply(target_VD), atol=1e-5)
    assert np.allclose(fitted.apply(target_VD)[:4], fitted.apply(target_VD[:4]))  # no look at the others


def test_more_directions_than_there_are_is_refused_with_both_numbers():
    with pytest.raises(ValueError, match=r"whiten=4 .* 3 training concepts .* 2:"):
        fit_whitening(crooked(3, 5), 4)
    with pytest.raises(ValueError, match="none"):
        fit_whitening(np.zeros((0, 5)), 2)
    assert np.array_equal(fit_whitening(np.zeros((0, 5)), None).apply(np.ones((2, 5))), np.ones((2, 5)))
