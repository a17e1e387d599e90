"""A node on which workers failed twice is left alone, as long as the others have room for all.

Ray Train asks a callback for labels of the nodes on which the next group of workers may start, and tells it when a
group is to grow, which is said.  The classes of such callbacks are no public interface of Ray yet: pyproject.toml pins
its minor version.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.train.v2._internal.execution.callback import ControllerCallback, WorkerGroupCallback
from ray.train.v2._internal.execution.controller.state import ResizingState

from ckd_dist.config import Workers
from ckd_dist.mistakes import is_mistake, is_of_a_peer

from .faults import append, innermost
from .room import num_that_fit

TWICE, DAY = 2, 86_400.0  # faults within so many seconds
LABEL = "ray.io/node-id"
FROZEN = "WorkerHealthCheckTimeoutError"


def at_fault(errors: Mapping[int, BaseException]) -> list[int]:
    """Return the ranks that failed of themselves: those that died, froze, or raised more than another one's loss.

    Where all did, as when NCCL ends every process, nobody is to blame.

    >>> at_fault({0: RuntimeError("Connection closed by peer"), 1: RuntimeError("CUDA error: uncorrectable ECC error")})
    [1]
    """
    ranks = []
    for rank, error in errors.items():
        inner = innermost(error)
        of_itself = isinstance(inner, RayError) or not (is_mistake(inner) or is_of_a_peer(inner))
        if of_itself or FROZEN in (type(error).__name__, type(inner).__name__):
            ranks.append(rank)
    return ranks if len(ranks) < len(errors) or len(errors) == 1 else []


class FaultyNodes:
    """Counts the faults of nodes, and says where workers are better started.

    note: is told of a node that is left alone.
    """

    def __init__(self, workers: Workers, note: Callable[[str], None]) -> None:
        self._workers, self._note = workers, note
        self._faults: defaultdict[str, list[float]] = defaultdict(list)  # when each node failed
        self._told: set[str] = set()

    def failed(self, node: str) -> None:
        """Count a fault of a node."""
        self._faults[node].append(time.monotonic())

    def labels(self) -> dict[str, str] | None:
        """Return labels that keep workers away from faulty nodes; None where the others have no room for all."""
        since = time.monotonic() - DAY
        faulty = {node for node, times in self._faults.items() if sum(each > since for each in times) >= TWICE}
        if not faulty:
            return None
        alive = [node for node in ray.nodes() if node["Alive"]]
        others = [node["Resources"] for node in alive if node["NodeID"] not in faulty]
        if num_that_fit(self._workers, others) < self._workers.num:
            return None
        for node in alive:
            if node["NodeID"] in faulty - self._told:
                self._note(f"workers failed twice on node {node['NodeManagerHostname']}: it is left alone")
        self._told |= faulty
        return {LABEL: f"!in({','.join(sorted(faulty))})"}


class Elsewhere(WorkerGroupCallback, ControllerCallback):
    """Runs in Ray's controller: knows where ranks ran, and lets the next ones start where none failed twice.

    file: where a node that is left alone gets a line, and a group that grows, for the driver to show.
    """

    def __init__(self, workers: Workers, file: Path) -> None:
        self._note = partial(append, file)
        self._nodes, self._places, self._starts = FaultyNodes(workers, self._note), {}, 0

    def after_worker_group_start(self, worker_group: Any) -> None:
        """Note the node of every rank."""
        self._starts = 0
        workers = worker_group.get_worker_group_state().workers
        self._places = {each.distributed_context.world_rank: each.metadata.node_id for each in workers}

    def after_worker_group_poll_status(self, worker_group_status: Any) -> None:
        """Count the nodes of the ranks that failed, once each."""
        for node in {self._places[rank] for rank in at_fault(worker_group_status.errors) if rank in self._places}:
            self._nodes.failed(node)

    def after_controller_state_update(self, previous_state: Any, current_state: Any) -> None:
        """Note that ranks which work are ended, without a fault, so that another number of them starts."""
        if isinstance(current_state, ResizingState):
            num = current_state.scaling_decision.num_workers
            self._note(
                f"nodes have come or gone: {num} ranks instead of {len(self._places)} start from the last checkpoint"
            )

    def on_controller_start_worker_group(self, *, scaling_config: Any, num_workers: int) -> dict[str, str] | None:
        """Return the labels of the nodes on which the next workers may start."""
        if self._starts:
            self._note(f"{num_workers} ranks found no place ({self._starts}): nodes are missing; trying again")
        self._starts += 1
        return self._nodes.labels()
