"""The first study's configuration.  Parts that studies share: ckd_dist/config.py."""

from typing import Literal

from pydantic.dataclasses import dataclass

from ckd_dist.config import STRICT, Lora, Optim, Tiny, Workers, how, what
from ckd_dist.ehr.criteria import Criteria


@dataclass(frozen=True, config=STRICT)
class Extract:
    """Settings of tables -> events."""

    source: str = what(
        "synthetic:1000",
        "tables: mimic3:DIR, mimic4:DIR, eicu:DIR, meds:DIR, or synthetic:N, a synthetic hospital of N subjects",
    )
    synthetic_seed: int = what(0, "seed of the synthetic hospital", ge=0)
    train_fraction: float = what(0.7, "share of subjects to learn from", gt=0, lt=1)
    tuning_fraction: float = what(
        0.15, "share of subjects for the choice of checkpoint, temperatures and thresholds", gt=0, lt=1
    )
    split_seed: int = what(0, "seed of the hash that splits subjects", ge=0)
    memory_gb: float = how(4.0, "most memory that reading may take, GB", gt=0.1)


@dataclass(frozen=True, config=STRICT)
class Select:
    """Settings of events -> samples."""

    labels: str = what(
        "phenotypes25", "label set: phenotypes25, or a YAML file (name -> use_in_benchmark, type, codes)"
    )
    history_visits: int = what(1, "most earlier visits kept with a sample", ge=0, le=20)
    min_age: float = what(0.0, "youngest age at the index visit, years", ge=0)
    max_gap_days: float | None = what(None, "longest time to the next visit, days; later ones are censored", gt=0)
    unlabelled: bool = what(True, "whether visits without a next visit are kept, for a teacher to label")
    absent_labels: Literal["refuse", "allow"] = what("refuse", "treatment of a label that never occurs in train")


@dataclass(frozen=True, config=STRICT)
class Prompt:
    """Settings of samples -> prompts."""

    diagnosis_names: Literal["ccs", "title"] = what("ccs", "name of a diagnosis: its CCS category, or its full title")
    efficacies: int = what(
        2, "most treatments listed for each current disease (EADF's m); 0 leaves knowledge out", ge=0, le=10
    )
    shrinkage: float = what(20.0, "pseudo-visits that pull a treatment's efficacy to its disease's mean", ge=0)
    min_support: int = what(10, "fewest training visits with a treatment for it to be listed", ge=1)
    teacher_tokens: int = what(1024, "budget of a teacher's prompt, tokens", ge=64)
    student_tokens: int = what(512, "budget of a student's text, tokens", ge=32)
    student_instruction: bool = what(False, "whether the student's text has the instruction too, as published")


@dataclass(frozen=True, config=STRICT)
class Teacher:
    """Settings of prompts -> teacher."""

    base: str = what("tiny", "causal language model: a folder, a hub name, or tiny")
    revision: str | None = what(None, "commit of a hub model")
    tiny: Tiny = what(Tiny(), "shape of the tiny base")
    dtype: Literal["float32", "bfloat16"] = what("bfloat16", "precision of weights and activations")
    tuning: Literal["lora", "full"] = what("lora", "weights that classification trains, beside the head")
    lora: Lora = what(Lora(), "shape of the adapter")
    sft: Optim = what(
        Optim(epochs=3, learning_rate=1e-5, batch_samples=8), "supervised fine-tuning (SFT) on the answer text"
    )
    sft_tuning: Literal["lora", "full"] = what("lora", "weights that supervised fine-tuning trains")
    labels: Optim = what(Optim(epochs=3, learning_rate=1e-4, batch_samples=32), "training of the classification")
    gradient_checkpointing: bool = how(True, "whether the backward pass computes activations again")
    sharding: str = how("zero3_lora", "name of a file of ds_configs/ without .json, or a path")
    workers: Workers = how(Workers(), "ZeRO ranks")


@dataclass(frozen=True, config=STRICT)
class Label:
    """Settings of teacher -> soft labels."""

    import_from: str | None = what(None, "soft-label JSON file in CKD-EHR's form, in place of a teacher's soft labels")
    dtype: Literal["float32", "float16"] = what("float32", "precision of stored logits")
    shard_rows: int = what(1024, "samples in a shard", ge=1)
    order_seed: int = what(0, "seed of the order in which shards are made and first read", ge=0)
    micro_tokens: int = how(16384, "padded tokens in a forward pass", ge=16)
    workers: Workers = how(Workers(), "independent labelers, a whole teacher each")


@dataclass(frozen=True, config=STRICT)
class Loss:
    """Weights of the loss (1 - soft_weight) * BCE(hard) + soft_weight * T^2 * BCE(teacher at T)."""

    soft_weight: float = what(0.7, "share of the teacher's term", ge=0, le=1)
    temperature: float = what(2.0, "temperature T that softens teacher and student", gt=0)


@dataclass(frozen=True, config=STRICT)
class Student:
    """Settings of soft labels -> student."""

    base: str = what("tiny", "BERT-family encoder: a folder, a hub name, or tiny")
    revision: str | None = what(None, "commit of a hub model")
    tiny: Tiny = what(Tiny(), "shape of the tiny base")
    dtype: Literal["float32", "bfloat16"] = what("float32", "precision of activations; weights stay float32")
    loss: Loss = what(Loss(), "weights of the terms of hard and soft labels")
    optim: Optim = what(Optim(epochs=10, learning_rate=2e-5), "training of the student")
    hard_baseline: bool = what(True, "whether a hard-label baseline is trained: the same student without soft labels")
    engine: Literal["ddp", "zero1"] = how("ddp", "kind of data parallelism")
    workers: Workers = how(Workers(), "data-parallel ranks")


@dataclass(frozen=True, config=STRICT)
class Evaluate:
    """Settings of predictions -> report."""

    bootstrap_draws: int = what(1000, "resamples of subjects for the 95 % intervals", ge=100)
    seed: int = what(0, "seed of the resamples", ge=0)
    timing_samples: int = what(64, "samples in the measurement of latency and throughput", ge=1)
    timing_batch: int = what(32, "samples a call, for throughput", ge=1)


@dataclass(frozen=True, config=STRICT)
class DiseaseRecipe:
    """A whole run of the first study."""

    study: Literal["disease"] = how("disease", "name of the study")
    name: str = how("unnamed", "name shown in the report")
    extract: Extract = what(Extract(), "tables to events")
    select: Select = what(Select(), "events to samples")
    prompt: Prompt = what(Prompt(), "samples to prompts")
    teacher: Teacher = what(Teacher(), "prompts to teacher")
    label: Label = what(Label(), "teacher to soft labels")
    student: Student = what(Student(), "soft labels to student")
    evaluate: Evaluate = what(Evaluate(), "predictions to report")


def criteria_of(select: Select) -> Criteria:
    """Return which visits become samples."""
    return Criteria(select.history_visits, select.min_age, select.max_gap_days, select.unlabelled)
