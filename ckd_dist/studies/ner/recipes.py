"""Full configurations of the second study, as functions."""

from ckd_dist.config import Optim, Tiny, Workers
from ckd_dist.studies.ner.config import LabelEndpoint, Labelers, NerRecipe, Notes, Ontology, Score, Tagger, TagTeacher


def ner_tiny() -> NerRecipe:
    """Run the whole study in minutes on two cores: synthetic notes, two dictionaries, tiny teacher and student."""
    workers = Workers(num=2, cpus=1)
    return NerRecipe(
        name="ner_tiny",
        notes=Notes(source="synthetic:800", gold_documents=60),
        teacher=TagTeacher(
            dtype="float32",
            tuning="full",
            optim=Optim(epochs=8, learning_rate=3e-3, batch_samples=8, micro_tokens=4096),
            max_tokens=512,
            context_tokens=16,
            gradient_checkpointing=False,
            sharding="zero3_full",
            workers=workers,
        ),
        label=Labelers(
            ontologies=(
                Ontology(
                    name="ontology",
                    vocabularies=tuple(f"{t}=synthetic:{t}" for t in ("disease", "medication", "symptom")),
                ),
                Ontology(
                    name="local lists",
                    vocabularies=("medication=synthetic:formulary", "disease=synthetic:problems"),
                ),
            ),
            shard_rows=128,
            micro_tokens=4096,
            workers=workers,
        ),
        student=Tagger(
            max_tokens=128,
            context_tokens=16,
            tiny=Tiny(vocabulary=3000),  # names of drugs and diseases are many
            optim=Optim(epochs=6, learning_rate=3e-3, batch_samples=16),
            workers=workers,
        ),
        evaluate=Score(bootstrap_draws=500),
    )


def ner_notes() -> NerRecipe:
    """Tag clinical notes with Qwen2.5-7B as a teacher under ZeRO-3, an LLM that is asked, dictionaries, and BioBERT.

    Give notes.source, and label.ontologies: the vocabularies are the user's own.
    """
    gpu = Workers(num=0, cpus=8, gpus=1)  # 0: all that the cluster has
    return NerRecipe(
        name="ner_notes",
        notes=Notes(source="brat:NOTES"),
        teacher=TagTeacher(base="Qwen/Qwen2.5-7B-Instruct", workers=gpu),
        label=Labelers(
            ontologies=(
                Ontology(
                    vocabularies=(
                        "disease=do:VOCABULARIES",
                        "symptom=obo:VOCABULARIES/symp.obo",
                        "medication=rxnorm:RXNORM",
                    )
                ),
            ),
            endpoints=(LabelEndpoint(),),
            micro_tokens=65536,
            workers=gpu,
        ),
        student=Tagger(
            base="dmis-lab/biobert-base-cased-v1.2",
            dtype="bfloat16",
            max_tokens=512,
            context_tokens=64,
            optim=Optim(epochs=10, learning_rate=3e-5, micro_tokens=32768),
            workers=gpu,
        ),
    )


RECIPES = {recipe.__name__: recipe for recipe in (ner_tiny, ner_notes)}
