"""One frozen dataclass a stage.  A bad value is refused here, before a table is opened or a GPU is taken.

A field is either *what* is computed or *how*.  A change of a `what` field makes the stage's output another output, so a
re-run redoes it and everything after it; a change of a `how` field (workers, micro-batch tokens, progress) does not.
Every field carries its unit in the description: `--help` prints it.
"""

from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo

STRICT = ConfigDict(extra="forbid", validate_default=True)


def what(default: Any, description: str, **bounds: Any) -> Any:
    """A field that changes the result."""
    return Field(default, description=description, **bounds)


def how(default: Any, description: str, **bounds: Any) -> Any:
    """A field that changes speed or place, never the result (beyond the last bits of floating point)."""
    return Field(default, description=description, json_schema_extra={"how": True}, **bounds)


@dataclass(frozen=True, config=STRICT)
class Workers:
    """Processes of a stage and what each of them holds."""

    num: int = how(1, "processes", ge=1)
    cpus: float = how(1.0, "CPU cores each", gt=0)
    gpus: float = how(0.0, "GPUs each", ge=0)


@dataclass(frozen=True, config=STRICT)
class Extract:
    """tables -> events"""

    source: str = what(
        "synthetic:1000", "mimic3:DIR, mimic4:DIR, meds:DIR, or synthetic:N for a made-up hospital of N subjects"
    )
    synthetic_seed: int = what(0, "seed of the made-up hospital", ge=0)
    train_fraction: float = what(0.7, "share of subjects to learn from", gt=0, lt=1)
    tuning_fraction: float = what(0.15, "share for checkpoint choice, temperatures and thresholds", gt=0, lt=1)
    split_seed: int = what(0, "seed of the subject hash", ge=0)
    memory_gb: float = how(4.0, "most memory that reading may take, GB", gt=0.1)


@dataclass(frozen=True, config=STRICT)
class Select:
    """events -> samples"""

    labels: str = what(
        "phenotypes25", "label set: phenotypes25, or a YAML file (name -> use_in_benchmark, type, codes)"
    )
    history_visits: int = what(1, "earlier visits kept with a sample", ge=0, le=20)
    min_age: float = what(0.0, "youngest age at the index visit, years", ge=0)
    max_gap_days: float | None = what(None, "longest time to the next visit, days; later ones are censored", gt=0)
    unlabelled: bool = what(True, "keep visits without a successor, for a teacher to label")
    absent_labels: Literal["refuse", "allow"] = what("refuse", "what to do with a label that never occurs in train")


@dataclass(frozen=True, config=STRICT)
class Prompt:
    """samples -> prompts"""

    diagnosis_names: Literal["ccs", "title"] = what("ccs", "say a diagnosis as its CCS category or its full title")
    efficacies: int = what(2, "treatments told per current disease (EADF's m); 0 leaves knowledge out", ge=0, le=10)
    shrinkage: float = what(20.0, "pseudo-visits that pull a treatment's efficacy to its disease's mean", ge=0)
    min_support: int = what(10, "visits a treatment needs before it is told", ge=1)
    teacher_tokens: int = what(1024, "token budget of a teacher prompt", ge=64)
    student_tokens: int = what(512, "token budget of a student text", ge=32)
    student_instruction: bool = what(False, "give the student the instruction too, as published")


@dataclass(frozen=True, config=STRICT)
class Optim:
    """One training phase."""

    epochs: float = what(3.0, "passes over the training samples; 0 leaves the phase out", ge=0)
    learning_rate: float = what(1e-4, "peak learning rate", gt=0)
    head_learning_rate: float | None = what(None, "peak learning rate of the head; none: the same", gt=0)
    weight_decay: float = what(0.01, "decoupled weight decay", ge=0)
    beta2: float = what(0.999, "Adam's second decay", gt=0, lt=1)
    warmup_fraction: float = what(0.1, "share of steps that warm up", ge=0, le=1)
    schedule: Literal["cosine", "linear", "constant"] = what("cosine", "after the warm-up")
    clip_norm: float = what(1.0, "largest gradient norm; 0: no clipping", ge=0)
    batch_samples: int = what(32, "samples in an optimizer step, over all ranks", ge=1)
    seed: int = what(42, "seed of order, dropout and fresh weights", ge=0)
    micro_tokens: int = how(8192, "padded tokens in a micro-batch of one rank", ge=16)
    evaluate_every: int = what(0, "optimizer steps between evaluations on tuning; 0: once an epoch", ge=0)
    save_every: int = how(0, "optimizer steps between checkpoints; 0: at every evaluation", ge=0)


@dataclass(frozen=True, config=STRICT)
class Lora:
    rank: int = what(16, "rank", ge=1)
    alpha: float = what(32.0, "scale: alpha / rank", gt=0)
    dropout: float = what(0.05, "dropout on the adapter's input", ge=0, lt=1)
    targets: tuple[str, ...] = what(
        ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"), "projections that get an adapter"
    )


@dataclass(frozen=True, config=STRICT)
class Tiny:
    """Shape of a model that is made on the spot, where no pretrained one is named."""

    hidden: int = what(64, "hidden size", ge=8)
    layers: int = what(2, "layers", ge=1)
    heads: int = what(4, "attention heads", ge=1)
    vocabulary: int = what(1300, "tokens, learned from the training prompts", ge=300)


@dataclass(frozen=True, config=STRICT)
class Teacher:
    """prompts -> teacher"""

    base: str = what("tiny", "causal language model: a folder, a hub name, or tiny")
    revision: str | None = what(None, "commit of a hub model")
    tiny: Tiny = what(Tiny(), "shape of the tiny base")
    dtype: Literal["float32", "bfloat16"] = what("bfloat16", "precision of weights and activations")
    tuning: Literal["lora", "full"] = what("lora", "what the classification phase trains, beside the head")
    lora: Lora = what(Lora(), "adapter")
    answers: Optim = what(Optim(epochs=3, learning_rate=1e-5, batch_samples=8), "supervised phase on the answer text")
    answers_tuning: Literal["lora", "full"] = what("lora", "what the supervised phase trains")
    labels: Optim = what(Optim(epochs=3, learning_rate=1e-4, batch_samples=32), "classification phase")
    gradient_checkpointing: bool = how(True, "recompute activations in the backward pass")
    sharding: str = how("zero3_lora", "file of ds_configs/ without .json, or a path")
    workers: Workers = how(Workers(), "ZeRO ranks")


@dataclass(frozen=True, config=STRICT)
class Label:
    """teacher -> soft labels"""

    import_from: str | None = what(None, "a soft-label JSON file in CKD-EHR's form to use in place of a teacher's")
    dtype: Literal["float32", "float16"] = what("float32", "precision of stored logits")
    shard_rows: int = what(1024, "samples in a shard", ge=1)
    order_seed: int = what(0, "seed of the order in which shards are made and first read", ge=0)
    micro_tokens: int = how(16384, "padded tokens in a forward pass", ge=16)
    workers: Workers = how(Workers(), "independent labellers, a whole teacher each")


@dataclass(frozen=True, config=STRICT)
class Loss:
    """(1 - soft_weight) * BCE(hard) + soft_weight * T^2 * BCE(teacher at T)"""

    soft_weight: float = what(0.7, "share of the teacher's term", ge=0, le=1)
    temperature: float = what(2.0, "T, softens teacher and student", gt=0)


@dataclass(frozen=True, config=STRICT)
class Student:
    """soft labels -> student"""

    base: str = what("tiny", "BERT-family encoder: a folder, a hub name, or tiny")
    revision: str | None = what(None, "commit of a hub model")
    tiny: Tiny = what(Tiny(), "shape of the tiny base")
    dtype: Literal["float32", "bfloat16"] = what("float32", "precision of activations; weights stay float32")
    loss: Loss = what(Loss(), "what it learns from")
    optim: Optim = what(Optim(epochs=10, learning_rate=2e-5), "schedule")
    hard_twin: bool = what(True, "train the same student on hard labels alone too, as a floor")
    engine: Literal["ddp", "zero1"] = how("ddp", "data parallelism")
    workers: Workers = how(Workers(), "data-parallel ranks")


@dataclass(frozen=True, config=STRICT)
class Evaluate:
    """predictions -> report"""

    bootstrap_draws: int = what(1000, "resamples of subjects for the 95 % intervals", ge=100)
    seed: int = what(0, "seed of the resamples", ge=0)
    timing_samples: int = what(64, "samples in the latency and throughput measurement", ge=1)
    timing_batch: int = what(32, "samples a call, for throughput", ge=1)


@dataclass(frozen=True, config=STRICT)
class Recipe:
    """A whole run of the first study."""

    study: Literal["disease"] = how("disease", "which study")
    name: str = how("unnamed", "shown in the report")
    extract: Extract = what(Extract(), "tables to events")
    select: Select = what(Select(), "events to samples")
    prompt: Prompt = what(Prompt(), "samples to prompts")
    teacher: Teacher = what(Teacher(), "prompts to teacher")
    label: Label = what(Label(), "teacher to soft labels")
    student: Student = what(Student(), "soft labels to student")
    evaluate: Evaluate = what(Evaluate(), "predictions to report")


def walk(config: Any, prefix: str = "") -> Iterator[tuple[str, Any, FieldInfo]]:
    """Every leaf of a configuration: dotted name, value, and the field's own description."""
    for name, info in type(config).__pydantic_fields__.items():
        value = getattr(config, name)
        if is_dataclass(value):
            yield from walk(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value, info


def result_fields(config: Any) -> dict[str, Any]:
    """The `what` fields of a stage: equal here means equal results.

    >>> result_fields(Loss())
    {'soft_weight': 0.7, 'temperature': 2.0}
    """
    return {name: _plain(value) for name, value, info in walk(config) if not (info.json_schema_extra or {}).get("how")}


def _plain(value: Any) -> Any:
    """Of configurations in a list, again the `what` fields."""
    return (
        [result_fields(each) if is_dataclass(each) else each for each in value] if isinstance(value, tuple) else value
    )
