"""Who am I among the processes of this stage: a value that is passed in, never looked up twice.

Ray Train and torchrun both export RANK, WORLD_SIZE and LOCAL_RANK; plain python exports nothing and is a world of one.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """`rank` of `num_ranks` training processes, `local_rank` on its node."""

    rank: int = 0
    num_ranks: int = 1
    local_rank: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.num_ranks:
            raise ValueError(f"rank {self.rank} is not one of {self.num_ranks} ranks")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "World":
        """Read what torchrun or Ray Train exported; a world of one where nothing was."""
        env = os.environ if environment is None else environment
        return cls(
            rank=int(env.get("RANK", 0)),
            num_ranks=int(env.get("WORLD_SIZE", 1)),
            local_rank=int(env.get("LOCAL_RANK", 0)),
        )

    @property
    def is_leader(self) -> bool:
        """Say whether this is the rank that writes."""
        return self.rank == 0

    def total(self, value: torch.Tensor) -> torch.Tensor:
        """Sum `value` over ranks, on every rank.  A collective: all ranks call it, or none."""
        if self.num_ranks == 1:
            return value
        value = value.clone()
        dist.all_reduce(value)
        return value

    def from_leader(self, value: T) -> T:
        """Return the leader's value, on every rank, whatever the others give.  A collective."""
        if self.num_ranks == 1:
            return value
        held = [value]
        dist.broadcast_object_list(held, src=0)
        return held[0]

    def barrier(self) -> None:
        """Wait for all ranks."""
        if self.num_ranks > 1:
            dist.barrier()
