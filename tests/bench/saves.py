"""What a save costs training, in line and in the background: a LoRA teacher under ZeRO-3 and a student under DDP.

    python -m tests.bench.saves [--small] [--ranks 2] [--rounds 7] [--steps 20]

Blocks of equally many steps take turns: one without a save, one that begins with a save and waits for it, as all saves
once did, and one that begins with a save and goes on, as the training loop does.  Training stands still while it copies
and while it waits; all that a save costs is what its block takes longer than the one without, which is noise on a busy
machine.  Both are medians of rounds; the share is of standing still, of the default interval, `save_minutes`.  Where
ranks fill all cores, as on a small machine without a GPU, writing and hashing take their time from steps: what is saved
here is the wait for the disk; beside a GPU the cores are idle.
"""

import argparse
import faulthandler
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ckd_dist.config import Optim
from ckd_dist.engine.ddp import DdpEngine
from ckd_dist.engine.loop import Engine, Step, train_step
from ckd_dist.engine.reduce import StepReducer
from ckd_dist.engine.saver import Saver
from ckd_dist.engine.sharding import read_sharding
from ckd_dist.engine.task import Batch
from ckd_dist.engine.zero import ZeroEngine, sharded_loading
from ckd_dist.study import no_op
from ckd_dist.world import World
from tests.bench.machine import describe
from tests.engine.fakes import COLUMNS, loss_fn, run_ranks

# B samples, L tokens, K columns
SHAPES = {"teacher": (128, 4, 64), "student": (128, 2, 0)}  # hidden size, layers, rank of the adapter
SMALL = {"teacher": (16, 1, 2), "student": (16, 1, 0)}
VOCABULARY, LENGTH, ROWS = 8000, 64, 4
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
KINDS = ("none", "in line", "background")


class Called(nn.Module):
    """Calls a Hugging Face classifier the way an engine calls."""

    def __init__(self, plain: nn.Module) -> None:
        super().__init__()
        self.plain = plain

    def forward(self, input_ids_BL, attention_BL, units_U2=None):
        return self.plain(input_ids=input_ids_BL, attention_mask=attention_BL).logits


def teacher(world: World, base: str, shape: tuple[int, int, int]) -> ZeroEngine:
    """A causal model with adapters on every projection, sliced over the ranks."""
    from peft import LoraConfig, get_peft_model
    from transformers import Qwen2ForSequenceClassification

    sharding = read_sharding("zero3_lora")
    with sharded_loading(sharding, world, dtype="float32"):
        model = Qwen2ForSequenceClassification.from_pretrained(base, dtype=torch.float32)
        lora = LoraConfig(task_type="SEQ_CLS", r=shape[2], target_modules=TARGETS, modules_to_save=["score"])
        model = get_peft_model(model, lora, autocast_adapter_dtype=False)
    return ZeroEngine(Called(model), Optim(), world, sharding=sharding)


def student(world: World, base: str, shape: tuple[int, int, int]) -> DdpEngine:
    """An encoder, all of which is trained."""
    from transformers import BertConfig, BertForSequenceClassification

    hidden, layers, _ = shape
    torch.manual_seed(0)
    sizes = {"hidden_size": hidden, "intermediate_size": 4 * hidden, "num_hidden_layers": layers}
    config = BertConfig(vocab_size=VOCABULARY, num_attention_heads=2, num_labels=COLUMNS, **sizes)
    return DdpEngine(Called(BertForSequenceClassification(config)), Optim(), world)


ENGINES: dict[str, Callable[..., Engine]] = {"teacher": teacher, "student": student}


def make_base(folder: Path, shape: tuple[int, int, int]) -> None:
    """Write the teacher's base, of random weights."""
    from transformers import Qwen2Config, Qwen2ForSequenceClassification

    hidden, layers, _ = shape
    sizes = {"hidden_size": hidden, "intermediate_size": 3 * hidden, "num_hidden_layers": layers}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    config = Qwen2Config(vocab_size=VOCABULARY, num_labels=COLUMNS, pad_token_id=0, **sizes, **heads)
    Qwen2ForSequenceClassification(config).save_pretrained(folder)


def step_of(world: World) -> Step:
    """One micro-batch of random tokens."""
    random = torch.Generator().manual_seed(world.rank)
    ids_BL = torch.randint(1, VOCABULARY, (ROWS, LENGTH), generator=random)
    ones = torch.ones(ROWS)
    return Step([Batch(ids_BL, torch.ones_like(ids_BL), torch.ones(ROWS, COLUMNS), None, ones, ones)], ROWS)


def block(kind: str, engine: Engine, saver: Saver, number: int, num_steps: int) -> tuple[float, float, bool]:
    """Seconds of a block of steps, those that it stood still, and whether its save was whole before the last step."""
    still = 0.0

    def timed(call: Callable[..., None], *given: object) -> None:
        nonlocal still
        begun = time.perf_counter()
        call(*given)
        still += time.perf_counter() - begun

    step, reducer, early = step_of(engine.world), StepReducer(engine.world, engine.device, 0), False
    engine.world.barrier()
    start = time.perf_counter()
    if kind != "none":
        timed(saver.begin, number, {})
    if kind == "in line":
        timed(saver.finish)
    for _ in range(num_steps):
        reducer.send(train_step(engine, step, loss_fn), 0, stop=False, written=saver.is_written())
        if any(stats.written for stats in reducer.read(now=False)):
            timed(saver.finish)
            early = True
    list(reducer.read(now=True))
    timed(saver.finish)
    return time.perf_counter() - start, still, early


def measure(world: World, role: str, base: str, folder: str, shape: tuple[int, int, int], sizes: tuple[int, int]):
    """Seconds of all blocks by kind, those that they stood still, bytes of a save, the share that was whole in time."""
    num_rounds, num_steps = sizes
    faulthandler.cancel_dump_traceback_later()  # run_ranks takes slow ranks for ones that hang
    engine = ENGINES[role](world, base, shape)
    saver = Saver(engine, Path(folder), "d", "score", no_op)
    saver.resume()
    for kind in KINDS[::2]:  # moments are there after a first step
        block(kind, engine, saver, 1, num_steps)
    seconds, still, early = {kind: [] for kind in KINDS}, {kind: [] for kind in KINDS}, []
    for turn in range(num_rounds):
        for place, kind in enumerate(KINDS if turn % 2 == 0 else reversed(KINDS)):
            took, stood, was_early = block(kind, engine, saver, 2 + turn * len(KINDS) + place, num_steps)
            seconds[kind].append(took)
            still[kind].append(stood)
            early += [was_early] if kind == "background" else []
    held = next(Path(folder).glob("step_*/trainable.safetensors")).stat().st_size
    return seconds, still, held, float(np.mean(early))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="the smallest models: no measurement")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=20, help="in a block")
    args = parser.parse_args()
    minutes = Optim().save_minutes
    print(f"{describe()}; {args.ranks} ranks; blocks of {args.steps} steps, {args.rounds} rounds\n")
    print(
        f"| who | MB a save | ms a step | a save | stands still, s | of {minutes:g} min | all, s | whole in its block |"
    )
    print("|---|---:|---:|---|---:|---:|---:|---:|")
    for role, shape in (SMALL if args.small else SHAPES).items():
        with tempfile.TemporaryDirectory() as folder:
            make_base(Path(folder, "base"), shape)
            given = (role, f"{folder}/base", f"{folder}/saves", shape, (args.rounds, args.steps))
            seconds, still, held, early = run_ranks(args.ranks, measure, *given)[0]
        without = float(np.median(seconds["none"]))
        for kind, whole in (("in line", ""), ("background", f"{early:.0%}")):
            cost = float(np.median(np.subtract(seconds[kind], seconds["none"])))
            stood = float(np.median(still[kind]))
            cells = (role, f"{held / 1e6:.1f}", f"{1000 * without / args.steps:.0f}", kind)
            print(
                f"| {' | '.join(cells)} | {stood:.3f} | {stood / 60 / minutes:.4%} | {cost:.3f} | {whole} |", flush=True
            )


if __name__ == "__main__":
    main()
