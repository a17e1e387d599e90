"""Test 27: every regime touches exactly the parameters that it names; seeds begin anew; subsets are nested."""

import numpy as np
import polars as pl
import pytest
import torch

from ckd_dist.studies.concepts.patients import build_patient, choose_trainable, load_weights, weights_of
from ckd_dist.studies.concepts.regimes import Regime, SiteSplits, subset, training_cases
from tests.studies.concepts.fakes import KINDS, K, codes, logits, random_cases, settings, train, trained, vectors

REGIMES: tuple[Regime, ...] = Regime.__args__
HEAD = {"classifier.weight", "classifier.bias"}


def everything(model) -> dict[str, torch.Tensor]:
    """Parameters and vectors, whether in the state dict or not."""
    return {n: t.detach().clone() for n, t in [*model.named_parameters(), *model.named_buffers()]}


def touched(model, regime) -> set[str]:
    choose_trainable(model, regime)
    before = everything(model)
    if regime != "shared":
        train(model, seed=5, num_steps=8)
    after = everything(model)
    return {name for name in after if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("reads", ["vectors", "codes"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("regime", REGIMES)
def test_a_regime_touches_exactly_what_it_names(regime, kind, reads):
    model = build_patient(settings(kind), K, vectors() if reads == "vectors" else codes(), 0)
    own = {name for name, _ in model.named_parameters()}
    expected = {"shared": set(), "frozen": HEAD, "thawed": own | ({"reads.rows"} if reads == "vectors" else set())}
    assert "reads.rows" not in own
    assert touched(model, regime) == expected.get(regime, own)


@pytest.mark.parametrize("regime", REGIMES)
def test_choose_trainable_names_what_may_be_trained(regime):
    model = build_patient(settings("max"), K, vectors(), 0)
    assert choose_trainable(model, regime) == [name for name, p in model.named_parameters() if p.requires_grad]


def test_thawing_leaves_the_given_table_and_other_models_alone():
    reads = vectors()
    kept, other = reads.vectors_VD.copy(), build_patient(settings("max"), K, reads, 0)
    model, cases = build_patient(settings("max"), K, reads, 0), random_cases(9)
    before = logits(other, cases)
    touched(model, "thawed")
    assert np.array_equal(reads.vectors_VD, kept) and torch.equal(logits(other, cases), before)
    assert not model.reads.rows[0].any()  # padding stays nothing


def tuned(source: dict[str, torch.Tensor], seed: int):
    """As a grid does it: built, loaded, tuned, trained; for every seed anew."""
    model = build_patient(settings("max"), K, vectors(), seed)
    load_weights(model, source)
    choose_trainable(model, "full")
    train(model, seed)
    return logits(model, random_cases(12, seed=99))


def test_seeds_begin_anew_in_any_order():
    source = weights_of(trained("max", vectors()))
    forward = {seed: tuned(source, seed) for seed in (0, 1, 2)}
    backward = {seed: tuned(source, seed) for seed in (2, 0, 1)}
    assert all(torch.equal(forward[seed], backward[seed]) for seed in forward)
    assert not torch.equal(forward[0], forward[1])


def cases(num: int = 400) -> pl.DataFrame:
    random = np.random.default_rng(3)
    subject = random.integers(0, 300, size=num)
    split = np.array(["train", "train", "tuning", "held_out"])[subject % 4]
    site = np.where(subject % 3 == 0, "south", np.where(subject % 3 == 1, "north", "east"))
    return pl.DataFrame({"subject_id": subject - 150, "site": site, "split": split})


def splits_of(frame, sites):
    """Rows of these sites, of the frame's own order."""
    here = frame.with_row_index("row").filter(pl.col("site").is_in(sites))
    rows = {split: here.filter(split=split)["row"].to_numpy().astype(np.int64) for split in ("train", "tuning")}
    return SiteSplits(**rows, subject_N=frame["subject_id"].to_numpy())


NORTH, SOUTH = splits_of(cases(), ["north"]), splits_of(cases(), ["south"])


def test_site_splits_are_the_rows_of_their_site_and_split():
    table = cases().with_row_index()
    for split, rows in (("train", NORTH.train), ("tuning", NORTH.tuning)):
        expected = table.filter((pl.col("site") == "north") & (pl.col("split") == split))["index"].to_list()
        assert rows.tolist() == expected
    both = splits_of(cases(), ["north", "south"])
    assert set(both.train) == {*NORTH.train, *SOUTH.train}


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("size", [None, 20])
def test_a_regime_learns_from_the_cases_that_it_names(regime, size):
    learned = training_cases(regime, NORTH, SOUTH, size, seed=1)
    num_target = 0 if regime == "shared" else size or len(SOUTH.train)
    num_source = len(NORTH.train) if regime in ("pooled", "adversarial") else 0
    assert len(learned.train) == len(set(learned.train)) == num_source + num_target
    assert set(learned.train) - set(SOUTH.train) == (set(NORTH.train) if num_source else set())
    may_tune = {"shared": set(), "adversarial": set(NORTH.tuning), "pooled": {*NORTH.tuning, *SOUTH.tuning}}
    assert set(learned.tuning) <= may_tune.get(regime, set(SOUTH.tuning))
    assert regime == "shared" or len(learned.tuning)
    held_out = cases().with_row_index().filter(pl.col("split") == "held_out")["index"]
    assert not set(learned.train) & set(held_out) and not set(learned.tuning) & set(held_out)


def test_fewer_cases_are_a_part_of_more_and_tuning_shrinks_with_them():
    whole = training_cases("local", NORTH, SOUTH, None, seed=4)
    last = None
    for size in (len(whole.train), 30, 20, 10, 1):
        learned = training_cases("local", NORTH, SOUTH, size, seed=4)
        assert len(learned.train) == size
        expected = max(1, round(len(whole.tuning) * size / len(whole.train)))
        assert len(learned.tuning) == expected
        if last is not None:
            assert set(learned.train) < set(last.train) and set(learned.tuning) <= set(last.tuning)
        last = learned
    assert not np.array_equal(
        training_cases("local", NORTH, SOUTH, 20, seed=4).train, training_cases("local", NORTH, SOUTH, 20, seed=5).train
    )
    with pytest.raises(ValueError, match=f"{len(whole.train) + 1} training cases"):
        training_cases("local", NORTH, SOUTH, len(whole.train) + 1)


def test_a_choice_of_cases_takes_whole_subjects_but_the_last():
    subject_N = SOUTH.subject_N
    chosen = subset(SOUTH.train, subject_N, 25, seed=0)
    left = np.setdiff1d(SOUTH.train, chosen)
    assert len(np.intersect1d(subject_N[chosen], subject_N[left])) <= 1
    assert len(np.unique(subject_N[chosen])) < 25  # some have two


def test_a_source_of_the_others_choice_does_not_matter():
    one = training_cases("frozen", NORTH, SOUTH, 20, seed=0)
    other = training_cases("full", splits_of(cases(), ["east"]), SOUTH, 20, seed=0)
    assert np.array_equal(one.train, other.train)  # every regime tunes on the same cases: paired
