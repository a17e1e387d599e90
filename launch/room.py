"""The workers that a stage wants, how many of them the nodes of a cluster hold, and what is left over."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch

from ckd_dist.config import Workers
from ckd_dist.study import Context, Stage

Node = Mapping[str, float]  # {"CPU": cores, "GPU": GPUs}


def this_machine() -> Node:
    """Count what this process may use of its machine."""
    return {"CPU": float(len(os.sched_getaffinity(0))), "GPU": float(torch.cuda.device_count())}


def workers_of(stage: Stage, context: Context) -> Workers:
    """Return the workers of a stage that runs on the cluster; one, where the recipe says nothing."""
    return getattr(getattr(context.recipe, stage.part), "workers", Workers())


def device_of(workers: Workers) -> str:
    """Return where workers compute."""
    return "cuda" if workers.gpus else "cpu"


def num_that_fit(workers: Workers, nodes: Sequence[Node]) -> int:
    """Count the workers of a stage that the nodes hold at once."""
    return sum(_on_one(workers, node) for node in nodes)


def filled(workers: Workers, nodes: Sequence[Node]) -> Workers:
    """Return the workers with their number: where the recipe leaves it open, as many as the nodes hold.

    >>> filled(Workers(num=0, cpus=8, gpus=1), [{"CPU": 64, "GPU": 8}, {"CPU": 64, "GPU": 8}]).num
    16
    """
    if workers.num:
        return workers
    num = num_that_fit(workers, nodes)
    return replace(workers, num=num, min=min(workers.min, num))


def check_room(asked: Mapping[str, Workers], nodes: Sequence[Node], where: str) -> None:
    """Raise ValueError where the nodes cannot hold the workers of a stage at once, or the fewest that it goes on with.

    asked: of each part of the recipe.
    """
    num_cpus, num_gpus = (_total(kind, nodes) for kind in ("CPU", "GPU"))
    there = f"{where} has {num_cpus:g} CPU cores and {num_gpus:g} GPUs on {len(nodes)} node(s)"
    for part, workers in asked.items():
        fits = num_that_fit(workers, nodes)
        each = f"{workers.cpus:g} CPU and {workers.gpus:g} GPU"
        if fits == 0:
            raise ValueError(
                f"{there}, one worker of {part} needs {each}: lower {part}.workers.cpus or {part}.workers.gpus"
            )
        if fits < (workers.min or workers.num):
            asks = f"{part} asks for {workers.min or workers.num} workers of {each}"
            raise ValueError(f"{there}, {asks}: give {part}.workers.{'min' if workers.min else 'num'}={fits}")


def say_idle(asked: Mapping[str, Workers], nodes: Sequence[Node], say: Callable[[str], None]) -> None:
    """Say which GPUs a stage leaves idle, and what would use them: a machine that is lent is paid for whole."""
    num_gpus = _total("GPU", nodes)
    for part, workers in asked.items():
        used = filled(workers, nodes).num * workers.gpus
        if not workers.gpus or num_gpus - used < workers.gpus:
            continue
        cpus = [node["CPU"] * workers.gpus / node["GPU"] for node in nodes if node.get("GPU")]
        if workers.num and num_that_fit(workers, nodes) > workers.num:
            words = f"{part}.workers.num=0 uses all"
        else:
            words = f"lower {part}.workers.cpus to {min(cpus):g}"
        say(f"{part}: {num_gpus - used:g} of {num_gpus:g} GPUs stay idle; {words}")


def _total(kind: str, nodes: Sequence[Node]) -> float:
    return sum(node.get(kind, 0) for node in nodes)


def _on_one(workers: Workers, node: Node) -> int:
    """How many of the workers one node holds."""
    room = node.get("CPU", 0) / workers.cpus
    return int(min(room, node.get("GPU", 0) / workers.gpus) if workers.gpus else room)
