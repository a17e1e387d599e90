"""The second study's configuration: notes, labelers, their combination, a tagger.  Shared parts: config.py."""

from typing import Literal

from pydantic.dataclasses import dataclass

from ckd_dist.config import STRICT, Lora, Optim, Tiny, Workers, how, what

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
    synthetic_seed: int = what(0, "seed of the made-up hospital", ge=0)
    types: dict[str, str] = what(TYPES, "what the corpus calls an entity -> the column it counts as; others are left")
    train_fraction: float = what(0.7, "share to learn from, where the corpus has no split of its own", gt=0, lt=1)
    tuning_fraction: float = what(0.15, "share for choosing labelers and checkpoints", gt=0, lt=1)
    split_seed: int = what(0, "seed of the hash of subject, or of name where there is none", ge=0)
    gold_documents: int | None = what(None, "annotated training notes that may be learned from; none: all", ge=0)


@dataclass(frozen=True, config=STRICT)
class Ontology:
    """A labeler that finds names of vocabularies."""

    name: str = what("ontology", "its name in the report")
    vocabularies: tuple[str, ...] = what(
        (), "type=form:PATH each, e.g. disease=do:DIR, symptom=obo:FILE, medication=drugbank:FILE, disease=tsv:FILE"
    )
    inflections: bool = what(True, "find plurals, spellings and short forms that the note defines too")
    skip_negated: bool = what(False, "leave out what the sentence denies")
    min_letters: int = what(3, "shortest name that is looked for in any case; shorter ones only as written", ge=1)
    confidence: float = what(0.9, "probability that a finding is right", gt=0, le=1)


@dataclass(frozen=True, config=STRICT)
class Endpoint:
    """A labeler that asks a large language model behind an OpenAI-compatible address."""

    name: str = what("llm", "its name in the report")
    url: str = how("http://127.0.0.1:8000/v1", "base address; anything but loopback needs `egress`")
    model: str = what("Qwen/Qwen2.5-7B-Instruct", "model name that is asked for")
    egress: str = how(
        "", 'to send notes off this machine: "the data use agreement of these notes allows this endpoint"'
    )
    key_variable: str = how("OPENAI_API_KEY", "environment variable that holds the key, if one is needed")
    temperature: float = what(0.0, "sampling temperature", ge=0)
    max_words: int = what(400, "words of a note in one question", ge=20)
    max_output_tokens: int = what(2048, "longest answer, tokens", ge=16)
    confidence: float = what(0.9, "probability that a finding is right", gt=0, le=1)
    parallel: int = how(8, "questions under way at once", ge=1)
    requests_per_minute: float | None = how(None, "limit of each worker; none: as fast as it is answered", gt=0)
    timeout: float = how(120.0, "seconds for an answer", gt=0)
    retries: int = how(5, "further attempts after an overload or a broken connection", ge=0)
    usd_per_million_input: float = how(0.0, "price of a million tokens sent, US dollars", ge=0)
    usd_per_million_output: float = how(0.0, "price of a million tokens answered, US dollars", ge=0)


@dataclass(frozen=True, config=STRICT)
class TagTeacher:
    """notes -> a causal language model as word tagger, trained on the annotated notes; a labeler by its logits"""

    base: str = what("tiny", "causal language model: a folder, a hub name, or tiny")
    revision: str | None = what(None, "commit of a hub model")
    tiny: Tiny = what(Tiny(), "shape of the tiny base")
    dtype: Literal["float32", "bfloat16"] = what("bfloat16", "precision of weights and activations")
    tuning: Literal["lora", "full"] = what("lora", "what is trained, beside the head")
    lora: Lora = what(Lora(), "adapter")
    optim: Optim = what(Optim(epochs=3, learning_rate=1e-4), "schedule")
    max_tokens: int = what(1024, "longest window, tokens", ge=32)
    context_tokens: int = what(64, "tokens of its neighbours that a window shows on either side", ge=0)
    twice: bool = what(True, "read a window twice, so that each word has seen all of it (Springer et al. 2024)")
    gradient_checkpointing: bool = how(True, "recompute activations in the backward pass")
    sharding: str = how("zero3_lora", "file of ds_configs/ without .json, or a path")
    workers: Workers = how(Workers(), "ZeRO ranks")


@dataclass(frozen=True, config=STRICT)
class Labelers:
    """notes -> soft tags of every labeler"""

    ontologies: tuple[Ontology, ...] = what((Ontology(),), "dictionaries")
    endpoints: tuple[Endpoint, ...] = what((), "large language models that are asked")
    teacher: bool = what(True, "the local teacher labels too")
    shard_rows: int = what(256, "notes in a shard", ge=1)
    order_seed: int = what(0, "seed of the order in which shards are made", ge=0)
    micro_tokens: int = how(16384, "padded tokens in a forward pass of the teacher", ge=16)
    workers: Workers = how(Workers(), "independent labellers")


@dataclass(frozen=True, config=STRICT)
class Combine:
    """soft tags of every labeler -> soft tags"""

    by: Literal["search", "model"] = what(
        "search", "best subset and rule of each type on annotated tuning notes, or a model that needs no gold"
    )
    gold_documents: int | None = what(None, "annotated tuning notes that the search may see; none: all", ge=1)


@dataclass(frozen=True, config=STRICT)
class TagLoss:
    """(1 - soft_weight) * CE(human) + soft_weight * T^2 * KL(combined tags at T || student at T)"""

    soft_weight: float = what(0.5, "share of the combined tags where human ones are known; 1 elsewhere", ge=0, le=1)
    temperature: float = what(1.0, "T, softens both", gt=0)
    balance: float = what(0.25, "rare tags weigh (1 / share)^balance more; 0: all alike", ge=0, le=1)


@dataclass(frozen=True, config=STRICT)
class Tagger:
    """soft tags -> student"""

    base: str = what("tiny", "BERT-family encoder: a folder, a hub name, or tiny")
    revision: str | None = what(None, "commit of a hub model")
    tiny: Tiny = what(Tiny(), "shape of the tiny base")
    dtype: Literal["float32", "bfloat16"] = what("float32", "precision of activations; weights stay float32")
    max_tokens: int = what(256, "longest window, tokens", ge=16)
    context_tokens: int = what(32, "tokens of its neighbours that a window shows on either side", ge=0)
    crf: bool = what(False, "a linear-chain CRF over the words")
    loss: TagLoss = what(TagLoss(), "what it learns from")
    optim: Optim = what(Optim(epochs=5, learning_rate=5e-5), "schedule")
    hard_twin: bool = what(True, "train the same student on human labels alone too, for comparison")
    gold_sizes: tuple[int, ...] = what((), "also train with this many annotated notes each: a learning curve")
    engine: Literal["ddp", "zero1"] = how("ddp", "data parallelism")
    workers: Workers = how(Workers(), "data-parallel ranks")


@dataclass(frozen=True, config=STRICT)
class Score:
    """students and labelers -> report"""

    bootstrap_draws: int = what(1000, "resamples of notes for the 95 % intervals", ge=100)
    seed: int = what(0, "seed of the resamples", ge=0)
    timing_documents: int = what(50, "notes in the speed measurement", ge=1)
    other_corpora: tuple[str, ...] = what((), "sources like notes.source, annotated: what is lost on other text")


@dataclass(frozen=True, config=STRICT)
class NerRecipe:
    """A whole run of the second study."""

    study: Literal["ner"] = how("ner", "which study")
    name: str = how("unnamed", "shown in the report")
    notes: Notes = what(Notes(), "corpus to notes")
    teacher: TagTeacher = what(TagTeacher(), "notes to teacher")
    label: Labelers = what(Labelers(), "notes to soft tags of every labeler")
    combine: Combine = what(Combine(), "to one set of soft tags")
    student: Tagger = what(Tagger(), "soft tags to student")
    evaluate: Score = what(Score(), "to a report")
