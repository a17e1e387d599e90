"""Full configurations as functions.  `load` turns a name or a file, and dotted overrides, into a checked Recipe."""

import dataclasses
import difflib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field, TypeAdapter, ValidationError

from ckd_dist import stages
from ckd_dist.config import (
    Evaluate,
    Extract,
    Label,
    Lora,
    Loss,
    Optim,
    Prompt,
    Recipe,
    Select,
    Student,
    Teacher,
    Tiny,
    Workers,
    walk,
)
from ckd_dist.stages import AnyRecipe
from ckd_dist.studies.concepts import config as concepts
from ckd_dist.studies.concepts.config import ConceptRecipe
from ckd_dist.studies.ner import config as ner
from ckd_dist.studies.ner.config import NerRecipe

RECIPE = TypeAdapter(Annotated[AnyRecipe, Field(discriminator="study")])


def tiny() -> Recipe:
    """The whole road in minutes on two cores: a synthetic hospital, a tiny Qwen2, a tiny BERT."""
    workers = Workers(num=2, cpus=1)
    return Recipe(
        name="tiny",
        extract=Extract(source="synthetic:3000"),
        select=Select(history_visits=1),
        prompt=Prompt(efficacies=1, teacher_tokens=512, student_tokens=256),
        teacher=Teacher(
            dtype="float32",
            lora=Lora(rank=8, alpha=16, dropout=0.0),
            answers=Optim(epochs=1, learning_rate=3e-3, batch_samples=16),
            answers_tuning="full",
            labels=Optim(epochs=2, learning_rate=3e-3, batch_samples=16),
            gradient_checkpointing=False,
            workers=workers,
        ),
        label=Label(shard_rows=256, micro_tokens=4096, workers=workers),
        student=Student(optim=Optim(epochs=3, learning_rate=1e-3, batch_samples=16), workers=workers),
        evaluate=Evaluate(bootstrap_draws=500),
    )


def mimic_demo() -> Recipe:
    """Tiny models on the open MIMIC-III demo (100 patients): real tables to a report, far too few for claims."""
    recipe = tiny()
    return dataclasses.replace(
        recipe,
        name="mimic_demo",
        extract=Extract(source="mimic3:mimic_iii_demo", train_fraction=0.5, tuning_fraction=0.25),
        select=dataclasses.replace(recipe.select, absent_labels="allow"),
        prompt=Prompt(efficacies=1, min_support=2, teacher_tokens=1024, student_tokens=512),
    )


def disease_mimic3_7b() -> Recipe:
    """CKD-EHR on MIMIC-III: Qwen2.5-7B-Instruct with LoRA under ZeRO-3, bert-base-uncased.  Give extract.source."""
    gpu = Workers(num=8, cpus=8, gpus=1)
    return Recipe(
        name="disease_mimic3_7b",
        extract=Extract(source="mimic3:MIMIC_III", memory_gb=32),
        prompt=Prompt(teacher_tokens=1024, student_tokens=512),
        teacher=Teacher(base="Qwen/Qwen2.5-7B-Instruct", workers=gpu),
        label=Label(workers=gpu, micro_tokens=65536),
        student=Student(
            base="google-bert/bert-base-uncased",
            dtype="bfloat16",
            optim=Optim(epochs=10, learning_rate=2e-5, micro_tokens=32768),
            workers=gpu,
        ),
    )


def disease_mimic4_7b() -> Recipe:
    """The same on MIMIC-IV (hosp/)."""
    recipe = disease_mimic3_7b()
    return dataclasses.replace(
        recipe,
        name="disease_mimic4_7b",
        extract=dataclasses.replace(recipe.extract, source="mimic4:MIMIC_IV"),
    )


def as_published() -> Recipe:
    """CKD-EHR's own student: 0.9 hard, temperature 1, instruction in the text, 2e-5 constant, batch 8, 10 epochs."""
    recipe = disease_mimic3_7b()
    published = Optim(
        epochs=10,
        learning_rate=2e-5,
        weight_decay=0,
        warmup_fraction=0,
        schedule="constant",
        clip_norm=0,
        batch_samples=8,
    )
    return dataclasses.replace(
        recipe,
        name="as_published",
        select=dataclasses.replace(recipe.select, history_visits=0, unlabelled=False),
        prompt=dataclasses.replace(recipe.prompt, efficacies=0, student_instruction=True),
        student=dataclasses.replace(
            recipe.student, loss=Loss(soft_weight=0.1, temperature=1.0), optim=published, dtype="float32"
        ),
    )


def ner_tiny() -> NerRecipe:
    """The second study in minutes on two cores: made-up notes, two dictionaries, tiny teacher and student."""
    workers = Workers(num=2, cpus=1)
    return NerRecipe(
        name="ner_tiny",
        notes=ner.Notes(source="synthetic:800", gold_documents=60),
        teacher=ner.TagTeacher(
            dtype="float32",
            tuning="full",
            optim=Optim(epochs=8, learning_rate=3e-3, batch_samples=8, micro_tokens=4096),
            max_tokens=512,
            context_tokens=16,
            gradient_checkpointing=False,
            sharding="zero3_full",
            workers=workers,
        ),
        label=ner.Labelers(
            ontologies=(
                ner.Ontology(
                    name="ontology",
                    vocabularies=tuple(f"{t}=synthetic:{t}" for t in ("disease", "medication", "symptom")),
                ),
                ner.Ontology(
                    name="local lists",
                    vocabularies=("medication=synthetic:formulary", "disease=synthetic:problems"),
                ),
            ),
            shard_rows=128,
            micro_tokens=4096,
            workers=workers,
        ),
        student=ner.Tagger(
            max_tokens=128,
            context_tokens=16,
            tiny=Tiny(vocabulary=3000),  # names of drugs and diseases are many
            optim=Optim(epochs=6, learning_rate=3e-3, batch_samples=16),
            workers=workers,
        ),
        evaluate=ner.Score(bootstrap_draws=500),
    )


def ner_notes() -> NerRecipe:
    """Clinical notes with Qwen2.5-7B as a tagger under ZeRO-3, a local LLM that is asked, dictionaries, and BioBERT.

    Give notes.source, and label.ontologies: the vocabularies are the user's own.
    """
    gpu = Workers(num=8, cpus=8, gpus=1)
    return NerRecipe(
        name="ner_notes",
        notes=ner.Notes(source="brat:NOTES"),
        teacher=ner.TagTeacher(base="Qwen/Qwen2.5-7B-Instruct", workers=gpu),
        label=ner.Labelers(
            ontologies=(
                ner.Ontology(
                    vocabularies=(
                        "disease=do:VOCABULARIES",
                        "symptom=obo:VOCABULARIES/symp.obo",
                        "medication=rxnorm:RXNORM",
                    )
                ),
            ),
            endpoints=(ner.Endpoint(),),
            micro_tokens=65536,
            workers=gpu,
        ),
        student=ner.Tagger(
            base="dmis-lab/biobert-base-cased-v1.2",
            dtype="bfloat16",
            max_tokens=512,
            context_tokens=64,
            optim=Optim(epochs=10, learning_rate=3e-5, micro_tokens=32768),
            workers=gpu,
        ),
    )


def concepts_tiny() -> ConceptRecipe:
    """The third study in minutes on two cores: two made-up hospitals, tiny models, all regimes."""
    workers = Workers(num=2, cpus=1)
    return ConceptRecipe(
        name="concepts_tiny",
        sites=concepts.Sites(sources=("synthetic:1200",)),
        embed=concepts.Embeddings(
            models=(
                concepts.TextModel(
                    name="tiny teacher", pooling="mean", synonyms="synthetic", tiny=Tiny(hidden=128, vocabulary=600)
                ),
            ),
            phrases="synthetic",
            shard_rows=64,
            workers=workers,
        ),
        student=concepts.Encoder(
            of="tiny teacher",
            tiny=Tiny(vocabulary=600),
            optim=Optim(epochs=40, learning_rate=3e-3, batch_samples=16),
            workers=workers,
        ),
        grid=concepts.Grid(
            models=(concepts.PatientModel(), concepts.PatientModel(kind="mean")),
            seeds=2,
            sizes=(50, 200),
            steps_curve=3,
            train=dataclasses.replace(concepts.Grid().train, learning_rate=5e-3),
            tune=dataclasses.replace(concepts.Grid().tune, learning_rate=5e-3),
            workers=workers,
        ),
        evaluate=concepts.Compare(bootstrap_draws=500),
    )


def concepts_eicu() -> ConceptRecipe:
    """Death in hospital from the first day, regions of eICU as sites; on the open demo, wide intervals."""
    workers = Workers(num=2, cpus=1)
    return ConceptRecipe(
        name="concepts_eicu",
        sites=concepts.Sites(
            sources=("eicu:eicu_demo",),
            by="region",
            begin="icu",
            codes=("DIAGNOSIS//EICU//", "MEDICATION//", "TREATMENT//", "HISTORY//"),
            train_fraction=0.5,
        ),
        embed=concepts.Embeddings(
            models=(concepts.TextModel(name="tiny teacher", pooling="mean", tiny=Tiny(hidden=128, vocabulary=2000)),),
            workers=workers,
        ),
        grid=concepts.Grid(
            models=(concepts.PatientModel(), concepts.PatientModel(kind="mean")),
            pairs=tuple(f"rest->{region}" for region in ("South", "Midwest", "West", "Northeast")),
            seeds=3,
            sizes=(50, 100),
            steps_curve=4,
            rates=(1e-3, 5e-3),  # codes want a larger one than vectors
            workers=workers,
        ),
    )


def concepts_two_sites() -> ConceptRecipe:
    """Two health systems, e.g. --source A=mimic3:DIR,B=eicu:DIR: a 7B model's concept space, its student, one-hot."""
    gpu = Workers(num=8, cpus=8, gpus=1)
    qwen = concepts.TextModel(name="Qwen2.5-7B", base="Qwen/Qwen2.5-7B", pooling="mean", dtype="bfloat16", whiten=256)
    bert = concepts.TextModel(name="PubMedBERT", base="NeuML/pubmedbert-base-embeddings")
    return ConceptRecipe(
        name="concepts_two_sites",
        sites=concepts.Sites(sources=("A=mimic3:MIMIC_III", "B=mimic4:MIMIC_IV"), memory_gb=32),
        embed=concepts.Embeddings(models=(qwen, bert), random=256, micro_tokens=65536, workers=gpu),
        student=concepts.Encoder(
            of="Qwen2.5-7B",
            base="google-bert/bert-base-uncased",
            dtype="bfloat16",
            optim=Optim(epochs=20, learning_rate=5e-5, batch_samples=256, micro_tokens=32768),
            workers=gpu,
        ),
        grid=concepts.Grid(
            models=tuple(concepts.PatientModel(kind=kind) for kind in ("max", "mean", "attention", "transformer")),
            sizes=(50, 100, 500),
            steps_curve=4,
            rates=(1e-3, 5e-3),
            workers=Workers(num=64, cpus=1),
        ),
    )


RECIPES: dict[str, Callable[[], AnyRecipe]] = {
    f.__name__: f
    for f in (
        tiny,
        mimic_demo,
        disease_mimic3_7b,
        disease_mimic4_7b,
        as_published,
        ner_tiny,
        ner_notes,
        concepts_tiny,
        concepts_eicu,
        concepts_two_sites,
    )
}


def load(name_or_file: str, overrides: Sequence[str] = ()) -> AnyRecipe:
    """A recipe by name, or from a YAML or JSON file, with dotted overrides (`teacher.lora.rank=8`) on top.

    Raises ValueError, one sentence, where a name is unknown or a value is refused.
    """
    if name_or_file in RECIPES:
        start = RECIPE.dump_python(RECIPES[name_or_file](), mode="json")
    elif Path(name_or_file).is_file():
        start = OmegaConf.to_container(OmegaConf.load(name_or_file))
    else:
        raise ValueError(f"no recipe {name_or_file!r}: give a file, or one of {', '.join(RECIPES)}")
    for override in overrides:
        if "=" not in override:
            raise ValueError(f"override {override!r} is not of the form field=value")
    try:
        merged = OmegaConf.merge(OmegaConf.create(start), OmegaConf.from_dotlist(list(overrides)))
        return RECIPE.validate_python({"study": "disease"} | OmegaConf.to_container(merged))
    except ValidationError as error:
        raise ValueError(_sentence(error)) from None
    except OmegaConfBaseException as error:
        raise ValueError(f"recipe {name_or_file}: {str(error).splitlines()[0]}") from None


def with_source(recipe: AnyRecipe, source: str) -> AnyRecipe:
    """The same recipe on another source; where several may stand, they are told apart by commas."""
    part, field = next(iter(stages.of(recipe).values())).reads.split(".")
    several = isinstance(getattr(getattr(recipe, part), field), tuple)
    values = RECIPE.dump_python(recipe, mode="json")
    values[part][field] = source.split(",") if several else source
    return RECIPE.validate_python(values)


def save(recipe: AnyRecipe, file: Path) -> None:
    """Write the whole recipe, defaults included, as JSON."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(RECIPE.dump_python(recipe, mode="json"), indent=1) + "\n")


def _sentence(error: ValidationError) -> str:
    """The first refusal, in words, with the nearest field name where one was misspelt."""
    first = error.errors(include_url=False)[0]
    study, *place = (str(part) for part in first["loc"] or ("study",))  # the study stands before the field's own place
    name = ".".join(place or [study])
    if first["type"] == "unexpected_keyword_argument":
        default = {"ner": NerRecipe, "concepts": ConceptRecipe}.get(study, Recipe)()
        known = [field for field, _, _ in walk(default)]
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        return f"the recipe has no field {name!r}" + (f"; did you mean {near[0]!r}?" if near else "; see --help")
    if first["type"].startswith("union_tag"):
        return "recipe field study: give disease, ner or concepts"
    return f"recipe field {name}: {first['msg']}, got {first['input']!r}"
