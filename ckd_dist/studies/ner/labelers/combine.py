"""Join the soft tags of several labelers: for each entity type by the subset and the rule that are best on gold.

    L labelers, M of them in a subset, U words of all notes one after another, K columns of note.tag_names(types)

Vedula et al. 2024 try all 2^L - 1 subsets and keep the best on a development set; here each type has its own, and a
subset four rules.  A rule joins the members' probabilities that a word is inside the type, p(B) + p(I); above 0.5 it is
inside.  Whether a mention starts there follows from the word before: after a word outside it does, after one inside
only if the members that have both words inside begin one there, weighted by how sure each is.  (Dividing into B and I
without the word before would cut "chronic | kidney disease" when a second labeler marks "kidney disease" alone.)

Where a labeler knows nothing of a word (labelled.py), the rule joins the others as if it was not there; a word is
unknown where no member of a type knows it and no other type is likely.  All subsets are scored on what all know.

A labeler by itself is scored by its own best tags and handed on untouched.  Ties go to fewer labelers, then to the
earlier rule.  The chosen score is the best of many on the same notes, so it flatters: report another split's.
Cost: 31 subsets, 4 rules, 3 types on 100,000 words take about 4 s.  Left out: more than MOST_LABELERS labelers.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations

import numpy as np

from ckd_dist.notes.note import Note, best_tags, tag_names
from ckd_dist.studies.ner.labelers.labelled import floored, known_words, leave_unknown

MOST_LABELERS = 10  # 1,023 subsets
INSIDE = 0.5

Rule = Callable[[np.ndarray, np.ndarray], np.ndarray]  # inside_MU, weights_M -> inside_U
RULES: dict[str, Rule] = {
    "union": lambda inside_MU, weights_M: inside_MU.max(0),
    "intersection": lambda inside_MU, weights_M: inside_MU.min(0),
    "vote": lambda inside_MU, weights_M: inside_MU.mean(0),
    "weighted": lambda inside_MU, weights_M: weights_M @ inside_MU / weights_M.sum(),
}


@dataclass(frozen=True)
class Choice:
    """Some labelers and how they are joined.  weights: each member's own F1, which `weighted` uses; scores: strict."""

    members: tuple[str, ...]
    rule: str
    weights: tuple[float, ...]
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Combination:
    """names: the labelers in the order of their rows.  choices: the best of each type.  table: all that was tried."""

    names: tuple[str, ...]
    choices: dict[str, Choice]
    table: dict[str, tuple[Choice, ...]]

    def apply(self, probability_LUK: np.ndarray) -> np.ndarray:
        """Join the labelers' soft tags into one, float32 [U, K], rows summing to 1.

        O gets what the types leave.  Where the types' sum is above 1, all shrink alike.
        One labeler that was chosen for every type comes out as it went in.
        """
        _check_shape(probability_LUK, self.names, list(self.choices))
        alone = {choice.members for choice in self.choices.values()}
        if len(alone) == 1 and len(only := alone.pop()) == 1:
            return probability_LUK[self.names.index(only[0])].astype(np.float32)
        joined_UK, known_LU, known_TU = np.empty(probability_LUK.shape[1:]), known_words(probability_LUK), []
        for column, choice in zip(range(1, probability_LUK.shape[2], 2), self.choices.values(), strict=True):
            chosen = [self.names.index(name) for name in choice.members]
            begin_MU, more_MU = probability_LUK[chosen, :, column], probability_LUK[chosen, :, column + 1]
            known_TU.append(known_LU[chosen].any(0))
            if len(chosen) == 1:
                joined_UK[:, column], joined_UK[:, column + 1] = begin_MU[0] * known_TU[-1], more_MU[0] * known_TU[-1]
                continue
            pieces = _pieces(begin_MU, more_MU, known_LU[chosen])
            inside_U, share_U = _join(pieces, RULES[choice.rule], np.array(choice.weights))
            joined_UK[:, column] = inside_U * share_U
            joined_UK[:, column + 1] = inside_U - joined_UK[:, column]
        joined_UK[:, 0] = np.maximum(1 - joined_UK[:, 1:].sum(1), 0)
        return leave_unknown(floored(joined_UK), np.array(known_TU))

    def to_json(self) -> str:
        """Return the combination as JSON, for a person to read."""
        return json.dumps(asdict(self), indent=1)


def search(
    probability_LUK: np.ndarray, notes: Sequence[Note], types: Sequence[str], names: Sequence[str]
) -> Combination:
    """Find the best subset and rule of every type by strict span F1 on annotated notes.

    probability_LUK: soft tags of every labeler for the words of the notes, in order.  Raises ValueError where shapes do
    not fit, a note has no gold, there are too many labelers, or no note has a mention of a type.
    """
    _check_shape(probability_LUK, names, types)
    if len(set(names)) < len(names):
        raise ValueError(f"{len(names)} labelers have {len(set(names))} names: give each its own")
    if not 1 <= len(names) <= MOST_LABELERS:
        raise ValueError(f"{len(names)} labelers: the search tries all subsets and takes 1 to {MOST_LABELERS}")
    if sum(map(len, notes)) != probability_LUK.shape[1]:
        raise ValueError(f"soft tags of {probability_LUK.shape[1]} words for notes of {sum(map(len, notes))}")
    if unread := sum(note.mentions is None for note in notes):
        raise ValueError(f"{unread} of {len(notes)} notes have no gold: give annotated ones, or use a label model")
    golds = [_gold(notes, kind) for kind in types]
    starts_N = np.cumsum([0, *map(len, notes)])[:-1]
    starts_N = starts_N[[len(note) > 0 for note in notes]]
    own_LU = np.array([_own_tags(probability_UK, notes) for probability_UK in probability_LUK])
    known_LU = known_words(probability_LUK)
    unknown_U1 = np.concatenate([[0], np.cumsum(~known_LU.all(0))])
    golds = [gold.where_known(unknown_U1) for gold in golds]
    table = {}
    for column, kind, gold in zip(range(1, probability_LUK.shape[2], 2), types, golds, strict=True):
        begins_LU = own_LU == column
        alone = [
            _score(begins_U, inside_U, starts_N, gold)
            for begins_U, inside_U in zip(begins_LU, begins_LU | (own_LU == column + 1), strict=True)
        ]
        pieces = _pieces(probability_LUK[:, :, column], probability_LUK[:, :, column + 1], known_LU)
        table[kind] = _try_all(pieces, alone, starts_N, gold, names)
    return Combination(tuple(names), {kind: max(tried, key=lambda c: c.f1) for kind, tried in table.items()}, table)


@dataclass(frozen=True)
class _Gold:
    """spans: those mentions of a type that begin and end with words, as start * 2^32 + end; total: all of them.

    unknown_U1: how many words before each are unknown to a labeler; spans with such words are not scored.
    """

    spans: np.ndarray
    total: int
    unknown_U1: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def where_known(self, unknown_U1: np.ndarray) -> "_Gold":
        spans = _known(self.spans, unknown_U1)
        return _Gold(spans, self.total - len(self.spans) + len(spans), unknown_U1)


@dataclass(frozen=True)
class _Pieces:
    """Of each labeler: whether it knows a word; inside; inside together with the word before; and a mention starting
    right after that word.
    """

    known_MU: np.ndarray
    inside_MU: np.ndarray
    both_MU: np.ndarray
    broken_MU: np.ndarray

    def take(self, chosen: Sequence[int]) -> "_Pieces":
        chosen = list(chosen)
        return _Pieces(*(part[chosen] for part in (self.known_MU, self.inside_MU, self.both_MU, self.broken_MU)))


def _try_all(
    pieces: _Pieces, alone: list[tuple[float, float, float]], starts_N: np.ndarray, gold: _Gold, names: Sequence[str]
) -> tuple[Choice, ...]:
    """Score every subset and rule of one type, fewer labelers first, then in the order of the rules."""
    f1_L = np.array([f1 for _, _, f1 in alone])
    tried = [Choice((name,), "union", (own[2],), *own) for name, own in zip(names, alone, strict=True)]
    for size in range(2, len(names) + 1):
        for chosen in combinations(range(len(names)), size):
            of_chosen, weights_M = pieces.take(chosen), f1_L[list(chosen)]
            for rule, join in RULES.items():
                inside_U, share_U = _join(of_chosen, join, weights_M)
                inside_U = inside_U > INSIDE
                scores = _score(inside_U & (share_U > INSIDE), inside_U, starts_N, gold)
                members = tuple(names[labeler] for labeler in chosen)
                tried.append(Choice(members, rule, tuple(map(float, weights_M)), *scores))
    return tuple(tried)


def _pieces(begin_LU: np.ndarray, more_LU: np.ndarray, known_LU: np.ndarray) -> _Pieces:
    begin_LU = begin_LU * known_LU
    inside_LU = begin_LU + more_LU * known_LU
    before_LU = np.concatenate([np.zeros_like(inside_LU[:, :1]), inside_LU[:, :-1]], axis=1)
    return _Pieces(known_LU, inside_LU, inside_LU * before_LU, begin_LU * before_LU)


def _join(pieces: _Pieces, rule: Rule, weights_M: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how far each word is inside, and which share of that begins a mention, both [U]."""
    inside_U = _inside(pieces, rule, weights_M)
    share_U = np.ones(len(inside_U))
    follows = 1 + np.flatnonzero(inside_U[:-1] > INSIDE)
    both_F, broken_F = pieces.both_MU[:, follows].sum(0), pieces.broken_MU[:, follows].sum(0)
    share_U[follows] = np.divide(broken_F, both_F, out=np.zeros(len(follows)), where=both_F > 0)
    return inside_U, share_U


def _inside(pieces: _Pieces, rule: Rule, weights_M: np.ndarray) -> np.ndarray:
    """Return how far each word is inside, by those who know it; 0 where none does."""
    weights_M = weights_M if weights_M.any() else np.ones(len(weights_M))  # none found anything: all alike
    if pieces.known_MU.all():
        return rule(pieces.inside_MU, weights_M)
    inside_U = np.zeros(pieces.inside_MU.shape[1])
    for known_M in np.unique(pieces.known_MU, axis=1).T:
        if known_M.any():
            there_U = (pieces.known_MU == known_M[:, None]).all(0)
            mine_M = weights_M[known_M] if weights_M[known_M].any() else np.ones(known_M.sum())
            inside_U[there_U] = rule(pieces.inside_MU[known_M][:, there_U], mine_M)
    return inside_U


def _score(begins_U: np.ndarray, inside_U: np.ndarray, starts_N: np.ndarray, gold: _Gold) -> tuple[float, float, float]:
    """Return strict precision, recall and F1 of the mentions that [U] mark; an inside word after none begins one."""
    begins_U = begins_U.copy()
    begins_U[1:] |= inside_U[1:] & ~inside_U[:-1]
    begins_U[starts_N] = inside_U[starts_N]
    ends_U = inside_U.copy()
    ends_U[:-1] &= begins_U[1:] | ~inside_U[1:]
    spans = (np.flatnonzero(begins_U) << 32) + np.flatnonzero(ends_U) + 1
    spans = _known(spans, gold.unknown_U1)
    correct = int(np.isin(spans, gold.spans).sum())
    precision = correct / len(spans) if len(spans) else 0.0
    return precision, correct / max(gold.total, 1), 2 * correct / max(len(spans) + gold.total, 1)


def _known(spans: np.ndarray, unknown_U1: np.ndarray) -> np.ndarray:
    """Return the spans that hold no unknown word."""
    if not unknown_U1[-1:].any():
        return spans
    return spans[unknown_U1[spans & 0xFFFFFFFF] == unknown_U1[spans >> 32]]


def _own_tags(probability_UK: np.ndarray, notes: Sequence[Note]) -> np.ndarray:
    """Return a labeler's own best tags, note by note, int64 [U]."""
    with np.errstate(divide="ignore"):
        log_UK = np.log(probability_UK)
    ends_N = np.cumsum([len(note) for note in notes])
    return np.concatenate([best_tags(log_UK[end - len(note) : end]) for note, end in zip(notes, ends_N, strict=True)])


def _gold(notes: Sequence[Note], kind: str) -> _Gold:
    spans, total, before = [], 0, 0
    for note in notes:
        for mention in note.mentions:
            if mention.type != kind:
                continue
            total += 1
            first, last = np.searchsorted(note.start_U, mention.start), np.searchsorted(note.end_U, mention.end)
            starts = first < len(note) and note.start_U[first] == mention.start
            if starts and last < len(note) and note.end_U[last] == mention.end:
                spans.append((before + int(first) << 32) + before + int(last) + 1)
        before += len(note)
    if total == 0:
        raise ValueError(
            f"none of {len(notes)} annotated notes has a mention of type {kind}: annotate more, leave the type out, "
            "or combine by a label model"
        )
    return _Gold(np.array(spans, np.int64), total)


def _check_shape(probability_LUK: np.ndarray, names: Sequence[str], types: Sequence[str]) -> None:
    num_columns = len(tag_names(types))
    if probability_LUK.ndim != 3 or probability_LUK.shape[::2] != (len(names), num_columns):
        raise ValueError(
            f"soft tags of shape {probability_LUK.shape}: {len(names)} labelers and {num_columns} columns are wanted"
        )
