"""Every labeler's soft tags become one set of soft tags, in shards like any teacher's: what the student learns from."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ckd_dist.files import digest_of, hash_file, write
from ckd_dist.schema import SPLITS
from ckd_dist.softlabels.generate import finish, generate
from ckd_dist.softlabels.plan import LabelSource, Plan, make_plan
from ckd_dist.studies.ner.labelers.combine import search
from ckd_dist.studies.ner.labelers.labelmodel import fit_label_model
from ckd_dist.studies.ner.rows import GoldSample, chosen_gold, lengths_of, read_split, soft_tags
from ckd_dist.studies.ner.runfolder import NerRun
from ckd_dist.studies.ner.task import probabilities

LabelerPlans = Mapping[str, Mapping[str, str]]  # split -> labeler -> plan hash


@dataclass(frozen=True)
class Joining:
    """How labelers are joined."""

    join: Callable[[np.ndarray, np.ndarray], np.ndarray]  # probability_LUK, words of each note -> probability_UK
    written: str  # all of it, as JSON
    metadata: dict[str, Any]  # shown in the report

    def fingerprint(self, labelled: LabelerPlans) -> str:
        """Hash how labelers are joined, and which sets of theirs."""
        sets = {split: dict(plans) for split, plans in labelled.items()}
        return hashlib.sha256(digest_of([self.written, self.metadata, sets]).encode()).hexdigest()


def combine_labelers(
    run: NerRun, by: Literal["search", "model"], gold: GoldSample, labelled: LabelerPlans
) -> tuple[dict[str, str], dict[str, Any]]:
    """Write combined sets of all splits; return their plan hashes by split, and what was chosen.

    by: a search on tuning notes, of which `gold` says how many it sees, or a label model that needs none.
    Raises ValueError where a search finds no annotated tuning note.
    """
    joining = _by_search(run, gold, labelled) if by == "search" else _by_model(run, labelled)
    made_by = joining.fingerprint(labelled)
    write(run.combination, joining.written + "\n")
    plans = {split: _write(run, split, joining, made_by, labelled[split]) for split in SPLITS if split in labelled}
    return {split: plan.plan_hash for split, plan in plans.items()}, joining.metadata | {"made_by": made_by}


def stack(run: NerRun, split: str, plans: Mapping[str, str], rows: Sequence[int]) -> np.ndarray:
    """Read the soft tags of every labeler on notes `rows` of a split, as probabilities, float32 [L, U, K]."""
    stored, _ = read_split(run, split)
    ids, lengths = stored.sample_id_N[rows], lengths_of([stored.notes[row] for row in rows])
    made = [soft_tags(run, plan, ids, lengths, None) for plan in plans.values()]
    return np.stack([probabilities(soft_UK) for soft_UK in made]).astype(np.float32)


def annotated_rows(run: NerRun, split: str) -> np.ndarray:
    """Return the annotated notes of a split, as rows; of train all notes."""
    stored, _ = read_split(run, split)
    return np.flatnonzero([split == "train" or note.mentions is not None for note in stored.notes])


def _by_search(run: NerRun, gold: GoldSample, labelled: LabelerPlans) -> Joining:
    """Choose the best subset and rule of each type on annotated tuning notes."""
    stored, types = read_split(run, "tuning")
    annotated_N = np.array([note.mentions is not None for note in stored.notes], bool)
    rows = np.flatnonzero(chosen_gold(annotated_N, gold.num_notes, gold.seed))
    if not len(rows):
        raise ValueError(
            "no tuning note is annotated, so labelers cannot be compared: annotate some, or give combine.by=model"
        )
    names = list(labelled["tuning"])
    best = search(stack(run, "tuning", labelled["tuning"], rows), [stored.notes[row] for row in rows], types, names)
    metadata = {
        "by": "search",
        "num_notes": len(rows),
        "num_tried": len(next(iter(best.table.values()))),
        "choices": {
            kind: {"members": list(choice.members), "rule": choice.rule, "f1": choice.f1}
            for kind, choice in best.choices.items()
        },
    }
    return Joining(lambda soft_LUK, lengths: best.apply(soft_LUK), best.to_json(), metadata)


def _by_model(run: NerRun, labelled: LabelerPlans) -> Joining:
    """Fit a label model, which needs no gold, on train."""
    rows = annotated_rows(run, "train")
    stored, _ = read_split(run, "train")
    lengths = lengths_of([stored.notes[row] for row in rows])
    model = fit_label_model(stack(run, "train", labelled["train"], rows), lengths)
    return Joining(model.posterior, model.to_json(), {"by": "model", "num_notes": len(rows)})


def _write(run: NerRun, split: str, joining: Joining, made_by: str, plans: Mapping[str, str]) -> Plan:
    """Write one split's combined tags as a finished set."""
    rows = annotated_rows(run, split)
    stored, _ = read_split(run, split)
    notes = [stored.notes[row] for row in rows]
    lengths, ids = lengths_of(notes), stored.sample_id_N[rows]
    soft_UK = np.log(joining.join(stack(run, split, plans, rows), lengths)).astype(np.float32)
    ends = np.cumsum(lengths)
    source = LabelSource(run.tag_columns(), hash_file(run.notes(split)), "words", made_by)
    plan = make_plan(ids, source, split=split, units=lengths)

    def predict(sample_ids: np.ndarray) -> np.ndarray:
        places = np.searchsorted(ids, sample_ids)
        return np.concatenate([soft_UK[ends[place] - lengths[place] : ends[place]] for place in places])

    generate(plan, run.softlabels, range(plan.num_shards), predict)
    finish(run.softlabels, plan)
    return plan
