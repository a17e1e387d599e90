"""World: what torchrun and Ray Train export becomes a value; nonsense is refused."""

import pytest
import torch

from ckd_dist.world import World


def test_plain_python_is_a_world_of_one():
    world = World.from_environment({})
    assert (world.rank, world.num_ranks, world.is_leader) == (0, 1, True)
    assert world.total(torch.tensor(3.0)) == 3.0


def test_torchrun_exports():
    world = World.from_environment({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"})
    assert (world.rank, world.num_ranks, world.local_rank, world.is_leader) == (3, 4, 1, False)


@pytest.mark.parametrize("fields", [{"rank": 2, "num_ranks": 2}, {"rank": -1}])
def test_impossible_ranks_are_refused(fields):
    with pytest.raises(ValueError, match="is not one of"):
        World(**fields)
