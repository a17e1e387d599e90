"""The second study's configuration: notes, labelers, their combination, a tagger.  Parts that studies share:
ckd_dist/config.py.
"""

from typing import Literal

from pydantic.dataclasses import dataclass

from ckd_dist.config import (
    STRICT,
    BootstrapPart,
    Endpoint,
    LabelPart,
    Optim,
    SoftLossPart,
    SplitPart,
    StudentPart,
    TeacherPart,
    Workers,
    how,
    redeclared,
    what,
)
from ckd_dist.endpoints.egress import ALLOWED

TYPES = {  # what known corpora call an entity, in whatever case -> our column
    "disease": "disease",
    "Disease": "disease",
    "SpecificDisease": "disease",
    "DiseaseClass": "disease",
    "Modifier": "disease",
    "CompositeMention": "disease",
    "Disease_disorder": "disease",
    "DiseaseOrPhenotypicFeature": "disease",
    "Disorder": "disease",
    "DISO": "disease",
    "medication": "medication",
    "Medication": "medication",
    "Drug": "medication",
    "Chemical": "medication",
    "ChemicalEntity": "medication",
    "CHEM": "medication",
    "symptom": "symptom",
    "Sign_symptom": "symptom",
    "Sign_or_symptom": "symptom",
}


@dataclass(frozen=True, config=STRICT)
class Notes(SplitPart):
    """corpus -> notes"""

    source: str = what(
        "synthetic:800",
        "brat:PATH, iob:PATH, pubtator:PATH, jsonl:PATH, hf:PATH_OR_NAME, text:PATH, mimic3:PATH, mimic4:PATH, "
        "or synthetic:N patients",
    )
    types: dict[str, str] = what(TYPES, "entity type of the corpus -> column that it counts as; others are left out")
    train_fraction: float = redeclared(
        SplitPart, "train_fraction", 0.7, "share of subjects to learn from, where the corpus has no split of its own"
    )
    split_seed: int = redeclared(
        SplitPart,
        "split_seed",
        0,
        "seed of the hash of subjects (of names where there are none) and of the choice of gold_documents",
    )
    gold_documents: int | None = what(None, "most annotated training notes to learn from; none: all", ge=0)


@dataclass(frozen=True, config=STRICT)
class Ontology:
    """A labeler that finds names of vocabularies."""

    name: str = what("ontology", "its name in the report")
    vocabularies: tuple[str, ...] = what(
        (), "type=form:PATH each, e.g. disease=do:DIR, symptom=obo:FILE, medication=drugbank:FILE, disease=tsv:FILE"
    )
    inflections: bool = what(
        True, "whether plurals, spelling variants and short forms that a note defines are found too"
    )
    skip_negated: bool = what(False, "whether an entity that its sentence denies is left out")
    min_letters: int = what(
        3, "letters of the shortest name looked for in any case; shorter ones only as written", ge=1
    )
    confidence: float = what(0.9, "probability that an extracted entity is right", gt=0, le=1)


@dataclass(frozen=True, config=STRICT)
class LabelEndpoint(Endpoint):
    """A labeler that asks a large language model behind an OpenAI-compatible address."""

    name: str = what("llm", "its name in the report")
    model: str = what("Qwen/Qwen2.5-7B-Instruct", "model name that is asked for")
    egress: str = how("", f'the sentence that allows sending notes off this machine: "{ALLOWED}"')
    temperature: float = what(0.0, "sampling temperature", ge=0)
    max_words: int = what(400, "most words of a note in one question", ge=20)
    max_output_tokens: int = what(2048, "longest answer, tokens", ge=16)
    confidence: float = what(0.9, "probability that an extracted entity is right", gt=0, le=1)
    parallel: int = how(8, "questions under way at once", ge=1)
    requests_per_minute: float | None = how(
        None, "most requests a minute of each worker; none: as fast as they are answered", gt=0
    )
    usd_per_million_input: float = how(0.0, "price of a million tokens sent, US dollars", ge=0)
    usd_per_million_output: float = how(0.0, "price of a million tokens answered, US dollars", ge=0)


@dataclass(frozen=True, config=STRICT)
class TagTeacher(TeacherPart):
    """notes -> a causal language model as word tagger, trained on the annotated notes; a labeler by its logits"""

    optim: Optim = what(Optim(epochs=3, learning_rate=1e-4), "training phase")
    max_tokens: int = what(1024, "longest window, tokens", ge=32)
    context_tokens: int = what(64, "tokens of its neighbours that a window shows on either side", ge=0)
    twice: bool = what(
        True, "whether a window is read twice, so that each word has seen all of it (Springer et al. 2024)"
    )


@dataclass(frozen=True, config=STRICT)
class Labelers(LabelPart):
    """notes -> soft tags of every labeler"""

    ontologies: tuple[Ontology, ...] = what((Ontology(),), "dictionaries")
    endpoints: tuple[LabelEndpoint, ...] = what((), "large language models that are asked")
    teacher: bool = what(True, "whether a local teacher is trained and labels too")
    shard_rows: int = redeclared(LabelPart, "shard_rows", 256, "notes in a shard")
    workers: Workers = how(Workers(), "independent labelers")


@dataclass(frozen=True, config=STRICT)
class Combine:
    """soft tags of every labeler -> soft tags"""

    by: Literal["search", "model"] = what(
        "search", "best subset and rule of each type on annotated tuning notes, or a label model that needs no gold"
    )
    gold_documents: int | None = what(None, "most annotated tuning notes that the search sees; none: all", ge=1)


@dataclass(frozen=True, config=STRICT)
class TagLoss(SoftLossPart):
    """(1 - soft_weight) * CE(human) + soft_weight * T^2 * KL(combined tags at T || student at T)"""

    soft_weight: float = redeclared(
        SoftLossPart, "soft_weight", 0.5, "weight of the combined tags where human ones are known; 1 elsewhere"
    )
    balance: float = what(0.25, "exponent by which rare tags weigh more, (1 / share)^balance; 0: all alike", ge=0, le=1)


@dataclass(frozen=True, config=STRICT)
class Tagger(StudentPart):
    """soft tags -> student"""

    max_tokens: int = what(256, "longest window, tokens", ge=16)
    context_tokens: int = what(32, "tokens of its neighbours that a window shows on either side", ge=0)
    crf: bool = what(False, "whether a linear-chain CRF over the words is the last layer")
    loss: TagLoss = what(TagLoss(), "loss")
    optim: Optim = what(Optim(epochs=5, learning_rate=5e-5), "training of the student")
    hard_baseline: bool = what(True, "whether the same student is trained on human labels alone too, as a baseline")
    gold_sizes: tuple[int, ...] = what((), "numbers of annotated notes of further students each: a learning curve")


@dataclass(frozen=True, config=STRICT)
class Score(BootstrapPart):
    """students and labelers -> report"""

    timing_documents: int = what(50, "notes in the speed measurement", ge=1)
    other_corpora: tuple[str, ...] = what((), "annotated sources, written like notes.source, to score on other text")


@dataclass(frozen=True, config=STRICT)
class NerRecipe:
    """A whole run of the second study."""

    study: Literal["ner"] = how("ner", "name of the study")
    name: str = how("unnamed", "name shown in the report")
    notes: Notes = what(Notes(), "corpus to notes")
    teacher: TagTeacher = what(TagTeacher(), "notes to teacher")
    label: Labelers = what(Labelers(), "notes to soft tags of every labeler")
    combine: Combine = what(Combine(), "to one set of soft tags")
    student: Tagger = what(Tagger(), "soft tags to student")
    evaluate: Score = what(Score(), "to a report")
