"""A run's phrases as rows of a data set, with the vector that every embedding has for them.

train holds what the small encoder may see: the phrases of the source, and of the recipe's own list.  The target's other
phrases are in held_out.
"""

from typing import Any

import numpy as np
from datasets import Features, Value

from ckd_dist.files import digest_of
from ckd_dist.record import read
from ckd_dist.softlabels.dataset import Rows, soft_feature, vectors
from ckd_dist.softlabels.errors import ShardError
from ckd_dist.softlabels.plan import Plan
from ckd_dist.softlabels.read import MappedLabels
from ckd_dist.studies.concepts.config import ConceptRecipe
from ckd_dist.studies.concepts.distill import learned_rows
from ckd_dist.studies.concepts.embed import phrases_of, settings_of
from ckd_dist.studies.concepts.runfolder import ConceptsRun
from ckd_dist.studies.concepts.stages import embeddings


def rows_of(recipe: ConceptRecipe, run: ConceptsRun, split: str) -> Rows:
    """Return the phrases of a split, sorted, with a column `vector NAME` an embedding.

    `sample_id` is a phrase's place among all, as in the shards.  An embedding read "templates" NAME filled with the
    phrase: that is in the description.  Raises ShardError where vectors are of other phrases, or are not whole.
    """
    phrases = phrases_of(run, recipe.embed.phrases)
    templates, soft = {}, {}
    for name, plan_hash in read(run, "embed").numbers.items():
        templates[name] = settings_of(embeddings(recipe), name).template
        plan = Plan.open(run.softlabels, plan_hash)
        if plan.source.prompts != digest_of([phrases, templates[name]]):
            raise ShardError(f"{plan.folder(run.softlabels)} has vectors of other phrases: run embed again")
        soft[f"vector {name}"] = MappedLabels(run.softlabels, plan)
    learned = learned_rows(run, recipe.grid.pairs, phrases, recipe.embed.phrases)
    ids = learned if split == "train" else np.setdiff1d(np.arange(len(phrases)), learned)

    def read_batch(start: int, stop: int) -> dict[str, Any]:
        here = ids[start:stop]
        columns = {name: vectors(np.concatenate(labels.logits_of(here))) for name, labels in soft.items()}
        return {"sample_id": here, "phrase": [phrases[row] for row in here]} | columns

    features = {"sample_id": Value("int64"), "phrase": Value("string")}
    features |= {name: soft_feature(len(labels.plan.names)) for name, labels in soft.items()}
    teachers = {name: labels.plan.source.teacher for name, labels in soft.items()}
    return Rows(Features(features), len(ids), read_batch, {"templates": templates, "teachers": teachers})
