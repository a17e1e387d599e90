"""A run's notes as rows of a data set: words, human annotations, and the labelers' combined soft tags.

`tokens` and `ner_tags` are what scripts for CoNLL-like data sets expect.

    N notes, U words of a note, K tags
"""

from typing import Any

import polars as pl
from datasets import ClassLabel, Features, List, Value

from ckd_dist.notes.note import encode
from ckd_dist.record import read
from ckd_dist.softlabels.dataset import Rows, lists_of_vectors, provenance, soft_feature
from ckd_dist.softlabels.read import MappedLabels, open_plan
from ckd_dist.studies.ner.config import NerRecipe
from ckd_dist.studies.ner.rows import read_split
from ckd_dist.studies.ner.runfolder import NerRun


def rows_of(recipe: NerRecipe, run: NerRun, split: str) -> Rows:
    """Return the notes of a split, in order; `soft_labels` are log-probabilities, null for a note without any.

    Raises ShardError where soft tags are of another combination or of other tags, or are not whole.
    """
    stored, types = read_split(run, split)
    combined = read(run, "combine").numbers
    plan_hash = combined["plans"].get(split)
    names = run.tag_columns()
    plan = plan_hash and open_plan(run.softlabels, plan_hash, names, combined["metadata"]["made_by"])
    soft = MappedLabels(run.softlabels, plan) if plan else {}

    def read_batch(start: int, stop: int) -> dict[str, Any]:
        notes, ids = stored.notes[start:stop], stored.sample_id_N[start:stop]
        tags = [None if n.mentions is None else encode(n, n.mentions, types)[0].tolist() for n in notes]
        soft_UK = [soft.logits_of([sample_id])[0] if sample_id in soft else None for sample_id in ids]
        if any(rows is not None and len(rows) != len(note) for rows, note in zip(soft_UK, notes, strict=True)):
            raise ValueError(f"soft tags {plan_hash} are of notes with other words: run label again")
        return {
            "sample_id": ids,
            "name": stored.names[start:stop],
            "subject": stored.subjects[start:stop],
            "text": [note.text for note in notes],
            "mentions": [None if n.mentions is None else [m._asdict() for m in n.mentions] for n in notes],
            "tokens": [note.words() for note in notes],
            "word_start": pl.Series([note.start_U for note in notes], dtype=pl.List(pl.Int32)),
            "word_end": pl.Series([note.end_U for note in notes], dtype=pl.List(pl.Int32)),
            "ner_tags": tags,
            "soft_labels": lists_of_vectors(soft_UK, len(names)),
        }

    return Rows(features_of(names), len(stored), read_batch, {"names": names} | provenance(plan or None))


def features_of(tags: list[str]) -> Features:
    """Return the columns: `ner_tags` has the names of the columns of `soft_labels`.

    A row of `soft_labels` that is the same in all columns is of a word of which no labeler knows anything.
    """
    mention = {"start": Value("int32"), "end": Value("int32"), "type": Value("string")}
    return Features(
        {
            "sample_id": Value("int64"),
            "name": Value("string"),
            "subject": Value("string"),  # null: the corpus does not say
            "text": Value("string"),
            "mentions": List(mention),  # of people, characters into the text; null: nobody annotated it
            "tokens": List(Value("string")),
            "word_start": List(Value("int32")),  # of each token, characters into the text
            "word_end": List(Value("int32")),
            "ner_tags": List(ClassLabel(names=tags)),  # of people; null: nobody annotated it
            "soft_labels": soft_feature(len(tags), one_unit=False),
        }
    )
