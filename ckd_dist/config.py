"""What every recipe is made of: fields, and the parts that studies share.  recipefile.py reads and writes recipes.

A recipe has one frozen dataclass a stage.  A bad value is refused here, before a table is opened or a GPU is taken.
A part that several studies have is declared here once, as data alone: a study's part inherits its fields, gives some
another default (`redeclared`) and adds its own.  No behaviour is inherited, because there is none.

A field is either *what* is computed or *how*.  A change of a `what` field makes the stage's output another output, so a
re-run redoes it and everything after it; a change of a `how` field (workers, micro-batch tokens, progress) does not.
Every field carries its unit in the description: `--help` prints it.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo

DataParallelism = Literal["ddp", "zero1"]  # whole optimizers on every rank, or one spread over them
STRICT = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False)


def what(default: Any, description: str, **bounds: Any) -> Any:
    """Declare a field that changes the result."""
    return Field(default, description=description, **bounds)


def how(default: Any, description: str, **bounds: Any) -> Any:
    """Declare a field that changes speed or place, never the result (beyond the last bits of floating point)."""
    return Field(default, description=description, json_schema_extra={"how": True}, **bounds)


def redeclared(part: type, name: str, default: Any, description: str | None = None) -> Any:
    """Declare an inherited field with another default, and another description if given; its bounds stay.

    part: the class that has the field `name`.
    """
    field = part.__pydantic_fields__[name]
    bounds = {bound: value for each in field.metadata for bound, value in dataclasses.asdict(each).items()}
    description = field.description if description is None else description
    return Field(default, description=description, json_schema_extra=field.json_schema_extra, **bounds)


@dataclass(frozen=True, config=STRICT)
class Workers:
    """Processes of a stage and what each of them holds."""

    num: int = how(1, "processes; 0: as many as the cluster has room for", ge=0)
    min: int = how(0, "fewest processes to go on with while nodes are lost; 0: all of them", ge=0)
    cpus: float = how(1.0, "CPU cores each", gt=0)
    gpus: float = how(0.0, "GPUs each", ge=0)

    def __post_init__(self) -> None:
        """Raise ValueError where the fewest are more than all."""
        if self.num and self.min > self.num:
            raise ValueError(f"workers.min is {self.min} where workers.num is {self.num}: lower it")


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
    save_every: int = how(0, "optimizer steps between checkpoints, beside evaluations; 0: none", ge=0)
    save_minutes: float = how(15.0, "most minutes between checkpoints, by the leader's clock", gt=0)


@dataclass(frozen=True, config=STRICT)
class Lora:
    rank: int = what(16, "rank", ge=1)
    alpha: float = what(32.0, "scale: alpha / rank", gt=0)
    dropout: float = what(0.05, "dropout on the adapter's input", ge=0, lt=1)
    targets: tuple[str, ...] = what(
        ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
        "projections and embeddings that get an adapter, by their names in the base; the head is trained whole",
    )


@dataclass(frozen=True, config=STRICT)
class Tiny:
    """Shape of a model that is made on the spot, where no pretrained one is named."""

    hidden: int = what(64, "hidden size", ge=8)
    layers: int = what(2, "layers", ge=1)
    heads: int = what(4, "attention heads", ge=1)
    vocabulary: int = what(1300, "tokens, learned from the training prompts", ge=300)


@dataclass(frozen=True, config=STRICT)
class SplitPart:
    """Which synthetic hospital, and which subjects are learned from."""

    synthetic_seed: int = what(0, "seed of the synthetic hospital", ge=0)
    train_fraction: float = what(0.7, "share of subjects to learn from", gt=0, lt=1)
    tuning_fraction: float = what(
        0.15, "share of subjects for every choice: checkpoints, temperatures, thresholds, labelers", gt=0, lt=1
    )
    split_seed: int = what(0, "seed of the hash that splits subjects", ge=0)


@dataclass(frozen=True, config=STRICT)
class TablesPart(SplitPart):
    """The same of a hospital's tables, and what reading them takes."""

    memory_gb: float = how(4.0, "most memory that reading may take, GB", gt=0.1)


@dataclass(frozen=True, config=STRICT)
class ModelPart:
    """A pretrained model, or the shape of one that is made on the spot."""

    base: str = what("tiny", "model: a folder, a hub name, or tiny")
    revision: str | None = what(None, "commit of a hub model")
    tiny: Tiny = what(Tiny(), "shape of the tiny base")
    dtype: Literal["float32", "bfloat16"] = what("float32", "precision of the forward pass")


@dataclass(frozen=True, config=STRICT)
class TeacherPart(ModelPart):
    """A teacher, and how its weights are trained and spread."""

    base: str = redeclared(ModelPart, "base", "tiny", "causal language model: a folder, a hub name, or tiny")
    dtype: Literal["float32", "bfloat16"] = redeclared(
        ModelPart, "dtype", "bfloat16", "precision of weights and activations"
    )
    tuning: Literal["lora", "full"] = what("lora", "weights that are trained for the task, beside the head")
    lora: Lora = what(Lora(), "shape of the adapter")
    gradient_checkpointing: bool = how(True, "whether the backward pass computes activations again")
    sharding: str = how("zero3_lora", "DeepSpeed configuration: a file of ds_configs/ without .json, or a path")
    workers: Workers = how(Workers(), "ZeRO ranks")


@dataclass(frozen=True, config=STRICT)
class StudentPart(ModelPart):
    """A student, and how it is trained."""

    base: str = redeclared(ModelPart, "base", "tiny", "BERT-family encoder: a folder, a hub name, or tiny")
    dtype: Literal["float32", "bfloat16"] = redeclared(
        ModelPart, "dtype", "float32", "precision of activations; weights stay float32"
    )
    optim: Optim = what(Optim(), "training of the student")
    engine: DataParallelism = how("ddp", "kind of data parallelism")
    workers: Workers = how(Workers(), "data-parallel ranks")


@dataclass(frozen=True, config=STRICT)
class LabelPart:
    """How rows are labelled, shard by shard."""

    shard_rows: int = what(1024, "samples in a shard", ge=1)
    order_seed: int = what(0, "seed of the order in which shards are made", ge=0)
    micro_tokens: int = how(16384, "padded tokens in a forward pass", ge=16)
    workers: Workers = how(Workers(), "independent labelers, a whole teacher each")


@dataclass(frozen=True, config=STRICT)
class SoftLossPart:
    """How much soft labels weigh, and how soft they are."""

    soft_weight: float = what(0.5, "share of the soft labels' term", ge=0, le=1)
    temperature: float = what(1.0, "temperature T that softens teacher and student", gt=0)


@dataclass(frozen=True, config=STRICT)
class BootstrapPart:
    """How the intervals of a report are drawn."""

    bootstrap_draws: int = what(1000, "resamples for the 95 % intervals", ge=100)
    seed: int = what(0, "seed of the resamples", ge=0)


@dataclass(frozen=True, config=STRICT)
class Endpoint:
    """A language model behind an OpenAI-compatible address."""

    name: str = what("endpoint", "its name in the report")
    url: str = how("http://127.0.0.1:8000/v1", "base address; anything but loopback needs `egress`")
    model: str = what("", "model name that is asked for")
    egress: str = how("", "the sentence that allows sending what it is asked off this machine")
    key_variable: str = how("OPENAI_API_KEY", "environment variable that holds the key, if one is needed")
    timeout: float = how(120.0, "seconds for an answer", gt=0)
    retries: int = how(5, "further attempts after an overload or a broken connection", ge=0)


def walk(config: Any, prefix: str = "") -> Iterator[tuple[str, Any, FieldInfo]]:
    """Yield every leaf of a configuration: dotted name, value, and the field's own description."""
    for name, info in type(config).__pydantic_fields__.items():
        value = getattr(config, name)
        if is_dataclass(value):
            yield from walk(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value, info


def result_fields(config: Any) -> dict[str, Any]:
    """Return the `what` fields of a configuration: equal here means equal results.

    >>> result_fields(Tiny())
    {'hidden': 64, 'layers': 2, 'heads': 4, 'vocabulary': 1300}
    """
    return {name: _plain(value) for name, value, info in walk(config) if not (info.json_schema_extra or {}).get("how")}


def _plain(value: Any) -> Any:
    """Of configurations in a list, again the `what` fields."""
    return (
        [result_fields(each) if is_dataclass(each) else each for each in value] if isinstance(value, tuple) else value
    )


def values_of(part: Any, kind: type) -> Any:
    """Return what a leaf asks of a part: an instance of the dataclass `kind`, each field from the part's of that name.

    So a leaf declares the few values that it takes, and sees nothing else of the recipe.

    >>> values_of(StudentPart(), ModelPart).base
    'tiny'
    """
    return kind(**{field.name: getattr(part, field.name) for field in dataclasses.fields(kind)})


def dump(recipe: Any) -> dict[str, Any]:
    """Return a recipe as JSON would have it, defaults included."""
    return TypeAdapter(type(recipe)).dump_python(recipe, mode="json")
