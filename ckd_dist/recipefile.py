"""Read a recipe's file, lay overrides on top, check the whole, and write it down."""

import difflib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import TypeAdapter, ValidationError
from yaml import YAMLError

from ckd_dist.config import dump, walk
from ckd_dist.files import write
from ckd_dist.mistakes import raise_fault
from ckd_dist.runfolder import LAYOUT


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
        raise_fault(error, file)
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
    whole = not name or isinstance(first["input"], dict)
    if first["type"] == "value_error" and whole:  # of a recipe or a part, which says it in a sentence of its own
        return str(first["ctx"]["error"])
    if first["type"] == "unexpected_keyword_argument":
        near = difflib.get_close_matches(name, [field for field, _, _ in walk(kind())], n=1, cutoff=0.5)
        return f"the recipe has no field {name!r}" + (f"; did you mean {near[0]!r}?" if near else "; see `fields`")
    return f"recipe field {name}: {first['msg']}, got {first['input']!r}"
