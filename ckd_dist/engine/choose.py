"""Which engine trains a student: plain data parallelism, or ZeRO stage 1 with its optimizer state spread."""

from torch import nn

from ckd_dist.config import DataParallelism, Optim
from ckd_dist.engine.ddp import DdpEngine
from ckd_dist.engine.loop import Engine
from ckd_dist.engine.sharding import read_sharding
from ckd_dist.engine.zero import ZeroEngine
from ckd_dist.world import World


def data_parallel(name: DataParallelism, model: nn.Module, optim: Optim, world: World, dtype: str) -> Engine:
    """Return the engine called `name` around `model`.  dtype: of activations."""
    if name == "zero1":
        return ZeroEngine(model, optim, world, sharding=read_sharding("zero1"), dtype=dtype)
    return DdpEngine(model, optim, world, dtype=dtype)
