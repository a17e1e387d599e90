"""A teacher under ZeRO: built while its weights are spread, wrapped in the engine that trains it, and exported."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from ckd_dist.config import Lora, Optim
from ckd_dist.engine.export import Form
from ckd_dist.engine.readback import Predictor
from ckd_dist.engine.sharding import read_sharding
from ckd_dist.engine.zero import ZeroEngine, sharded_loading
from ckd_dist.models.export import export_teacher
from ckd_dist.models.teacher import TeacherOptions
from ckd_dist.models.wrapper import Wrapper
from ckd_dist.world import World


@dataclass(frozen=True)
class TeacherTraining:
    """What of a teacher is trained, in which precision, and how it is spread over ranks."""

    tuning: str  # "full": all of it; "lora": an adapter, and the head
    lora: Lora
    dtype: str  # of weights and activations
    gradient_checkpointing: bool
    sharding: str  # name or path of a DeepSpeed configuration


def teacher_under_zero(
    build: Callable[[TeacherOptions], Wrapper],
    training: TeacherTraining,
    optim: Optim,
    world: World,
    revision: str | None = None,
) -> tuple[Wrapper, ZeroEngine]:
    """Build a teacher and its engine on every rank.  build: makes the model.  revision: commit of a hub base."""
    sharding = read_sharding(training.sharding)
    options = TeacherOptions(
        tuning=training.tuning,
        lora=training.lora,
        dtype=getattr(torch, training.dtype),
        gradient_checkpointing=training.gradient_checkpointing,
        revision=revision,
        loading=sharded_loading(sharding, world, dtype=training.dtype),
        seed=optim.seed,
    )
    model = build(options)
    return model, ZeroEngine(model, optim, world, sharding=sharding, dtype=training.dtype)


def teacher_form(load: Callable[..., Predictor], dtype: str) -> Form:
    """Return how a teacher is written and read.  load: of a folder, `dtype` and `device`.  dtype: its weights'."""
    return Form(export_teacher, partial(load, dtype=getattr(torch, dtype)), dtype)
