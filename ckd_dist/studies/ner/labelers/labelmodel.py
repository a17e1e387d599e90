"""A label model that needs no gold: it learns how reliable each labeler is from where the labelers agree.

    L labelers, U words of all notes one after another, K tags (columns), N notes, T types

A hidden Markov model over words, skweak's (Lison et al. 2020, 2021): a state is the true BIO tag, an I follows only a B
or I of its type, and given the state every labeler emits its tag on its own, by its own confusion matrix.  EM fits it.
A soft tag counts for each tag by its probability.  The majority vote starts it, and a Dirichlet prior that a labeler is
mostly right keeps states from swapping names; another holds the steps between tags near the vote's, or EM explains
mentions of one word away as noise.  A labeler that never predicts a type emits in that type's states what it emits
outside of mentions, so its silence counts neither for nor against.  A labeler that knows nothing of a word
(labelled.py) emits nothing there; where none that predicts a type knows it, and no other type is likely, it stays
unknown.  One labeler alone shows nothing of its own accuracy: its own tags, which are the vote, are kept.

hmmlearn's BaseHMM runs the passes and the iterations; it is in limited maintenance, with wheels up to Python 3.13.
skweak itself needs spaCy and is no longer maintained; Snorkel's open library has stopped, and has no sequences.
Cost: 200,000 words of four labelers take about a second.  Labelers that err together (two models of one family, a
dictionary and a model that learned from it) are believed too much: that is the price of having no gold.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from hmmlearn.base import BaseHMM

from ckd_dist.studies.ner.labelers.labelled import floored, known_words, leave_unknown

PRIOR_WORDS = 20.0  # the prior on a row of a confusion matrix weighs as much as this many words
RIGHT = 0.8  # share of that on the true tag; half of the rest on O, half on all
VOTE_WEIGHT = 1.0  # the prior on steps between tags: how often each of the vote's own steps counts
ITERATIONS = 100
TOLERANCE = 1e-5  # nats a word: less gain than this, and it has converged


@dataclass(frozen=True, eq=False)
class LabelModel:
    """What was learned.  confusion_LKK: how often a labeler emits a tag (last axis) where another is true.

    history: a value for each pass of EM: log-likelihood plus logarithm of the prior, which is what EM raises.
    """

    start_K: np.ndarray
    transition_KK: np.ndarray
    confusion_LKK: np.ndarray
    history: tuple[float, ...]

    def posterior(self, probability_LUK: np.ndarray, lengths_N: Sequence[int]) -> np.ndarray:
        """Return how likely each word's tags are, given all labelers' tags of its note, float32 [U, K].

        Rows sum to 1 and have finite logarithms.  Raises ValueError where shapes do not fit.
        """
        lengths_N = _check(probability_LUK, lengths_N)
        if probability_LUK.shape[::2] != self.confusion_LKK.shape[:2]:
            raise ValueError(
                f"soft tags of {probability_LUK.shape[0]} labelers and {probability_LUK.shape[2]} columns: the model "
                f"was fitted on {self.confusion_LKK.shape[0]} and {self.confusion_LKK.shape[1]}"
            )
        if probability_LUK.shape[1] == 0:
            return np.zeros(probability_LUK.shape[1:], np.float32)
        hmm = _Labelers(self.confusion_LKK)
        hmm.startprob_, hmm.transmat_ = self.start_K, self.transition_KK
        seen_LUK = _seen(probability_LUK)
        joined_UK = floored(hmm.predict_proba(_side_by_side(seen_LUK), lengths_N))
        predicts_LT = (self.confusion_LKK[:, 1::2] != self.confusion_LKK[:, :1]).any(2)  # else its rows are tied to O's
        known_LU = seen_LUK.any(2)
        known_TU = np.array([known_LU[predicts_L | ~predicts_L.any()].any(0) for predicts_L in predicts_LT.T])
        return leave_unknown(joined_UK, known_TU)

    def to_json(self) -> str:
        """Return the model as JSON: its arrays under their names."""
        return json.dumps({name: np.asarray(value).tolist() for name, value in vars(self).items()})


def fit_label_model(probability_LUK: np.ndarray, lengths_N: Sequence[int]) -> LabelModel:
    """Learn every labeler's confusions from soft tags alone.  lengths_N: words of each note.

    Raises ValueError where shapes do not fit or there is no word.
    """
    lengths_N = _check(probability_LUK, lengths_N)
    num_labelers, num_words, num_columns = probability_LUK.shape
    if num_words == 0:
        raise ValueError("no words to learn from: give notes that labelers have labelled")
    probability_LUK = _seen(probability_LUK)
    predicts_LT = _predicts(probability_LUK)
    tied_LK = np.array([_tied(predicts_T) for predicts_T in predicts_LT])
    prior_LKK = np.array([_prior(num_columns)[tied_K] for tied_K in tied_LK])
    vote_UK = _vote(probability_LUK, predicts_LT)
    counts_LKK = np.array([vote_UK.T @ probability_UK for probability_UK in probability_LUK])
    allowed_KK = _allowed(num_columns)
    steps_KK = (vote_UK[:-1].T @ vote_UK[1:] + 0.1) * allowed_KK

    iterations = ITERATIONS if num_labelers > 1 else 0
    hmm = _Labelers(_rows(_tie(counts_LKK, tied_LK) + prior_LKK), prior_LKK, tied_LK, iterations, TOLERANCE * num_words)
    hmm.startprob_ = _rows((vote_UK.mean(0) + 1e-3) * allowed_KK[0])
    hmm.transmat_, hmm.transmat_prior = _rows(steps_KK), 1 + VOTE_WEIGHT * steps_KK
    hmm.fit(_side_by_side(probability_LUK), lengths_N)
    return LabelModel(hmm.startprob_, hmm.transmat_, hmm.confusion_LKK, tuple(map(float, hmm.monitor_.history)))


class _Labelers(BaseHMM):
    """hmmlearn's HMM with one confusion matrix a labeler.  An observation is the labelers' soft tags side by side."""

    def __init__(self, confusion_LKK, prior_LKK=None, tied_LK=None, iterations=1, tolerance=0.0):
        super().__init__(
            n_components=confusion_LKK.shape[1],
            startprob_prior=1.1,  # a tenth of a note: keeps every allowed start possible
            n_iter=iterations,
            tol=tolerance,
            init_params="",
            implementation="scaling",
        )
        self.confusion_LKK, self.prior_LKK, self.tied_LK = confusion_LKK, prior_LKK, tied_LK

    def _init(self, X, lengths=None):
        """Do nothing: the vote has set all."""

    def _log_emission(self) -> np.ndarray:
        """Return the logarithms of the confusions as one matrix [L * K emitted, K true]."""
        return np.log(self.confusion_LKK).transpose(0, 2, 1).reshape(-1, self.n_components)

    def _compute_log_likelihood(self, X):
        return X @ self._log_emission()

    def _compute_likelihood(self, X):
        return np.exp(self._compute_log_likelihood(X))

    def _initialize_sufficient_statistics(self):
        stats = super()._initialize_sufficient_statistics()
        stats["emitted"] = np.zeros((self.n_components, self.confusion_LKK.shape[0] * self.n_components))
        return stats

    def _accumulate_sufficient_statistics(self, stats, X, lattice, posteriors, fwdlattice, bwdlattice):
        super()._accumulate_sufficient_statistics(stats, X, lattice, posteriors, fwdlattice, bwdlattice)
        stats["emitted"] += posteriors.T @ X

    def _do_mstep(self, stats):
        super()._do_mstep(stats)
        counts_LKK = stats["emitted"].reshape(self.n_components, -1, self.n_components).transpose(1, 0, 2)
        self.confusion_LKK = _rows(_tie(counts_LKK, self.tied_LK) + self.prior_LKK)

    def _compute_lower_bound(self, curr_logprob):
        first_LK = self.tied_LK == np.arange(self.n_components)  # tied rows are one parameter: count it once
        emission = (self.prior_LKK * np.log(self.confusion_LKK))[first_LK].sum()
        prior = 0.0
        for value, alpha in ((self.startprob_, self.startprob_prior), (self.transmat_, self.transmat_prior)):
            prior += ((alpha - 1) * np.log(value, where=value > 0, out=np.zeros_like(value))).sum()
        return curr_logprob + emission + prior


def _seen(probability_LUK: np.ndarray) -> np.ndarray:
    """Return the soft tags with nothing but zeros where a labeler knows nothing of a word: no tag was emitted."""
    known_LU = known_words(probability_LUK)
    return probability_LUK if known_LU.all() else probability_LUK * known_LU[..., None]


def _side_by_side(probability_LUK: np.ndarray) -> np.ndarray:
    return probability_LUK.transpose(1, 0, 2).reshape(probability_LUK.shape[1], -1).astype(np.float32)


def _predicts(probability_LUK: np.ndarray) -> np.ndarray:
    """Return which types a labeler ever predicts, bool [L, T]."""
    return (probability_LUK[:, :, 1::2] + probability_LUK[:, :, 2::2] > 0.5).any(1)


def _vote(probability_LUK: np.ndarray, predicts_LT: np.ndarray) -> np.ndarray:
    """Return the tag with the largest mean over the labelers (of a type: that predict it), one-hot float64 [U, K]."""
    predicts_LK = np.concatenate([np.ones((len(predicts_LT), 1), bool), predicts_LT.repeat(2, axis=1)], axis=1)
    share_LK = predicts_LK / np.maximum(predicts_LK.sum(0), 1)
    mean_UK = np.einsum("luk,lk->uk", probability_LUK, share_LK)
    silent_U = ~probability_LUK.any(2).all(0)
    if silent_U.any():  # the mean of those that know the word
        known_LUK = probability_LUK[:, silent_U].any(2, keepdims=True) * share_LK[:, None]
        mean_UK[silent_U] /= np.maximum(known_LUK.sum(0), 1e-9)
    mean_UK[:, 0] = 1 - mean_UK[:, 1:].sum(1)  # not O's own mean: that counts labelers that never predict a type
    return np.eye(mean_UK.shape[1])[mean_UK.argmax(1)]


def _tied(predicts_T: np.ndarray) -> np.ndarray:
    """Return, for each true tag, the one whose row of confusions it shares: O's where its type is never predicted."""
    own_K = np.arange(1 + 2 * len(predicts_T))
    return np.where(np.concatenate([[True], predicts_T.repeat(2)]), own_K, 0)


def _tie(counts_LKK: np.ndarray, tied_LK: np.ndarray) -> np.ndarray:
    """Sum counts over rows that are one, and give each of them the sum."""
    summed_LKK = np.zeros_like(counts_LKK)
    for labeler, tied_K in enumerate(tied_LK):
        np.add.at(summed_LKK[labeler], tied_K, counts_LKK[labeler])
        summed_LKK[labeler] = summed_LKK[labeler][tied_K]
    return summed_LKK


def _prior(num_columns: int) -> np.ndarray:
    """Return pseudo-counts of a labeler's confusions, [K, K]."""
    prior_KK = np.full((num_columns, num_columns), (1 - RIGHT) / 2 / num_columns)
    prior_KK[:, 0] += (1 - RIGHT) / 2
    prior_KK[np.diag_indices(num_columns)] += RIGHT
    return PRIOR_WORDS * prior_KK


def _allowed(num_columns: int) -> np.ndarray:
    """Return which tag may follow which, bool [K, K]: an I only B or I of its type.  A note begins as after O."""
    allowed_KK = np.ones((num_columns, num_columns), bool)
    for inside in range(2, num_columns, 2):
        allowed_KK[:, inside] = False
        allowed_KK[[inside - 1, inside], inside] = True
    return allowed_KK


def _rows(weight: np.ndarray) -> np.ndarray:
    return weight / weight.sum(-1, keepdims=True)


def _check(probability_LUK: np.ndarray, lengths_N: Sequence[int]) -> np.ndarray:
    """Return the lengths of those notes that have words.  Raise ValueError where shapes do not fit."""
    lengths_N = np.asarray(lengths_N, np.int64)
    if probability_LUK.ndim != 3 or probability_LUK.shape[2] % 2 == 0 or len(probability_LUK) == 0:
        raise ValueError(f"soft tags of shape {probability_LUK.shape}: [labelers, words, 1 + 2 * types] is wanted")
    if lengths_N.sum() != probability_LUK.shape[1]:
        raise ValueError(f"soft tags of {probability_LUK.shape[1]} words for notes of {lengths_N.sum()}")
    return lengths_N[lengths_N > 0]
