"""Experiments of a study as independent jobs: each has a name, a digest of all that shapes it, and one file of results.

An experiment is done where its whole file is there, of the same experiment and digest; the file is written at once.  So
any worker may do any experiment, doing one twice is harmless, and a killed stage goes on.  What an experiment is, and
how it is done, is the study's business.
"""

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import safetensors
import safetensors.torch
from torch import Tensor

from ckd_dist.files import write
from ckd_dist.mistakes import raise_fault

E = TypeVar("E")


class Experiment(Protocol):
    """One training run with one seed: a frozen dataclass of plain values, which its file holds too."""

    @property
    def name(self) -> str:
        """Name its file; different for different experiments."""
        ...


class Plan(Protocol):
    """An experiment and the digest of all that shapes its result."""

    @property
    def experiment(self) -> Experiment:
        """What is done."""
        ...

    @property
    def digest(self) -> str:
        """The same digest, the same result."""
        ...


class Timed(Protocol):
    """When which process did an experiment: unix seconds, process id."""

    @property
    def begun(self) -> float: ...

    @property
    def ended(self) -> float: ...

    @property
    def worker(self) -> int: ...


def readable_name(parts: Sequence[str], key: Any) -> str:
    """Join parts to a name that is safe for a file, and different where `key`, a JSON value, is.

    >>> readable_name(["hard", "100"], ["hard", 100])
    'hard_100-4d3ad195fd16'
    """
    joined = "-".join(part.replace("-", "_") for part in parts)
    readable = re.sub(r"[^A-Za-z0-9]+", "_", joined).strip("_")[:80]
    return f"{readable}-{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:12]}"


def running_order(experiments: Iterable[E], effort: Callable[[E], float], first: Collection[E] = ()) -> list[E]:
    """Return experiments in the order in which they are handed out, so that free workers seldom wait.

    Those in `first`, on which others rest, come before all others; within both the longest, and equals as they compare.
    """
    return sorted(experiments, key=lambda each: (each not in first, -effort(each), each))


def path_of(folder: Path, experiment: Experiment) -> Path:
    """Return the file of an experiment's result."""
    return folder / f"{experiment.name}.safetensors"


def write_result(
    folder: Path, experiment: Experiment, metadata: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> Path:
    """Publish a result as `folder`/<experiment's name>.safetensors, at once and for the owner alone.

    metadata: JSON values, `digest` among them.
    """
    path = path_of(folder, experiment)
    text = json.dumps({"experiment": vars(experiment), **metadata}, sort_keys=True)
    write_unless_tidied(path, safetensors.torch.save(dict(tensors), metadata={"result": text}))
    return path


@contextmanager
def open_result(path: Path) -> Iterator[tuple[dict[str, Any], Any]]:
    """Open what `write_result` wrote: its metadata, and the safetensors file.

    Raises ValueError where it is something else, or cut short.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            yield json.loads(file.metadata()["result"]), file
    except (safetensors.SafetensorError, KeyError, TypeError) as error:
        raise_fault(error, path)
        raise ValueError(f"{path} is no experiment's result, or is cut short: delete it and run again") from error


def is_done(folder: Path, experiment: Experiment, digest: str) -> bool:
    """Say whether the experiment's whole result, from the same inputs, is there."""
    try:
        with open_result(path_of(folder, experiment)) as (metadata, _):
            return metadata["experiment"] == vars(experiment) and metadata["digest"] == digest
    except (OSError, ValueError):
        return False


def missing(folder: Path, plans: Sequence[Plan]) -> list[int]:
    """Return the numbers of the plans whose experiments are not done."""
    return [number for number, plan in enumerate(plans) if not is_done(folder, plan.experiment, plan.digest)]


def write_unless_tidied(path: Path, content: bytes) -> None:
    """Write a file whole; where it was tidied away meanwhile, another worker has written it first."""
    try:
        write(path, content)
    except FileNotFoundError:
        if not path.exists():
            raise


def idle_share(results: Sequence[Timed]) -> float:
    """Return the share of the workers' time that no experiment filled, until the last one was handed out.

    After that a free worker has nothing left to take, which is no fault of the order.  Nor is the time between a launch
    that was stopped and the one that went on.
    """
    busy, total = 0.0, 0.0
    for launch in launches_of(results):
        first, last = launch[0].begun, launch[-1].begun
        total += (last - first) * len({each.worker for each in launch})
        busy += sum(min(each.ended, last) - each.begun for each in launch)
    return 1 - busy / total if total > 0 else 0.0


def launches_of(results: Iterable[Timed]) -> list[list[Timed]]:
    """Part results, in the order of their beginnings, where a worker begins that is new after all others have ended."""
    launches: list[list[Timed]] = []
    for each in sorted(results, key=lambda result: result.begun):
        before = launches[-1] if launches else []
        is_new = each.worker not in {other.worker for other in before}
        if is_new and all(other.ended <= each.begun for other in before):
            launches.append([])
        launches[-1].append(each)
    return launches


def costs_of(results: Sequence[Timed]) -> dict[str, float]:
    """Return the seconds of all experiments together, and the workers' idle share."""
    return {"seconds": sum(each.ended - each.begun for each in results), "idle_share": idle_share(results)}
