"""After a step, the update has used the sum of all losses: over ranks, and over uneven micro-batches."""

import errno
import os
import time
from datetime import timedelta
from functools import partial
from itertools import islice
from typing import get_args

import numpy as np
import pytest
import torch
from torch import nn

from ckd_dist.config import DataParallelism
from ckd_dist.engine.alone import alone
from ckd_dist.engine.choose import data_parallel
from ckd_dist.engine.ddp import DdpEngine
from ckd_dist.engine.loop import Step, train_step
from ckd_dist.engine.optim import schedule
from ckd_dist.engine.zero import ZeroEngine
from ckd_dist.mistakes import MISTAKES, is_mistake
from ckd_dist.world import World
from tests.engine.fakes import OPTIM, TinyReader, collate, loss_fn, planned, run_ranks

NUM_STEPS = 5
RATE = schedule(OPTIM, NUM_STEPS)


def make(kind, module, world, dtype="float32"):
    """`kind`: "ddp", or a ZeRO stage."""
    if kind == "ddp":
        return DdpEngine(module, OPTIM, world, dtype=dtype)
    zero = {"stage": kind, "stage3_param_persistence_threshold": 0}  # else so small a model is never sliced
    return ZeroEngine(module, OPTIM, world, sharding={"zero_optimization": zero}, dtype=dtype)


def trained(world, kinds, dtype="float32"):
    """Losses, gradient norms and last weights of each kind, on this rank's share of every step."""
    found = {}
    for kind in kinds:
        engine = make(kind, TinyReader(), world, dtype)
        losses, norms = [], []
        for step, plan in enumerate(islice(planned(0, world), NUM_STEPS)):
            engine.set_learning_rate(RATE(step))
            loss = train_step(engine, Step([collate(rows) for rows in plan.slots], plan.total_weight), loss_fn)
            losses.append(world.total(loss).item())
            norms.append(engine.gradient_norm())
        found[kind] = losses, norms, {name: w.float().numpy() for name, w in engine.full_weights().items()}
    return found


def trained_elsewhere(world, kinds, extensions):
    """The same, with an empty folder for compiled extensions, and no compiler."""
    os.environ["TORCH_EXTENSIONS_DIR"], os.environ["PATH"] = extensions, ""
    return trained(world, kinds)


@pytest.fixture(scope="module")
def plain():
    """The same steps as one big batch each, in the plainest PyTorch."""
    model = TinyReader()
    matrices = [model.embed.weight, model.mix.weight]
    optimizer = torch.optim.AdamW(
        [
            {"params": matrices, "lr": 1e-2, "weight_decay": 0.1},
            {"params": [model.mix.bias], "lr": 1e-2, "weight_decay": 0.0},
            {"params": [model.classifier.weight], "lr": 3e-2, "weight_decay": 0.1},
            {"params": [model.classifier.bias], "lr": 3e-2, "weight_decay": 0.0},
        ]
    )
    peaks = [group["lr"] for group in optimizer.param_groups]
    losses, norms = [], []
    for step, plan in enumerate(islice(planned(0, World(), cuts=()), NUM_STEPS)):
        batch = collate(plan.slots[0])
        loss = loss_fn(model(batch.input_ids_BL, batch.attention_BL), batch) / plan.total_weight
        optimizer.zero_grad()
        loss.backward()
        norms.append(nn.utils.clip_grad_norm_(model.parameters(), OPTIM.clip_norm).item())
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * RATE(step)
        optimizer.step()
        losses.append(loss.item())
    return losses, norms, {name: p.detach().numpy() for name, p in model.named_parameters()}


def agree(found, plain, tolerance=1e-6):
    """Losses, norms before clipping, and weights."""
    for mine, theirs in zip(found[:2], plain[:2], strict=True):
        np.testing.assert_allclose(mine, theirs, atol=tolerance)
    assert found[2].keys() == plain[2].keys()
    for name, weights in plain[2].items():
        np.testing.assert_allclose(found[2][name], weights, atol=tolerance, err_msg=name)


def test_two_ranks_and_uneven_micro_batches_are_one_big_batch(plain):
    """DDP and ZeRO-1, -2, -3; weights that two ranks cannot share evenly; clipping that bites; an empty slot."""
    assert min(plain[1]) > OPTIM.clip_norm, "clipping must bite, or it is not tested"
    for found in run_ranks(2, trained, ["ddp", 1, 2, 3])[:1]:
        for kind in ("ddp", 1, 2, 3):
            agree(found[kind], plain)


def trained_alone(world):
    """The same, and whether a process group was made."""
    return trained(world, ["ddp"])["ddp"], torch.distributed.is_initialized()


def test_one_rank_without_a_process_group(plain):
    """In a process of its own: others of this session's tests may have made a group in this one."""
    found, has_group = run_ranks(1, trained_alone)[0]
    agree(found, plain)
    assert not has_group


def chosen(world):
    """The engine's class and the stage that DeepSpeed is at, of each name that a recipe may give."""
    engines = {name: data_parallel(name, TinyReader(), OPTIM, world, "float32") for name in get_args(DataParallelism)}
    return {
        name: (type(engine), engine._engine.zero_optimization_stage() if isinstance(engine, ZeroEngine) else 0)
        for name, engine in engines.items()
    }


def test_a_recipe_s_name_chooses_the_engine():
    assert run_ranks(1, chosen)[0] == {"ddp": (DdpEngine, 0), "zero1": (ZeroEngine, 1)}


def test_zero_makes_its_own_group_of_one_and_compiles_nothing(plain, tmp_path):
    """A compilation at start-up waits for ever on the lock of a process that was killed during one."""
    agree(run_ranks(1, trained_elsewhere, [3], str(tmp_path))[0][3], plain)
    assert not list(tmp_path.iterdir())


def test_bfloat16_follows_float32(plain):
    """Autocast in DDP; bfloat16 weights with float32 masters in ZeRO.  Looser: three digits."""
    found = run_ranks(2, trained, ["ddp", 1, 3], "bfloat16")[0]
    for kind in ("ddp", 1, 3):
        np.testing.assert_allclose(found[kind][0], plain[0], rtol=2e-2)


# --- ranks that wait for the leader ---


FAILURES = [ValueError("schlüssel fehlt"), OSError(errno.ENOSPC, "full"), OSError(errno.EIO, "I/O error")]
FAILURES += [RuntimeError("odd " * 2000), RuntimeError("CUDA error"), OSError("without a number")]
FAILURES += [kind("again") for kind in MISTAKES]


def waiting(world):
    """What every rank hears of the leader's work: done after the group's time limit, or failed in some way."""
    limit = timedelta(seconds=3)
    torch.distributed.init_process_group("gloo", rank=world.rank, world_size=world.num_ranks, timeout=limit)
    heard, done = [], []

    def slow():
        time.sleep(1.5 * limit.total_seconds())
        done.append(world.rank)

    def fail(error):
        raise error

    alone(world, torch.device("cpu"), slow)
    for error in FAILURES:
        try:
            alone(world, torch.device("cpu"), partial(fail, error))
        except Exception as found:
            heard.append((is_mistake(found), getattr(found, "errno", None), str(found)[:30]))
    return done, heard


def test_ranks_wait_for_a_slow_leader_and_hear_of_its_failure():
    (first, by_leader), (second, by_other) = run_ranks(2, waiting)
    assert first == [0] and second == []
    assert by_leader == by_other and len(by_leader) == len(FAILURES)
    assert by_leader[0] == (True, None, "schlüssel fehlt")
    assert by_leader[1][:2] == (True, errno.ENOSPC) and by_leader[2][:2] == (False, errno.EIO)
    assert by_leader[3] == (False, None, ("odd " * 8)[:30])
    assert [mistake for mistake, _, _ in by_leader[4:]] == [False, False] + [True] * len(MISTAKES)
