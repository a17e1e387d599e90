"""A run that stopped, or was killed, or came back on another number of ranks, is the run that was not."""

import os
import signal
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import torch

from ckd_dist.engine.ddp import DdpEngine
from ckd_dist.engine.loop import TrainingSchedule, fit
from ckd_dist.engine.zero import ZeroEngine
from ckd_dist.world import World
from tests.engine.fakes import OPTIM, TinyAdapted, TinyReader, TinyTask, collate, loss_fn, phase_of, planned, run_ranks

NUM_STEPS = 6
PLAN = TrainingSchedule(NUM_STEPS, evaluate_every=3, save_every=2)
SEEDED = replace(OPTIM, seed=7)
MODELS = {"ddp": TinyReader, "zero1": TinyReader, "zero2": TinyAdapted, "zero3": TinyAdapted, "zero3_full": TinyReader}


def make(kind, world, dropout, dtype="float32"):
    """`zero3` trains a part and saves tensors; `zero3_full` trains all and saves in DeepSpeed's own form."""
    module = MODELS[kind](dropout)
    if kind == "ddp":
        return DdpEngine(module, OPTIM, world, dtype=dtype)
    zero = {"stage": int(kind[4]), "stage3_param_persistence_threshold": 40}  # some sliced, some not
    sharding = {"zero_optimization": zero, "data_types": {"grad_accum_dtype": "fp32"}}
    return ZeroEngine(module, OPTIM, world, sharding=sharding, dtype=dtype)


def run(world, kind, folder, *, stop_at=None, kill_at=None, plan=PLAN, dropout=0.3, dtype="float32"):
    """Fit in `folder` as far as it goes; its result, the losses it saw and the weights it ended with.

    kill_at: after that many steps the last rank kills itself, in the midst of the next.
    """
    engine = make(kind, world, dropout, dtype)
    losses, asked, batches = {}, [], []

    def loss_or_death(logits_UK, batch):
        batches.append(batch)
        if kill_at is not None and len(batches) > kill_at * 4 // world.num_ranks and world.rank == world.num_ranks - 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return loss_fn(logits_UK, batch)

    def should_stop():
        asked.append(True)
        return len(asked) == stop_at

    def track(done, total, **numbers):
        losses[done] = numbers["loss"]

    def evaluate():
        return {"score": engine.predict(collate(np.arange(5))).sum().item()}

    phase = phase_of(Path(folder), SEEDED, should_stop=should_stop, track=track)
    result = fit(engine, TinyTask(loss_or_death), lambda start: planned(start, world), plan, phase, evaluate)
    weights = {name: tensor.float().numpy() for name, tensor in engine.full_weights().items()}
    groups = [(g["lr"], g["weight_decay"], g["betas"]) for g in optimizer_of(engine).param_groups]
    return result, losses, weights, groups


def optimizer_of(engine):
    return engine.optimizer if isinstance(engine, DdpEngine) else engine._adam


def stopped_and_resumed(world, kinds, folder, dtype):
    """Unbroken, and stopped after two steps then resumed by a fresh engine, of each kind."""
    found = {}
    for kind in kinds:
        unbroken = run(world, kind, f"{folder}/{kind}/unbroken", dtype=dtype)
        stopped = run(world, kind, f"{folder}/{kind}/broken", stop_at=2, dtype=dtype)
        resumed = run(world, kind, f"{folder}/{kind}/broken", dtype=dtype)
        found[kind] = unbroken, stopped, resumed
    return found


class EnoughError(Exception):
    """Ends a run in the midst of a step, on all ranks."""


def held_and_resumed(world, kinds, folder):
    """Unbroken; and resumed from a checkpoint of step 2 of which nothing was written until step 4 was under way."""
    plan, found = TrainingSchedule(NUM_STEPS, evaluate_every=NUM_STEPS, save_every=2), {}
    for kind in kinds:
        unbroken = run(world, kind, f"{folder}/{kind}/unbroken", plan=plan)
        engine, later, batches = make(kind, world, dropout=0.3), Event(), []

        def begin_save(folder, begin=engine.begin_save, later=later):
            write = begin(folder)
            return lambda: later.wait(60) and write()

        def loss_until_step_4(logits_UK, batch, later=later, batches=batches):
            batches.append(batch)
            if len(batches) > 3 * 4 // world.num_ranks:
                later.set()
                raise EnoughError
            return loss_fn(logits_UK, batch)

        engine.begin_save, place = begin_save, Path(f"{folder}/{kind}/broken")
        with pytest.raises(EnoughError):
            steps = partial(planned, world=world)
            fit(engine, TinyTask(loss_until_step_4), steps, plan, phase_of(place, SEEDED), dict)
        world.barrier()  # the leader has left its own once all is written
        left = [path.name[5:11] for path in place.iterdir() if (path / "COMMITTED").exists()]
        found[kind] = unbroken, left, run(world, kind, place, plan=plan)
    return found


def test_a_checkpoint_is_of_its_own_step_whatever_is_updated_while_it_is_written(tmp_path):
    """Those that are copied, on two ranks; the run ends badly meanwhile, and the checkpoint becomes whole."""
    kinds = ["ddp", "zero2", "zero3"]
    for kind, (unbroken, left, resumed) in run_ranks(2, held_and_resumed, kinds, str(tmp_path))[0].items():
        assert left == ["000002"], kind
        assert unbroken[1] == {1: unbroken[1][1], 2: unbroken[1][2]} | resumed[1], kind
        bitwise(resumed[2], unbroken[2])


def bitwise(found, wanted):
    assert found.keys() == wanted.keys()
    for name in wanted:
        np.testing.assert_array_equal(found[name], wanted[name], err_msg=name)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_resumed_equals_unbroken_bit_for_bit(tmp_path, dtype):
    """Every form of checkpoint, dropout on, on two ranks; in bfloat16 from float32 masters."""
    found = run_ranks(2, stopped_and_resumed, list(MODELS), str(tmp_path), dtype)[0]
    for kind, (unbroken, stopped, resumed) in found.items():
        assert not stopped[0].complete and 2 <= stopped[0].step < NUM_STEPS, kind
        assert min(resumed[1]) == stopped[0].step + 1, f"{kind} went on from where it stopped"
        assert stopped[1] | resumed[1] == unbroken[1], f"{kind}: losses"
        bitwise(resumed[2], unbroken[2])
        assert resumed[3] == unbroken[3]
        native = list((tmp_path / kind).rglob("*.pt"))
        assert bool(native) == (kind == "zero3_full")
        assert not list((tmp_path / kind).rglob("*.py")), "a checkpoint holds no code"


@pytest.mark.fault
def test_killed_equals_unbroken_bit_for_bit(tmp_path):
    """SIGKILL of one of two ZeRO-3 ranks at a random step; the same command again."""
    kill_at = int(np.random.default_rng(os.getpid()).integers(2, NUM_STEPS))
    killed = run_killed(2, "zero3", str(tmp_path / "broken"), kill_at)
    assert -signal.SIGKILL in killed, f"the fault did not fire: exit codes {killed}"
    unbroken, resumed = run_ranks(2, both, str(tmp_path))[0]
    assert 0 < min(resumed[1]) - 1 <= kill_at, "it resumed, from a checkpoint before the kill"
    assert kill_at - (min(resumed[1]) - 1) <= PLAN.save_every, "no more is lost than the interval"
    assert all(resumed[1][step] == unbroken[1][step] for step in resumed[1])
    bitwise(resumed[2], unbroken[2])


def both(world, folder):
    return run(world, "zero3", f"{folder}/unbroken"), run(world, "zero3", f"{folder}/broken")


def run_killed(num_ranks, kind, folder, kill_at):
    """Exit codes of a run whose last rank kills itself at step `kill_at`."""
    return run_ranks(num_ranks, run_quietly, kind, folder, kill_at, expect_death=True)


def run_quietly(world, kind, folder, kill_at):
    run(world, kind, folder, kill_at=kill_at)


def moved(world, folder, dropout):
    """Resume what another number of ranks left behind, of both forms."""
    return {kind: run(world, kind, f"{folder}/{kind}", dropout=dropout) for kind in ("zero3", "zero3_full")}


def halves(world, folder):
    return {
        kind: (
            run(world, kind, f"{folder}/unbroken/{kind}", dropout=0.0),
            run(world, kind, f"{folder}/{kind}", stop_at=2, dropout=0.0),
        )
        for kind in ("zero3", "zero3_full")
    }


@pytest.mark.parametrize(("before", "after"), [(2, 1), pytest.param(1, 2, marks=pytest.mark.slow)])
def test_another_number_of_ranks_goes_on(tmp_path, before, after):
    """The rest of the run is that of the unbroken one, and head and backbone keep their own rate and decay."""
    first = run_ranks(before, halves, str(tmp_path))[0]
    second = run_ranks(after, moved, str(tmp_path), 0.0)[0]
    for kind, (unbroken, stopped) in first.items():
        resumed = second[kind]
        assert min(resumed[1]) == stopped[0].step + 1, kind
        for step, loss in resumed[1].items():
            assert loss == pytest.approx(unbroken[1][step], abs=1e-6), (kind, step)
        for name, weights in unbroken[2].items():
            np.testing.assert_allclose(resumed[2][name], weights, atol=1e-6, err_msg=f"{kind} {name}")
        assert resumed[3] == unbroken[3] and len(set(resumed[3])) == len(resumed[3]) > 1
    assert not [path for path in tmp_path.rglob(".*") if path.is_dir()], "conversions are cleared away"


def test_either_engine_reads_the_others_tensors(tmp_path):
    """What two ZeRO-2 ranks saved, one rank loads under DDP: weights, moments, update count."""
    run_ranks(2, only_half, str(tmp_path))
    folder = next((tmp_path / "zero2").glob("step_*"))
    module = TinyAdapted()
    engine = DdpEngine(module, OPTIM, World())
    engine.load(folder)
    again = tmp_path / "again"
    again.mkdir()
    engine.begin_save(again)()
    assert (again / "trainable.safetensors").read_bytes() == (folder / "trainable.safetensors").read_bytes()
    assert {int(state["step"]) for state in engine.optimizer.state.values()} == {int(folder.name[5:11])}


def only_half(world, folder):
    run(world, "zero2", f"{folder}/zero2", stop_at=2)


def test_one_rank_in_plain_python_resumes_at_every_step(tmp_path):
    torch.use_deterministic_algorithms(True)
    unbroken = run(World(), "ddp", tmp_path / "unbroken")
    for stop_at in range(1, NUM_STEPS):
        folder = tmp_path / str(stop_at)
        stopped = run(World(), "ddp", folder, stop_at=stop_at)
        resumed = run(World(), "ddp", folder)
        assert stopped[1] | resumed[1] == unbroken[1]
        bitwise(resumed[2], unbroken[2])
    torch.use_deterministic_algorithms(False)


def test_the_stream_is_asked_for_no_more_than_the_schedule(tmp_path):
    taken = []

    def steps(start):
        for index, plan in enumerate(islice(planned(start, World()), NUM_STEPS), start):
            taken.append(index)
            yield plan

    engine = make("ddp", World(), 0.0)
    fit(engine, TinyTask(), steps, PLAN, phase_of(tmp_path), lambda: {"score": 0.0})
    assert taken == list(range(NUM_STEPS))
