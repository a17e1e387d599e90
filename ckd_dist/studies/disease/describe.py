"""What reports and model cards say of a run: where its data come from, what a reader must know beside the numbers."""

import re
from pathlib import Path
from typing import Any

from ckd_dist.config import Recipe
from ckd_dist.models.card import Card


def notes(recipe: Recipe, selected: dict, num_tuning_pairs: int) -> list[str]:
    """What a reader of the report must know beside its numbers, a sentence each."""
    told = [
        f"{len(absent)} of the labels never occur in {split} and are left out of its macro scores."
        for split, absent in selected["absent"].items()
        if absent
    ]
    codes_seen = selected["codes"]
    for kind, what in (
        ("num_unknown", "are in no table"),
        ("num_unmapped", "have no CCS category"),
        ("num_straddling", "set two labels"),
    ):
        if codes_seen[kind]:
            told.append(f"{codes_seen[kind]} of {codes_seen['num_codes']} different diagnosis codes {what}.")
    if num_tuning_pairs < 100:
        told.append(
            f"Temperatures and thresholds were fitted on {num_tuning_pairs} tuning pairs: too few to trust them."
        )
    if recipe.label.import_from:
        told.append("Soft labels were imported, so there is no teacher to compare with.")
    if recipe.student.hard_twin:
        told.append(
            "The student without distillation made as many updates as the distilled one, on labelled visits alone."
        )
    return told


def source_in_words(source: str) -> str:
    """What the report calls the data; never a path."""
    kind, _, where = source.partition(":")
    words = {"mimic3": "MIMIC-III tables", "mimic4": "MIMIC-IV tables", "meds": "a MEDS data set"}
    return words.get(kind) or f"a synthetic hospital of {int(where):,} subjects, whose law is known"


def without_places(fields: dict) -> dict:
    """A recipe for a page that leaves home: of a path only the last part.

    >>> without_places({"extract.source": "mimic3:/data/mimic", "teacher.base": "Qwen/Qwen2.5-7B", "seed": 1})
    {'extract.source': 'mimic3:mimic', 'teacher.base': 'Qwen/Qwen2.5-7B', 'seed': 1}
    >>> without_places({"sites.sources": ["A=eicu:/data/eicu"], "embed.models": [{"base": "/models/minilm"}]})
    {'sites.sources': ['A=eicu:eicu'], 'embed.models': [{'base': 'minilm'}]}
    """
    return {name: _without_places(value) for name, value in fields.items()}


def _without_places(value: Any) -> Any:
    if isinstance(value, dict):
        return without_places(value)
    if isinstance(value, list | tuple):
        return [_without_places(each) for each in value]
    return re.sub(r"(^|:|=)/.*/", r"\1", value) if isinstance(value, str) else value


def card_of(recipe: Recipe) -> Card:
    """What a model's card says of where it comes from."""
    return Card(
        data=source_in_words(recipe.extract.source),
        patients=not recipe.extract.source.startswith("synthetic:"),
        cohort="visits that ended alive, to predict the diseases coded at the same person's next visit",
        labels=f"one column a disease of the label set {Path(recipe.select.labels).name}, by ICD code",
    )


def num_subjects(source: str) -> int:
    """Of a made-up hospital.  Raises ValueError where `source` is not synthetic:N."""
    number = source.removeprefix("synthetic:")
    if not number.isdecimal():
        raise ValueError(f"source {source!r} names no number of subjects: give synthetic:N, e.g. synthetic:1000")
    return int(number)
