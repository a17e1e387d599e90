"""A file of ds_configs/: sharding, offload and precision, and nothing that the recipe or the engine has to say."""

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

IN_PACKAGE, IN_CHECKOUT = files("ckd_dist") / "ds_configs", Path(__file__).parents[2] / "ds_configs"
SHARDING = IN_PACKAGE if IN_PACKAGE.is_dir() else IN_CHECKOUT  # a wheel has them inside
SHARDING_MAY_SAY = ("zero_optimization", "data_types", "communication_data_type", "aio", "activation_checkpointing")


def read_sharding(name: str) -> dict[str, Any]:
    """Read a file of ds_configs/ by name, or any by path: sharding, offload and precision, nothing else.

    Raises ValueError where it says what the recipe or this file has to say.
    """
    path = Path(name) if name.endswith(".json") else SHARDING / f"{name}.json"
    try:
        sharding = json.loads(path.read_text())
    except FileNotFoundError:
        known = ", ".join(sorted(p.stem for p in SHARDING.glob("*.json")))
        raise ValueError(f"no sharding {name!r}: give a .json file, or one of {known}") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    return checked(sharding, str(path))


def checked(sharding: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the same; raise ValueError where it holds more than sharding, offload and precision."""
    for key in sharding:
        if key not in SHARDING_MAY_SAY:
            raise ValueError(f"{name} sets {key!r}: it holds sharding, offload and precision; all else is the recipe's")
    zero = sharding.get("zero_optimization", {})
    if zero.get("stage") not in (1, 2, 3):
        raise ValueError(f"{name}: zero_optimization.stage must be 1, 2 or 3")
    if zero.get("elastic_checkpoint"):
        raise ValueError(f"{name}: elastic_checkpoint is no longer supported by DeepSpeed; remove it")
    return dict(sharding)
