"""Every labeler's soft tags become one set of soft tags, in shards like any teacher's: what the student learns from."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ckd_dist import stages
from ckd_dist.schema import SPLITS, Run
from ckd_dist.softlabels.generate import finish, generate
from ckd_dist.softlabels.plan import Plan, make_plan
from ckd_dist.studies.ner.config import Combine
from ckd_dist.studies.ner.labelers import labelmodel
from ckd_dist.studies.ner.labelers.combine import search
from ckd_dist.studies.ner.rows import chosen_gold, lengths_of, read_split, soft_tags, tag_columns
from ckd_dist.studies.ner.task import probabilities

Labelled = Mapping[str, Mapping[str, str]]  # split -> labeler -> plan hash
Join = Callable[[np.ndarray, np.ndarray], np.ndarray]  # probability_LUK, words of each note -> probability_UK


def combine(run: Run, settings: Combine, labelled: Labelled, seed: int) -> tuple[dict[str, str], dict]:
    """Write combined sets of all splits; return their plan hashes by split, and what was chosen.

    Raises ValueError where a search finds no annotated tuning note.
    """
    if settings.by == "search":
        joined, told = _search(run, settings, labelled, seed)
    else:
        joined, told = _model(run, labelled)
    made_by = stages.digest_of([told, {split: dict(sets) for split, sets in labelled.items()}])
    made_by = hashlib.sha256(made_by.encode()).hexdigest()
    run.combination.write_text(told["written"] + "\n")
    plans = {split: _write(run, split, joined, made_by, labelled[split]) for split in SPLITS if split in labelled}
    return {split: plan.plan_hash for split, plan in plans.items()}, told["shown"] | {"made_by": made_by}


def stack(run: Run, split: str, plans: Mapping[str, str], rows: Sequence[int]) -> np.ndarray:
    """Soft tags of every labeler on notes `rows` of a split, as probabilities, float32 [L, U, K]."""
    stored, _ = read_split(run, split)
    ids, lengths = stored.sample_id_N[rows], lengths_of([stored.notes[row] for row in rows])
    made = [soft_tags(run, plan, ids, lengths, None) for plan in plans.values()]
    return np.stack([probabilities(soft_UK) for soft_UK in made]).astype(np.float32)


def annotated_rows(run: Run, split: str) -> np.ndarray:
    """Annotated notes of a split, as rows; of train all notes."""
    stored, _ = read_split(run, split)
    return np.flatnonzero([split == "train" or note.mentions is not None for note in stored.notes])


def _search(run: Run, settings: Combine, labelled: Labelled, seed: int) -> tuple[Join, dict]:
    stored, types = read_split(run, "tuning")
    annotated_N = np.array([note.mentions is not None for note in stored.notes], bool)
    rows = np.flatnonzero(chosen_gold(annotated_N, settings.gold_documents, seed))
    if not len(rows):
        raise ValueError(
            "no tuning note is annotated, so labelers cannot be compared: annotate some, or give combine.by=model"
        )
    names = list(labelled["tuning"])
    found = search(stack(run, "tuning", labelled["tuning"], rows), [stored.notes[row] for row in rows], types, names)
    shown = {
        "by": "search",
        "num_notes": len(rows),
        "num_tried": len(next(iter(found.table.values()))),
        "choices": {
            kind: {"members": list(choice.members), "rule": choice.rule, "f1": choice.f1}
            for kind, choice in found.choices.items()
        },
    }
    return lambda soft_LUK, lengths: found.apply(soft_LUK), {"written": found.to_json(), "shown": shown}


def _model(run: Run, labelled: Labelled) -> tuple[Join, dict]:
    rows = annotated_rows(run, "train")
    stored, _ = read_split(run, "train")
    lengths = lengths_of([stored.notes[row] for row in rows])
    fitted = labelmodel.fit(stack(run, "train", labelled["train"], rows), lengths)
    return fitted.posterior, {"written": fitted.to_json(), "shown": {"by": "model", "num_notes": len(rows)}}


def _write(run: Run, split: str, joined: Join, made_by: str, plans: Mapping[str, str]) -> Plan:
    """One split's combined tags as a finished set."""
    rows = annotated_rows(run, split)
    stored, _ = read_split(run, split)
    notes = [stored.notes[row] for row in rows]
    lengths, ids = lengths_of(notes), stored.sample_id_N[rows]
    soft_LUK = stack(run, split, plans, rows)
    soft_UK = np.log(joined(soft_LUK, lengths)).astype(np.float32)
    ends = np.cumsum(lengths)
    plan = make_plan(
        ids,
        split=split,
        names=tag_columns(run),
        prompts=stages.hash_file(run.notes(split)),
        tokenizer="words",
        teacher=made_by,
        units=lengths,
    )

    def predict(sample_ids: np.ndarray) -> np.ndarray:
        places = np.searchsorted(ids, sample_ids)
        return np.concatenate([soft_UK[ends[place] - lengths[place] : ends[place]] for place in places])

    generate(plan, run.softlabels, range(plan.num_shards), predict)
    finish(run.softlabels, plan)
    return plan


def files_of(run: Run, plans: Mapping[str, str]) -> list[Path]:
    """All files of finished sets."""
    return [file for plan in plans.values() for file in stages.files_below(run.softlabels / plan)]
