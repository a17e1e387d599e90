"""Which notes and windows of a split a task reads, and with which tags: windows joined to gold and shards by note."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ckd_dist.notes.note import Note, encode
from ckd_dist.softlabels.read import check_index, open_plan
from ckd_dist.softlabels.shards import open_shard
from ckd_dist.studies.ner.runfolder import NerRun
from ckd_dist.studies.ner.store import StoredNotes, read_notes
from ckd_dist.studies.ner.task import UNKNOWN
from ckd_dist.studies.ner.windows import Windows


@dataclass(frozen=True)
class Gold:
    """Human tags of a split."""

    hard_U: np.ndarray  # int64 [U] over all its words, UNKNOWN where nobody annotated
    annotated_N: np.ndarray  # bool [N], of its notes
    overlapping: int  # mentions that share a word with a longer one, and have no tag
    wordless: int  # mentions without a word, and so without a tag


@dataclass(frozen=True)
class GoldSample:
    """Which annotated notes of a split may be learned from."""

    num_notes: int | None = None  # none: all
    seed: int = 0  # of the choice


@dataclass(frozen=True)
class CombinedTags:
    """The soft tags of all labelers joined, as a finished set of train."""

    plan: str  # hash
    made_by: str  # fingerprint of the combination


def gold_of(notes: Sequence[Note], types: Sequence[str]) -> Gold:
    """Return the notes' mentions as tags."""
    tags, overlapping, wordless = [np.zeros(0, np.int64)], 0, 0
    for note in notes:
        if note.mentions is None:
            tags.append(np.full(len(note), UNKNOWN))
            continue
        tags_U, lost = encode(note, note.mentions, types)
        tags.append(tags_U)
        overlapping, wordless = overlapping + lost.overlapping, wordless + lost.wordless
    annotated_N = np.array([note.mentions is not None for note in notes], bool)
    return Gold(np.concatenate(tags), annotated_N, overlapping, wordless)


def chosen_gold(annotated_N: np.ndarray, num: int | None, seed: int) -> np.ndarray:
    """Choose annotated notes to learn from, bool [N]: `num` at random (fewer lie within more), or all."""
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(annotated_N))
    chosen_N = np.zeros(len(annotated_N), bool)
    chosen_N[rows[:num]] = True
    return chosen_N


def only(hard_U: np.ndarray, notes: Sequence[Note], chosen_N: np.ndarray) -> np.ndarray:
    """Return the same tags, UNKNOWN in notes that are not chosen."""
    return np.where(np.repeat(chosen_N, lengths_of(notes)), hard_U, UNKNOWN)


def windows_of(windows: Windows, chosen_N: np.ndarray) -> np.ndarray:
    """Return the windows of the chosen notes, int64, in order."""
    return np.flatnonzero(chosen_N[windows.note_W])


def read_split(run: NerRun, split: str) -> tuple[StoredNotes, list[str]]:
    """Read the notes of a split, and the types that are looked for."""
    return read_notes(run.notes(split)), run.types()


def soft_tags(
    run: NerRun, plan_hash: str, sample_id_N: np.ndarray, lengths_N: np.ndarray, made_by: str | None
) -> np.ndarray:
    """Read a finished set's logits over the words of notes `sample_id_N` (ascending, of so many words), float32 [U, K].

    Raises ShardError where the set is not whole, and ValueError where it lacks one of the notes.
    """
    plan = open_plan(run.softlabels, plan_hash, run.tag_columns(), made_by)
    check_index(run.softlabels, plan)
    ends_N = np.cumsum(lengths_N)
    soft_UK = np.full((int(ends_N[-1]) if len(ends_N) else 0, len(plan.names)), np.nan, np.float32)
    for number in range(plan.num_shards):
        shard = open_shard(run.softlabels, plan, number)
        for sample_id, first, last in zip(shard.sample_id_N, shard.offsets_N1, shard.offsets_N1[1:], strict=False):
            place = int(np.searchsorted(sample_id_N, sample_id))
            if place < len(sample_id_N) and sample_id_N[place] == sample_id:
                soft_UK[ends_N[place] - lengths_N[place] : ends_N[place]] = shard.logits_UK[first:last]
    if np.isnan(soft_UK).any():
        raise ValueError(f"soft tags {plan_hash} are not of all these notes: run label again")
    return soft_UK


def lengths_of(notes: Sequence[Note]) -> np.ndarray:
    """Return the words of every note, int64 [N]."""
    return np.array([len(note) for note in notes], np.int64)
