"""What the loop reports, when it stops, and what is left behind where something goes wrong."""

import errno
import threading
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch

from ckd_dist.config import Optim
from ckd_dist.engine import checkpoint, loop
from ckd_dist.engine.ddp import DdpEngine
from ckd_dist.engine.loop import TrainingSchedule, ahead, fit, training_schedule
from ckd_dist.engine.optim import num_dimensions, parameter_groups, schedule
from ckd_dist.engine.reduce import Diverged
from ckd_dist.engine.sharding import checked, read_sharding
from ckd_dist.engine.zero import full_config
from ckd_dist.world import World
from tests.engine.fakes import OPTIM, TinyReader, TinyTask, loss_fn, phase_of, planned

CONSTANT = replace(OPTIM, schedule="constant")
TWELVE = TrainingSchedule(num_steps=12, evaluate_every=4)


def half():
    """The same score at every evaluation."""
    return {"score": 0.5}


def fitted(folder, *, engine=None, loss_fn=loss_fn, plan=TWELVE, evaluate=half, optim=CONSTANT, **others):
    """others: scalars, patience, and callbacks of the phase."""
    engine = engine or DdpEngine(TinyReader(), OPTIM, World())
    phase = phase_of(folder, optim, **others)
    return fit(engine, TinyTask(loss_fn), lambda start: planned(start, World()), plan, phase, evaluate)


def test_it_learns(tmp_path):
    seen = []
    fitted(tmp_path, plan=TrainingSchedule(150, 150), track=lambda done, total, **n: seen.append((done, total, n)))
    saved = [(done, numbers["saved"]) for done, _, numbers in seen if "saved" in numbers]
    assert saved == [(150, 150)] and seen.pop()[0] == 150
    assert [done for done, _, _ in seen] == list(range(1, 151)) and seen[0][1] == 150
    losses = [numbers["loss"] for _, _, numbers in seen]
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])
    assert {"tokens_per_second", "gradient_norm", "learning_rate"} <= seen[9][2].keys()


def test_evaluates_saves_and_commits_on_time(tmp_path):
    seen = []

    def committed(path, step, numbers):
        assert checkpoint.read_checkpoint(path, "d").step == step, "it is whole by then"
        seen.append((step, numbers))

    result = fitted(tmp_path, plan=TrainingSchedule(10, 4, save_every=3), committed=committed)
    assert [step for step, _ in seen] == [3, 4, 6, 8, 9, 10]
    assert {step for step, numbers in seen if numbers} == {4, 8, 10}
    assert result.complete and result.step == 10


def test_saves_by_the_clock(tmp_path):
    """The leader's clock is heard a step later; none is due while one is being written."""
    seen = {1e-9: [], CONSTANT.save_minutes: []}
    for minutes, saves in seen.items():
        fitted(
            tmp_path / str(minutes),
            optim=replace(CONSTANT, save_minutes=minutes),
            plan=TrainingSchedule(200, 200),
            committed=lambda path, step, numbers, saves=saves: saves.append((step, bool(numbers))),
        )
    always, never = seen.values()
    assert never == [(200, True)]
    assert always[0] == (2, False) and always[-1] == (200, True) and len(always) > 3
    assert all(later - step >= 2 for (step, _), (later, _) in pairwise(always[:-1])), "heard a step later"


def test_the_engine_ends_with_the_best_weights(tmp_path):
    engine = DdpEngine(TinyReader(), OPTIM, World())
    scores, weights = iter([0.1, 0.9, 0.3]), []

    def evaluate():
        weights.append(engine.module.mix.weight.detach().clone())
        return {"score": next(scores)}

    result = fitted(tmp_path, engine=engine, evaluate=evaluate)
    assert result.best.step == 8
    assert torch.equal(engine.module.mix.weight, weights[1])
    again = DdpEngine(TinyReader(), OPTIM, World())
    assert fitted(tmp_path, engine=again).best.step == 8, "a complete run only loads"
    assert torch.equal(again.module.mix.weight, weights[1])


def test_patience_ends_it_at_the_best_weights(tmp_path):
    """Best at step 4, patience of 8 steps: it ends at 12 of 40; killed there before it could say so, it ends again."""
    engine, scores, weights = DdpEngine(TinyReader(), OPTIM, World()), iter([0.9, 0.3, 0.3]), []

    def evaluate():
        weights.append(engine.module.mix.weight.detach().clone())
        return {"score": next(scores)}  # a fourth look raises

    plan = TrainingSchedule(num_steps=40, evaluate_every=4)
    result = fitted(tmp_path, engine=engine, plan=plan, evaluate=evaluate, patience=8)
    assert result.complete and (result.step, result.best.step) == (12, 4)
    assert torch.equal(engine.module.mix.weight, weights[0])
    again = DdpEngine(TinyReader(), OPTIM, World())
    result = fitted(tmp_path, engine=again, plan=plan, evaluate=evaluate, patience=8)
    assert (result.step, result.best.step) == (12, 4)
    assert torch.equal(again.module.mix.weight, weights[0])


def test_a_better_score_renews_patience(tmp_path):
    scores = iter([0.1, 0.2, 0.1, 0.3, 0.1, 0.1])
    plan = TrainingSchedule(num_steps=40, evaluate_every=4)
    result = fitted(tmp_path, plan=plan, evaluate=lambda: {"score": next(scores)}, patience=8)
    assert (result.step, result.best.step) == (24, 16)


def test_a_step_seeds_no_absent_device():
    """torch.manual_seed keeps a call for each of them, every time, until there is one."""
    waiting = len(torch.cuda._queued_calls)
    loop.seed_dropout(3, torch.device("cpu"))
    first = torch.rand(2)
    loop.seed_dropout(3, torch.device("cpu"))
    assert torch.equal(torch.rand(2), first)
    assert len(torch.cuda._queued_calls) == waiting


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_it_and_leaves_earlier_checkpoints(tmp_path, bad):
    calls = []

    def loss(logits_UK, batch):
        calls.append(1)
        return loss_fn(logits_UK, batch) * (bad if len(calls) > 4 * 6 else 1.0)  # four micro-batches a step

    with pytest.raises(Diverged, match="at step 7"):
        fitted(tmp_path, loss_fn=loss)
    found, skipped = checkpoint.newest_whole(tmp_path, "d")
    assert found.step == 4 and not skipped


def test_a_bad_loss_at_a_saving_step_is_not_saved(tmp_path):
    calls = []

    def loss(logits_UK, batch):
        calls.append(1)
        return loss_fn(logits_UK, batch) * (float("nan") if len(calls) > 4 * 7 else 1.0)

    with pytest.raises(Diverged, match="at step 8"):
        fitted(tmp_path, loss_fn=loss)
    assert checkpoint.newest_whole(tmp_path, "d")[0].step == 4


def test_asked_to_stop_it_saves_and_says_incomplete(tmp_path):
    asked = iter(range(100))
    result = fitted(tmp_path, should_stop=lambda: next(asked) >= 4)
    assert not result.complete and 5 <= result.step <= 6
    assert checkpoint.newest_whole(tmp_path, "d")[0].step == result.step


class FullDisk(DdpEngine):
    """From the second save on there is no room."""

    num_saves = 0

    def begin_save(self, folder):
        self.num_saves += 1
        return super().begin_save(folder) if self.num_saves == 1 else partial(self.fill, folder)

    def fill(self, folder):
        (folder / "half").write_bytes(b"x")
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.fault
def test_a_full_disk_is_one_sentence_and_earlier_checkpoints_stay(tmp_path):
    with pytest.raises(OSError, match=r"No space left.*earlier ones stand") as caught:
        fitted(tmp_path, engine=FullDisk(TinyReader(), OPTIM, World()))
    assert caught.value.errno == errno.ENOSPC
    assert [path.name for path in tmp_path.iterdir()] == ["step_000004-w1-a1"]
    assert fitted(tmp_path).complete


def test_a_torn_checkpoint_is_reported_in_one_line(tmp_path, caplog):
    fitted(tmp_path, plan=TrainingSchedule(4, 4))
    assert not caplog.messages, "nothing was passed over"
    newest = checkpoint.newest_whole(tmp_path, "d")[0]
    (newest.path / "trainable.safetensors").write_bytes(b"")
    assert fitted(tmp_path, plan=TrainingSchedule(4, 4)).complete
    (line,) = caplog.messages
    assert line.startswith("begin at step 0; checkpoints passed over: step_000004-w1-a1: trainable.safetensors has 0")
    assert "\n" not in line


def test_a_stream_that_ends_early_is_an_error(tmp_path):
    engine = DdpEngine(TinyReader(), OPTIM, World())
    with pytest.raises(ValueError, match="ended after step 0 of 12"):
        fit(engine, TinyTask(), lambda start: iter(()), TWELVE, phase_of(tmp_path), evaluate=dict)


def test_scalars_are_written(tmp_path):
    fitted(tmp_path / "steps", scalars=tmp_path / "board")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "board"))
    events.Reload()
    assert {"train/loss", "train/learning_rate", "train/tokens_per_second", "tuning/score"} <= set(
        events.Tags()["scalars"]
    )


def test_ahead_keeps_order_passes_errors_on_and_leaves_no_thread():
    assert list(ahead(range(7))) == list(range(7))

    def broken():
        yield 1
        raise ValueError("row 3")

    items = ahead(broken())
    assert next(items) == 1
    with pytest.raises(ValueError, match="row 3"):
        next(items)
    endless = ahead(iter(int, 1))
    next(endless)
    endless.close()
    for thread in threading.enumerate():
        if "ThreadPool" in thread.name:
            thread.join(5)
            assert not thread.is_alive()


def test_groups_by_head_and_decay():
    module = TinyReader()
    groups = parameter_groups(module, Optim(learning_rate=1.0, head_learning_rate=2.0, weight_decay=0.5))
    found = {(g["lr"], g["weight_decay"]): sum(p.numel() for p in g["params"]) for g in groups}
    assert found == {(1.0, 0.5): 65 + 25, (1.0, 0.0): 5, (2.0, 0.5): 15, (2.0, 0.0): 3}
    sharded = torch.nn.Parameter(torch.zeros(4))
    sharded.ds_shape = torch.Size([2, 2])
    assert num_dimensions(sharded) == 2
    with pytest.raises(ValueError, match="no parameter"):
        parameter_groups(module.requires_grad_(False), Optim())


@pytest.mark.parametrize("name", ["cosine", "linear", "constant"])
@pytest.mark.parametrize("warmup", [0.0, 0.25, 1.0])
def test_schedules(name, warmup):
    rate = schedule(Optim(schedule=name, warmup_fraction=warmup), 40)
    factors = [rate(step) for step in range(40)]
    assert max(factors) == pytest.approx(1.0) and min(factors) > 0
    num_warm = round(40 * warmup)
    assert factors[:num_warm] == sorted(factors[:num_warm])
    assert factors[num_warm:] == sorted(factors[num_warm:], reverse=True)


def test_schedule_from_a_recipe():
    assert training_schedule(Optim(epochs=2.5, batch_samples=4), 39) == TrainingSchedule(25, 10, 0)
    optim = Optim(epochs=1, batch_samples=4, evaluate_every=4, save_every=2)
    assert training_schedule(optim, 40) == TrainingSchedule(10, 4, 2)
    with pytest.raises(ValueError, match="0 epochs"):
        training_schedule(Optim(epochs=0), 40)


@pytest.mark.parametrize("name", ["zero1", "zero2", "zero3_lora", "zero3_full", "zero3_offload"])
def test_the_shipped_shardings_hold_only_sharding(name):
    config = full_config(read_sharding(name), clip_norm=0.5, dtype="bfloat16")
    assert config["gradient_clipping"] == 0.5 and config["bf16"]["enabled"]
    assert config["zero_optimization"]["stage"] == int(name[4])


@pytest.mark.parametrize(
    "key", ["gradient_clipping", "train_batch_size", "optimizer", "scheduler", "bf16", "wandb", "checkpoint"]
)
def test_a_sharding_that_says_more_is_refused(key):
    with pytest.raises(ValueError, match=f"x.json sets '{key}'"):
        checked({"zero_optimization": {"stage": 3}, key: 1}, "x.json")


def test_shardings_that_cannot_be(tmp_path):
    with pytest.raises(ValueError, match="stage must be"):
        checked({"zero_optimization": {}}, "x.json")
    with pytest.raises(ValueError, match="elastic_checkpoint"):
        checked({"zero_optimization": {"stage": 3, "elastic_checkpoint": True}}, "x.json")
    with pytest.raises(ValueError, match="one of zero1, zero2, zero3_full"):
        read_sharding("zero4")
    (tmp_path / "torn.json").write_text("{")
    with pytest.raises(ValueError, match="is not JSON"):
        read_sharding(str(tmp_path / "torn.json"))
