"""Full configurations of the third study, as functions."""

import dataclasses

from ckd_dist.config import Optim, Tiny, Workers
from ckd_dist.studies.concepts.config import (
    Compare,
    ConceptRecipe,
    Embeddings,
    Encoder,
    Grid,
    PatientModel,
    Sites,
    TextModel,
)


def concepts_tiny() -> ConceptRecipe:
    """Run the whole study in minutes on two cores: two synthetic hospitals, tiny models, all regimes."""
    workers = Workers(num=2, cpus=1)
    return ConceptRecipe(
        name="concepts_tiny",
        sites=Sites(sources=("synthetic:1200",)),
        embed=Embeddings(
            models=(
                TextModel(
                    name="tiny teacher", pooling="mean", synonyms="synthetic", tiny=Tiny(hidden=128, vocabulary=600)
                ),
            ),
            phrases="synthetic",
            shard_rows=64,
            workers=workers,
        ),
        student=Encoder(
            of="tiny teacher",
            tiny=Tiny(vocabulary=600),
            optim=Optim(epochs=40, learning_rate=3e-3, batch_samples=16),
            workers=workers,
        ),
        grid=Grid(
            models=(PatientModel(), PatientModel(kind="mean")),
            seeds=2,
            sizes=(50, 200),
            steps_curve=3,
            train=dataclasses.replace(Grid().train, learning_rate=5e-3),
            tune=dataclasses.replace(Grid().tune, learning_rate=5e-3),
            workers=workers,
        ),
        evaluate=Compare(bootstrap_draws=500),
    )


def concepts_eicu() -> ConceptRecipe:
    """Predict death in hospital from the first day, regions of eICU as sites; on the open demo, wide intervals."""
    workers = Workers(num=2, cpus=1)
    return ConceptRecipe(
        name="concepts_eicu",
        sites=Sites(
            sources=("eicu:eicu_demo",),
            by="region",
            begin="icu",
            codes=("DIAGNOSIS//EICU//", "MEDICATION//", "TREATMENT//", "HISTORY//"),
            train_fraction=0.5,
        ),
        embed=Embeddings(
            models=(TextModel(name="tiny teacher", pooling="mean", tiny=Tiny(hidden=128, vocabulary=2000)),),
            workers=workers,
        ),
        grid=Grid(
            models=(PatientModel(), PatientModel(kind="mean")),
            pairs=tuple(f"rest->{region}" for region in ("South", "Midwest", "West", "Northeast")),
            seeds=3,
            sizes=(50, 100),
            steps_curve=4,
            rates=(1e-3, 5e-3),  # codes want a larger one than vectors
            workers=workers,
        ),
    )


def concepts_two_sites() -> ConceptRecipe:
    """Compare a 7B model's vectors, its student's and codes between two systems: --source A=mimic3:DIR,B=eicu:DIR."""
    gpu = Workers(num=0, cpus=8, gpus=1)  # 0: all that the cluster has
    qwen = TextModel(name="Qwen2.5-7B", base="Qwen/Qwen2.5-7B", pooling="mean", dtype="bfloat16", whiten=256)
    bert = TextModel(name="PubMedBERT", base="NeuML/pubmedbert-base-embeddings")
    return ConceptRecipe(
        name="concepts_two_sites",
        sites=Sites(sources=("A=mimic3:MIMIC_III", "B=mimic4:MIMIC_IV"), memory_gb=32),
        embed=Embeddings(models=(qwen, bert), random=256, micro_tokens=65536, workers=gpu),
        student=Encoder(
            of="Qwen2.5-7B",
            base="google-bert/bert-base-uncased",
            dtype="bfloat16",
            optim=Optim(epochs=20, learning_rate=5e-5, batch_samples=256, micro_tokens=32768),
            workers=gpu,
        ),
        grid=Grid(
            models=tuple(PatientModel(kind=kind) for kind in ("max", "mean", "attention", "transformer")),
            sizes=(50, 100, 500),
            steps_curve=4,
            rates=(1e-3, 5e-3),
            workers=Workers(num=64, cpus=1),
        ),
    )


RECIPES = {recipe.__name__: recipe for recipe in (concepts_tiny, concepts_eicu, concepts_two_sites)}
