"""The second study's configuration: notes, labelers, their combination, a tagger.  Parts that studies share:
ckd_dist/config.py.
"""

from typing import Literal

from pydantic.dataclasses import dataclass

from ckd_dist.config import STRICT, Endpoint, Lora, Optim, Tiny, Workers, how, what
from ckd_dist.endpoints.egress import ALLOWED

TYPES = {  # what known corpora call an entity -> our column
    "disease": "disease",
    "Disease": "disease",
    "SpecificDisease": "disease",
    "DiseaseClass": "disease",
    "Modifier": "disease",
    "CompositeMention": "disease",
    "Disease_disorder": "disease",
    "medication": "medication",
    "Medication": "medication",
    "Drug": "medication",
    "symptom": "symptom",
    "Sign_symptom": "symptom",
}


@dataclass(frozen=True, config=STRICT)
class Notes:
    """corpus -> notes"""

    source: str = what(
        "synthetic:800",
        "brat:DIR, iob:DIR, pubtator:DIR, jsonl:DIR, text:DIR, mimic3:DIR, mimic4:DIR, or synthetic:N patients",
    )
    synthetic_seed: int = what(0, "seed of the synthetic hospital", ge=0)
    types: dict[str, str] = what(TYPES, "entity type of the corpus -> column that it counts as; others are left out")
    train_fraction: float = what(
        0.7, "share of subjects to learn from, where the corpus has no split of its own", gt=0, lt=1
    )
    tuning_fraction: float = what(0.15, "share of subjects for choosing labelers and checkpoints", gt=0, lt=1)
    split_seed: int = what(
        0, "seed of the hash of subjects (of names where there are none) and of the choice of gold_documents", ge=0
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
class TagTeacher:
    """notes -> a causal language model as word tagger, trained on the annotated notes; a labeler by its logits"""

    base: str = what("tiny", "causal language model: a folder, a hub name, or tiny")
    revision: str | None = what(None, "commit of a hub model")
    tiny: Tiny = what(Tiny(), "shape of the tiny base")
    dtype: Literal["float32", "bfloat16"] = what("bfloat16", "precision of weights and activations")
    tuning: Literal["lora", "full"] = what("lora", "parameters that are trained, beside the head")
    lora: Lora = what(Lora(), "adapter")
    optim: Optim = what(Optim(epochs=3, learning_rate=1e-4), "training phase")
    max_tokens: int = what(1024, "longest window, tokens", ge=32)
    context_tokens: int = what(64, "tokens of its neighbours that a window shows on either side", ge=0)
    twice: bool = what(
        True, "whether a window is read twice, so that each word has seen all of it (Springer et al. 2024)"
    )
    gradient_checkpointing: bool = how(True, "whether activations are recomputed in the backward pass")
    sharding: str = how("zero3_lora", "DeepSpeed configuration: a file of ds_configs/ without .json, or a path")
    workers: Workers = how(Workers(), "ZeRO ranks")


@dataclass(frozen=True, config=STRICT)
class Labelers:
    """notes -> soft tags of every labeler"""

    ontologies: tuple[Ontology, ...] = what((Ontology(),), "dictionaries")
    endpoints: tuple[LabelEndpoint, ...] = what((), "large language models that are asked")
    teacher: bool = what(True, "whether a local teacher is trained and labels too")
    shard_rows: int = what(256, "notes in a shard", ge=1)
    order_seed: int = what(0, "seed of the order in which shards are made", ge=0)
    micro_tokens: int = how(16384, "padded tokens in a forward pass of the teacher", ge=16)
    workers: Workers = how(Workers(), "independent labelers")


@dataclass(frozen=True, config=STRICT)
class Combine:
    """soft tags of every labeler -> soft tags"""

    by: Literal["search", "model"] = what(
        "search", "best subset and rule of each type on annotated tuning notes, or a label model that needs no gold"
    )
    gold_documents: int | None = what(None, "most annotated tuning notes that the search sees; none: all", ge=1)


@dataclass(frozen=True, config=STRICT)
class TagLoss:
    """(1 - soft_weight) * CE(human) + soft_weight * T^2 * KL(combined tags at T || student at T)"""

    soft_weight: float = what(0.5, "weight of the combined tags where human ones are known; 1 elsewhere", ge=0, le=1)
    temperature: float = what(1.0, "temperature T of student and combined tags", gt=0)
    balance: float = what(0.25, "exponent by which rare tags weigh more, (1 / share)^balance; 0: all alike", ge=0, le=1)


@dataclass(frozen=True, config=STRICT)
class Tagger:
    """soft tags -> student"""

    base: str = what("tiny", "BERT-family encoder: a folder, a hub name, or tiny")
    revision: str | None = what(None, "commit of a hub model")
    tiny: Tiny = what(Tiny(), "shape of the tiny base")
    dtype: Literal["float32", "bfloat16"] = what("float32", "precision of activations; weights stay float32")
    max_tokens: int = what(256, "longest window, tokens", ge=16)
    context_tokens: int = what(32, "tokens of its neighbours that a window shows on either side", ge=0)
    crf: bool = what(False, "whether a linear-chain CRF over the words is the last layer")
    loss: TagLoss = what(TagLoss(), "loss")
    optim: Optim = what(Optim(epochs=5, learning_rate=5e-5), "training phase")
    hard_baseline: bool = what(True, "whether the same student is trained on human labels alone too, as a baseline")
    gold_sizes: tuple[int, ...] = what((), "numbers of annotated notes of further students each: a learning curve")
    engine: Literal["ddp", "zero1"] = how("ddp", "data parallelism")
    workers: Workers = how(Workers(), "data-parallel ranks")


@dataclass(frozen=True, config=STRICT)
class Score:
    """students and labelers -> report"""

    bootstrap_draws: int = what(1000, "resamples of notes for the 95 % intervals", ge=100)
    seed: int = what(0, "seed of the resamples", ge=0)
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
