"""The label model on synthetic labelers whose accuracies are known: it must find them without seeing the truth."""

import json

import numpy as np
import pytest

from ckd_dist.notes.note import Note, best_tags, decode
from ckd_dist.studies.ner.labelers.labelled import FLOOR, floored
from ckd_dist.studies.ner.labelers.labelmodel import fit_label_model

TYPES = ["disease", "symptom"]
COLUMNS = 5
LENGTH = 200  # words a note

GOOD, FAIR, POOR, WORST = (0.9, 0.01), (0.7, 0.04), (0.6, 0.05), (0.5, 0.08)  # share found, false ones a word outside


def truth(random, num_notes: int) -> np.ndarray:
    """Tags [N, LENGTH] of mentions of one to three words, one in ten words or so begins one."""
    tags_NU = np.zeros((num_notes, LENGTH), int)
    for tags_U in tags_NU:
        unit = int(random.geometric(0.12))
        while unit + 3 < LENGTH:
            length, begin = int(random.integers(1, 4)), 1 + 2 * int(random.integers(len(TYPES)))
            tags_U[unit], tags_U[unit + 1 : unit + length] = begin, begin + 1
            unit += length + int(random.geometric(0.12))
    return tags_NU


def labeler(random, tags_NU, found: float, false: float, confidence: float = 0.9, only: int | None = None):
    """Finds a share of the mentions, whole, and makes up others of one word; soft tags [U, K]."""
    said_NU = np.zeros_like(tags_NU)
    for tags_U, said_U in zip(tags_NU, said_NU, strict=True):
        mention_U = np.cumsum(tags_U % 2 == 1)  # which mention a word belongs to, if any
        kept_M = random.random(1 + mention_U[-1]) < found
        said_U[:] = np.where((tags_U > 0) & kept_M[mention_U], tags_U, 0)
        invented_U = (tags_U == 0) & (random.random(LENGTH) < false)
        said_U[invented_U] = 1 + 2 * random.integers(len(TYPES), size=invented_U.sum())
    if only is not None:
        said_NU[(said_NU != 1 + 2 * only) & (said_NU != 2 + 2 * only)] = 0
    soft_UK = confidence * np.eye(COLUMNS)[said_NU.ravel()]
    soft_UK[:, 0] += 1 - confidence
    return floored(soft_UK)


def strict_f1(tags_NU, soft_UK, kinds=TYPES) -> float:
    correct = wanted = said = 0
    start_U = 5 * np.arange(LENGTH, dtype=np.int32)
    note = Note("", start_U, start_U + 4, np.zeros(LENGTH, np.int32))
    for tags_U, soft_NK in zip(tags_NU, soft_UK.reshape(len(tags_NU), LENGTH, -1), strict=True):
        gold, found = (
            {mention for mention in decode(note, tags, TYPES) if mention.type in kinds}
            for tags in (tags_U, best_tags(np.log(soft_NK)))
        )
        correct, wanted, said = correct + len(gold & found), wanted + len(gold), said + len(found)
    return 2 * correct / (wanted + said)


def lengths(tags_NU) -> list[int]:
    return [LENGTH] * len(tags_NU)


@pytest.mark.parametrize("quality", [(GOOD, FAIR, POOR, WORST), (GOOD, FAIR, POOR), (FAIR, FAIR, FAIR)])
def test_it_beats_every_labeler_and_the_majority(quality):
    random = np.random.default_rng(0)
    tags_NU = truth(random, 100)
    soft_LUK = np.array([labeler(random, tags_NU, *each) for each in quality])
    model = fit_label_model(soft_LUK, lengths(tags_NU))
    alone = max(strict_f1(tags_NU, soft_UK) for soft_UK in soft_LUK)
    majority = strict_f1(tags_NU, soft_LUK.mean(0))
    learned = strict_f1(tags_NU, model.posterior(soft_LUK, lengths(tags_NU)))
    assert learned > max(alone, majority) + 0.01


def test_labelers_that_miss_most_do_not_make_it_take_short_mentions_for_noise():
    """A third or so is found by each, little of it false: without the prior on steps words by themselves are lost."""
    random = np.random.default_rng(0)
    tags_NU = truth(random, 100)
    soft_LUK = np.array([labeler(random, tags_NU, *each) for each in ((0.4, 0.002), (0.3, 0.002), (0.35, 0.02))])
    learned_UK = fit_label_model(soft_LUK, lengths(tags_NU)).posterior(soft_LUK, lengths(tags_NU))
    alone = max(strict_f1(tags_NU, soft_UK) for soft_UK in soft_LUK)
    assert strict_f1(tags_NU, learned_UK) > alone + 0.1


def test_what_it_learned_holds_on_notes_it_has_not_seen():
    random = np.random.default_rng(1)
    tags_NU = truth(random, 120)
    soft_LUK = np.array([labeler(random, tags_NU, *each) for each in (GOOD, FAIR, POOR)])
    model = fit_label_model(soft_LUK[:, : 80 * LENGTH], lengths(tags_NU[:80]))
    unseen_LUK = soft_LUK[:, 80 * LENGTH :]
    learned = strict_f1(tags_NU[80:], model.posterior(unseen_LUK, lengths(tags_NU[80:])))
    assert learned > max(strict_f1(tags_NU[80:], soft_UK) for soft_UK in unseen_LUK)


def test_it_recovers_the_planted_confusions():
    """A labeler that is sure emits B where B is true as often as it finds mentions, and from O its false ones."""
    random = np.random.default_rng(2)
    tags_NU = truth(random, 150)
    quality = (GOOD, FAIR, POOR, WORST)
    soft_LUK = np.array([labeler(random, tags_NU, *each, confidence=1.0) for each in quality])
    model = fit_label_model(soft_LUK, lengths(tags_NU))
    for confusion_KK, (found, false) in zip(model.confusion_LKK, quality, strict=True):
        assert np.allclose(confusion_KK[[1, 2, 3, 4], [1, 2, 3, 4]], found, atol=0.07)
        assert np.allclose(confusion_KK[0, [1, 3]], false / 2, atol=0.01)
        assert np.allclose(confusion_KK.sum(1), 1)


def test_em_never_falls_and_no_step_into_a_lone_i_is_learned():
    random = np.random.default_rng(3)
    tags_NU = truth(random, 30)
    soft_LUK = np.array([labeler(random, tags_NU, *each) for each in (FAIR, POOR, WORST)])
    soft_LUK[2] = labeler(random, tags_NU, *WORST, only=1)
    model = fit_label_model(soft_LUK, lengths(tags_NU))
    assert len(model.history) > 3
    assert np.all(np.diff(model.history) > -1e-6)
    assert model.start_K[[2, 4]].tolist() == [0, 0]
    for words in (10, 30, 100):  # soft tags without sense, so few that the prior weighs more than they do
        few_LUK = random.dirichlet(np.ones(COLUMNS), size=(2, words))
        assert np.all(np.diff(fit_label_model(few_LUK, [words]).history) > -1e-6)
    barred = [(0, 2), (0, 4), (1, 4), (2, 4), (3, 2), (4, 2)]
    assert [model.transition_KK[step] for step in barred] == [0] * 6


def test_its_posterior_is_what_a_sum_over_all_sequences_gives():
    """Three words, five tags: all 125 sequences by hand."""
    random = np.random.default_rng(4)
    tags_NU = truth(random, 20)
    soft_LUK = np.array([labeler(random, tags_NU, *each) for each in (GOOD, POOR)])
    model = fit_label_model(soft_LUK, lengths(tags_NU))
    soft_LUK = random.dirichlet(np.ones(COLUMNS), size=(2, 3)).astype(np.float32)
    expected_UK = np.zeros((3, COLUMNS))
    for path in np.ndindex(5, 5, 5):
        weight = model.start_K[path[0]] * model.transition_KK[path[0], path[1]] * model.transition_KK[path[1], path[2]]
        for unit, tag in enumerate(path):
            for soft_UK, confusion_KK in zip(soft_LUK, model.confusion_LKK, strict=True):
                weight *= np.prod(confusion_KK[tag] ** soft_UK[unit])
        for unit, tag in enumerate(path):
            expected_UK[unit, tag] += weight
    expected_UK /= expected_UK.sum(1, keepdims=True)
    assert np.allclose(model.posterior(soft_LUK, [3]), expected_UK, atol=2 * COLUMNS * FLOOR)


@pytest.mark.parametrize("quality", [GOOD, FAIR, WORST])
def test_one_labeler_alone_is_returned_as_it_is(quality):
    random = np.random.default_rng(5)
    tags_NU = truth(random, 40)
    soft_LUK = labeler(random, tags_NU, *quality)[None]
    learned_UK = fit_label_model(soft_LUK, lengths(tags_NU)).posterior(soft_LUK, lengths(tags_NU))
    assert np.mean(learned_UK.argmax(1) == soft_LUK[0].argmax(1)) > 0.995


def test_a_labeler_that_never_says_a_type_is_no_evidence_against_it():
    """Two find diseases and symptoms; three more look for diseases only: symptoms must not be voted away."""
    random = np.random.default_rng(6)
    tags_NU = truth(random, 80)
    both = [labeler(random, tags_NU, *GOOD), labeler(random, tags_NU, *GOOD)]
    diseases = [labeler(random, tags_NU, *FAIR, only=0) for _ in range(3)]
    without_LUK, with_LUK = np.array(both), np.array(both + diseases)
    assert strict_f1(tags_NU, with_LUK.mean(0), ["symptom"]) == 0  # by majority they would be
    model = fit_label_model(with_LUK, lengths(tags_NU))
    learned_UK = model.posterior(with_LUK, lengths(tags_NU))
    before_UK = fit_label_model(without_LUK, lengths(tags_NU)).posterior(without_LUK, lengths(tags_NU))
    assert strict_f1(tags_NU, learned_UK, ["symptom"]) > strict_f1(tags_NU, before_UK, ["symptom"]) - 0.02
    assert strict_f1(tags_NU, learned_UK, ["disease"]) > strict_f1(tags_NU, before_UK, ["disease"])
    for confusion_KK in model.confusion_LKK[2:]:
        assert np.array_equal(confusion_KK[3], confusion_KK[0])
        assert np.array_equal(confusion_KK[4], confusion_KK[0])


def test_rows_are_distributions_empty_notes_do_no_harm_and_its_json_has_its_arrays():
    random = np.random.default_rng(7)
    tags_NU = truth(random, 10)
    soft_LUK = np.array([labeler(random, tags_NU, *each) for each in (GOOD, POOR)])
    model = fit_label_model(soft_LUK, [0, *lengths(tags_NU), 0])
    learned_UK = model.posterior(soft_LUK, [0, *lengths(tags_NU)])
    assert learned_UK.dtype == np.float32
    assert learned_UK.min() > 0.999 * FLOOR
    assert np.allclose(learned_UK.sum(1), 1, atol=1e-6)
    plain = json.loads(model.to_json())
    for name in ("start_K", "transition_KK", "confusion_LKK"):
        assert np.array_equal(plain[name], getattr(model, name)), name
    assert model.posterior(soft_LUK[:, :0], [0]).shape == (0, COLUMNS)


def test_what_does_not_fit_is_refused():
    soft_LUK = np.full((2, 6, 5), 0.2, np.float32)
    model = fit_label_model(soft_LUK, [6])
    with pytest.raises(ValueError, match="6 words for notes of 5"):
        fit_label_model(soft_LUK, [5])
    with pytest.raises(ValueError, match="no words"):
        fit_label_model(soft_LUK[:, :0], [0])
    with pytest.raises(ValueError, match=r"1 \+ 2 \* types"):
        fit_label_model(soft_LUK[:, :, :4], [6])
    with pytest.raises(ValueError, match="3 labelers and 5 columns: the model was fitted on 2 and 5"):
        model.posterior(np.full((3, 6, 5), 0.2, np.float32), [6])
