"""This process's device, and the process group it trains in.

Ray Train has made the group before the stage is called; torchrun has only exported the addresses; plain python has
neither.  DDP needs a group for two ranks or more, DeepSpeed even for one.
"""

from datetime import timedelta

import torch
import torch.distributed as dist

from ckd_dist.world import World

TIMEOUT = timedelta(seconds=300)  # a lost rank is an error after this, not a hang


def device_of(world: World) -> torch.device:
    """Return the GPU of this local rank, or the CPU."""
    return (
        torch.device("cuda", world.local_rank % torch.cuda.device_count())
        if torch.cuda.is_available()
        else torch.device("cpu")
    )


def join(world: World) -> torch.device:
    """Make the process group unless there is one, and return this rank's device."""
    device = device_of(world)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        backend = "nccl" if device.type == "cuda" else "gloo"
        store = (
            dist.HashStore() if world.num_ranks == 1 else None
        )  # several ranks: torchrun's MASTER_ADDR and MASTER_PORT
        dist.init_process_group(backend, store=store, rank=world.rank, world_size=world.num_ranks, timeout=TIMEOUT)
    if dist.get_world_size() != world.num_ranks:
        raise ValueError(f"the process group has {dist.get_world_size()} ranks, this stage expects {world.num_ranks}")
    return device
