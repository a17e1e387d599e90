"""What every recipe is made of: fields, the parts that studies share, and how a file and overrides become a recipe.

A recipe has one frozen dataclass a stage.  A bad value is refused here, before a table is opened or a GPU is taken.

A field is either *what* is computed or *how*.  A change of a `what` field makes the stage's output another output, so a
re-run redoes it and everything after it; a change of a `how` field (workers, micro-batch tokens, progress) does not.
Every field carries its unit in the description: `--help` prints it.
"""

import difflib
import json
from collections.abc import Iterator, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, Literal

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo
from yaml import YAMLError

from ckd_dist.files import write
from ckd_dist.runfolder import LAYOUT

STRICT = ConfigDict(extra="forbid", validate_default=True)


def what(default: Any, description: str, **bounds: Any) -> Any:
    """Declare a field that changes the result."""
    return Field(default, description=description, **bounds)


def how(default: Any, description: str, **bounds: Any) -> Any:
    """Declare a field that changes speed or place, never the result (beyond the last bits of floating point)."""
    return Field(default, description=description, json_schema_extra={"how": True}, **bounds)


@dataclass(frozen=True, config=STRICT)
class Workers:
    """Processes of a stage and what each of them holds."""

    num: int = how(1, "processes", ge=1)
    cpus: float = how(1.0, "CPU cores each", gt=0)
    gpus: float = how(0.0, "GPUs each", ge=0)


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


def dump(recipe: Any) -> dict[str, Any]:
    """Return a recipe as JSON would have it, defaults included."""
    return TypeAdapter(type(recipe)).dump_python(recipe, mode="json")


def load(kind: type, values: dict[str, Any], overrides: Sequence[str] = (), where: str = "recipe") -> Any:
    """Check `values` as a recipe of class `kind`, with dotted overrides (`teacher.lora.rank=8`) on top.

    where: what a refusal calls it.  Raises ValueError, one sentence, where a field is unknown or a value is refused.
    """
    for override in overrides:
        if "=" not in override:
            raise ValueError(f"override {override!r} is not of the form field=value")
    try:
        merged = OmegaConf.merge(OmegaConf.create(values), OmegaConf.from_dotlist(list(overrides)))
        return TypeAdapter(kind).validate_python(OmegaConf.to_container(merged))
    except ValidationError as error:
        raise ValueError(refusal(error, kind)) from None
    except (OmegaConfBaseException, TypeError, YAMLError) as error:  # TypeError: an override into a list
        raise ValueError(f"{where}: {str(error).splitlines()[0]}; see the overrides {' '.join(overrides)}") from None


def read_file(file: Path) -> dict[str, Any]:
    """Read the values of a YAML or JSON recipe.  Raise ValueError, one sentence, where it is neither."""
    try:
        values = OmegaConf.to_container(OmegaConf.load(file))
    except Exception as error:  # a parser has its own
        raise ValueError(f"recipe {file}: {str(error).splitlines()[0]}") from None
    if not isinstance(values, dict):
        raise ValueError(f"recipe {file}: it holds no fields")
    return {str(name): value for name, value in values.items() if name != "layout"}


def save(recipe: Any, file: Path) -> None:
    """Write the whole recipe, defaults included, as JSON."""
    write(file, json.dumps({"layout": LAYOUT} | dump(recipe), indent=1) + "\n")


def refusal(error: ValidationError, kind: type) -> str:
    """Say the first refusal in words, with the nearest field name where one was misspelt."""
    first = error.errors(include_url=False)[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "unexpected_keyword_argument":
        near = difflib.get_close_matches(name, [field for field, _, _ in walk(kind())], n=1, cutoff=0.5)
        return f"the recipe has no field {name!r}" + (f"; did you mean {near[0]!r}?" if near else "; see `fields`")
    return f"recipe field {name}: {first['msg']}, got {first['input']!r}"
