"""One GPU, one command: LoRA training of a 7B teacher under ZeRO-3, its labelling, and a BERT-base student's training.

    python tests/bench/gpu.py [--date 2026-11-30]        prints a markdown table
    python tests/bench/gpu.py --small                    the same at tiny size, on a CPU too

Weights are random, of Qwen2.5-7B's and BERT-base's shape: speed and memory do not depend on their values.  Prompts have
about 640 tokens of which 190 are shared, student texts 420 of at most 512, as real ones.  Tokens a second count real
tokens, no padding; with a shared prefix they count the records' tokens, also those that were not read again.  What MFU
counts is said in flops.py.  Checks come first, at small size on the same device: bf16 against float32 logits, ZeRO-3
against the plain engine's losses.  Nothing is written, and every line is printed as soon as it is known.
"""

import argparse
import datetime
import gc
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from itertools import islice

import numpy as np
import torch
from flops import Backbone, peak_of
from peft import LoraConfig, get_peft_model
from soft_labels import SHARED, with_stranger
from soft_labels import Records as Prompts
from student_epoch import NUM_LABELS
from student_epoch import Records as Texts
from student_epoch import model as bert
from torch import Tensor
from transformers import PreTrainedModel, Qwen2Config, Qwen2ForSequenceClassification

from ckd_dist.config import Lora, Optim
from ckd_dist.engine.ddp import DdpEngine
from ckd_dist.engine.group import device_of
from ckd_dist.engine.loop import Engine, Step, ahead, train_step
from ckd_dist.engine.sharding import read_sharding
from ckd_dist.engine.zero import ZeroEngine
from ckd_dist.models.base import quiet
from ckd_dist.models.losses import HARD_ALONE
from ckd_dist.models.predict import predict_logits
from ckd_dist.models.wrapper import Wrapper
from ckd_dist.softlabels.stream import Order, steps
from ckd_dist.studies.disease.task import DiseaseTask
from ckd_dist.world import World

# U units, K columns, N rows
WARM = 2  # steps before the clock starts
DEVICE = device_of(World())


@dataclass(frozen=True)
class Size:
    """How much of everything; micro-batches in padded tokens."""

    teacher: dict[str, int]  # Qwen2Config
    student: tuple[int, int]  # hidden size, layers
    steps: int
    teacher_batch: int  # samples of an optimizer step
    teacher_tokens: int
    teacher_tokens_kept: int  # where activations are kept instead of recomputed
    label_rows: int
    label_tokens: int
    student_batch: int
    student_tokens: int


QWEN_7B = {
    "hidden_size": 3584,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "intermediate_size": 18944,
    "vocab_size": 152064,
}
TINY = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
    "vocab_size": 1000,
}
FULL = Size(QWEN_7B, (768, 12), 4, 64, 16384, 4096, 256, 65536, 256, 32768)
SMALL = Size(TINY, (64, 2), 2, 4, 2048, 1024, 8, 4096, 8, 4096)


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    tokens_per_second: float
    useful: float  # FLOP/s that the model needs
    spent: float  # FLOP/s with what was recomputed
    peak_gb: float | None

    def cells(self, peak: float | None) -> list[str]:
        shares = [f"{flops / peak:.1%}" if peak else "n/a" for flops in (self.useful, self.spent)]
        memory = "n/a" if self.peak_gb is None else f"{self.peak_gb:.1f}"
        return [self.name, f"{self.tokens_per_second:,.0f}", *shares, memory]


@dataclass(frozen=True)
class Check:
    """Two ways to the same numbers."""

    name: str
    difference: float  # largest, relative to the largest value
    allowed: float

    def cells(self) -> list[str]:
        verdict = "passed" if self.difference <= self.allowed else "FAILED"
        return [self.name, f"{self.difference:.1e}", f"{self.allowed:.0e}", verdict]


# --- models -----------------------------------------------------------------------------------------------------------


def teacher(shape: dict[str, int], dtype: torch.dtype) -> Qwen2ForSequenceClassification:
    """Random weights (normal, 0.02), drawn where they stay, so that 7B take seconds."""
    torch.manual_seed(0)
    config = Qwen2Config(**shape, num_labels=NUM_LABELS, pad_token_id=0, attn_implementation="sdpa")
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(DEVICE):
            return Qwen2ForSequenceClassification(config)
    finally:
        torch.set_default_dtype(before)


def adapted(model: PreTrainedModel, lora: Lora) -> Wrapper:
    """Frozen, under an adapter on every projection and a head that learns, as models/teacher.py makes it."""
    config = LoraConfig(
        task_type="SEQ_CLS",
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.targets),
        modules_to_save=["score"],
    )
    with quiet():
        return Wrapper(get_peft_model(model, config, autocast_adapter_dtype=False), "decoder")


def hard_task(records: Prompts | Texts) -> DiseaseTask:
    """Return a task of random labels."""
    shape = (len(records.rows), NUM_LABELS)
    hard_NK = (np.random.default_rng(1).random(shape) < 0.2).astype(np.float32)
    return DiseaseTask(records, 0, hard_NK, np.ones(shape[0]), None, HARD_ALONE)


# --- the clock --------------------------------------------------------------------------------------------------------


def seconds_of(work: Callable[[], object]) -> float:
    """Until the device is done; its peak memory is counted anew."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    work()
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def peak_gb() -> float | None:
    """Most that tensors took on the GPU since the clock started."""
    return torch.cuda.max_memory_allocated() / 1e9 if DEVICE.type == "cuda" else None


def forget() -> None:
    """Give back what the part before held."""
    gc.collect()
    if DEVICE.type == "cuda":
        torch.cuda.empty_cache()


# --- the parts --------------------------------------------------------------------------------------------------------


def train(
    engine: Engine, task: DiseaseTask, batch_samples: int, micro_tokens: int, num_steps: int
) -> tuple[float, np.ndarray]:
    """Seconds of `num_steps` steps after some to warm up, and the lengths of the rows that they read."""
    planned = steps(task.tokens.lengths, task.weights, Order(batch_samples, micro_tokens, seed=0))
    plan = list(islice(planned, WARM + num_steps))

    def collated() -> Iterator[Step]:
        for step in plan:
            yield Step([task.collate(rows).to(engine.device) for rows in step.slots], step.total_weight)

    ready = ahead(collated())
    for step in islice(ready, WARM):
        train_step(engine, step, task.loss)
    seconds = seconds_of(lambda: [train_step(engine, step, task.loss) for step in ready])
    return seconds, task.tokens.lengths[np.concatenate([rows for step in plan[WARM:] for rows in step.slots])]


def student_row(size: Size) -> Row:
    """A student's training steps, as the recipes have them: weights float32, activations bf16."""
    model = bert(*size.student)
    backbone = Backbone.of(model, causal=False)
    engine = DdpEngine(Wrapper(model, "encoder"), Optim(learning_rate=2e-5), World(), dtype="bfloat16")
    task = hard_task(Texts(size.student_batch * (WARM + size.steps)))
    seconds, lengths = train(engine, task, size.student_batch, size.student_tokens, size.steps)
    flops = backbone.training(lengths, frozen=False) / seconds
    name = f"student of {size.student[0]} x {size.student[1]}: training, bf16 autocast, {size.student_tokens:,} tokens"
    return Row(name, lengths.sum() / seconds, flops, flops, peak_gb())


def labelling_rows(model: PreTrainedModel, size: Size) -> tuple[list[Row], Check]:
    """Labelling without and with the shared prefix; both must say the same."""
    wrapper, records = Wrapper(model, "decoder").eval(), Prompts(size.label_rows, size.teacher["vocab_size"])
    backbone = Backbone.of(model, causal=True)
    measured, logits = [], []

    def label(records: Prompts) -> np.ndarray:
        rows = np.arange(len(records.rows))
        return predict_logits(wrapper, records, rows, micro_tokens=size.label_tokens, pad_id=0, device=DEVICE)

    for read, prefix, how in (
        (with_stranger(records), 0, "every row whole"),
        (records, SHARED, f"{SHARED} shared tokens read once"),
    ):
        logits.append(label(read)[: size.label_rows])  # warms up, too
        seconds = seconds_of(partial(label, read))
        flops = backbone.forward(records.lengths, prefix) / seconds
        name = f"teacher: labelling, bf16, {how}, {size.label_tokens:,} tokens"
        measured.append(Row(name, records.lengths.sum() / seconds, flops, flops, peak_gb()))
    return measured, Check("shared prefix against whole rows, bf16 logits", difference(*logits), 5e-2)


def lora_rows(model: PreTrainedModel, size: Size) -> Iterator[Row]:
    """LoRA under ZeRO-3 with activations recomputed, then kept."""
    backbone = Backbone.of(model, causal=True)
    wrapper = adapted(model, Lora())
    engine = ZeroEngine(wrapper, Optim(), World(), sharding=read_sharding("zero3_lora"), dtype="bfloat16")
    assert all(parameter.numel() == 0 for parameter in wrapper.parameters())  # all sliced, though it was built whole
    task = hard_task(Prompts(size.teacher_batch * (WARM + size.steps), size.teacher["vocab_size"]))
    for recompute, tokens in ((True, size.teacher_tokens), (False, size.teacher_tokens_kept)):
        if recompute:
            wrapper.plain.activation_checkpointing_enable({"use_reentrant": False})
        else:
            wrapper.plain.activation_checkpointing_disable()
        seconds, lengths = train(engine, task, size.teacher_batch, tokens, size.steps)
        useful = backbone.training(lengths, frozen=True)
        spent = useful + recompute * backbone.forward(lengths)
        name = f"teacher: LoRA, ZeRO-3, bf16, activations {'recomputed' if recompute else 'kept'}, {tokens:,} tokens"
        yield Row(name, lengths.sum() / seconds, useful / seconds, spent / seconds, peak_gb())


# --- the checks -------------------------------------------------------------------------------------------------------


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Largest, relative to the largest value of the two."""
    return float(np.abs(a - b).max() / max(np.abs(a).max(), np.abs(b).max()))


def check_bf16() -> Check:
    """A small teacher's logits in bf16 against the same weights' in float32."""
    records, exact, half = Prompts(6, TINY["vocab_size"]), teacher(TINY, torch.float32), teacher(TINY, torch.bfloat16)
    half.load_state_dict(exact.state_dict())

    def logits(model: PreTrainedModel) -> np.ndarray:
        return predict_logits(
            Wrapper(model, "decoder"), records, np.arange(6), micro_tokens=4096, pad_id=0, device=DEVICE
        )

    return Check("bf16 against float32, logits of a small teacher", difference(logits(exact), logits(half)), 5e-2)


def check_zero() -> Check:
    """Losses of some LoRA steps in float32, ZeRO-3 against the plain engine."""
    task, optim = hard_task(Prompts(16, TINY["vocab_size"])), Optim(learning_rate=1e-2)

    def losses(make: Callable[[Wrapper], Engine]) -> np.ndarray:
        engine = make(adapted(teacher(TINY, torch.float32), Lora(dropout=0.0)))
        planned = steps(task.tokens.lengths, task.weights, Order(batch_samples=8, micro_tokens=2048, seed=0, epochs=2))
        found: list[Tensor] = []
        for step in planned:
            batches = [task.collate(rows).to(engine.device) for rows in step.slots]
            found.append(train_step(engine, Step(batches, step.total_weight), task.loss))
        return torch.stack(found).cpu().numpy()

    plain = losses(lambda model: DdpEngine(model, optim, World()))
    sliced = losses(lambda model: ZeroEngine(model, optim, World(), sharding=read_sharding("zero3_lora")))
    return Check(f"ZeRO-3 against plain, float32, losses of {len(plain)} LoRA steps", difference(plain, sliced), 1e-4)


# --- the table --------------------------------------------------------------------------------------------------------


def table(columns: list[str], lines: Iterable[Row | Check], *peak: float | None) -> list:
    """Print a markdown table, each line as soon as it is measured; return the lines."""
    print(f"\n| {' | '.join(columns)} |\n| --- {'| ---: ' * (len(columns) - 1)}|")
    seen = []
    for line in lines:
        print(f"| {' | '.join(line.cells(*peak))} |", flush=True)
        seen.append(line)
    return seen


def rows(size: Size, same: list[Check]) -> Iterator[Row]:
    """All that is timed; whether both ways of labelling agree goes into `same`."""
    yield student_row(size)
    forget()
    model = teacher(size.teacher, torch.bfloat16)
    labelling, agree = labelling_rows(model, size)
    same.append(agree)
    yield from labelling
    yield from lora_rows(model, size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="tiny models, on a CPU too: shows that it works, no more")
    parser.add_argument("--date", default=datetime.date.today().isoformat())
    args = parser.parse_args()
    if DEVICE.type != "cuda" and not args.small:
        print("no GPU here, so nothing was measured; --small runs the same at tiny size on the CPU")
        return
    card = torch.cuda.get_device_name(DEVICE) if DEVICE.type == "cuda" else "CPU"
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "deepspeed", "peft"))
    print(f"{card}, {versions}, {args.date}{', tiny models: no measurement' if args.small else ''}")
    columns, same = ["", "tokens/s", "MFU", "with recomputation", "peak GB"], []
    checks = [check_bf16(), check_zero()]
    forget()
    table(columns, rows(SMALL if args.small else FULL, same), peak_of(card))
    checks = table(["check", "largest difference", "allowed", ""], checks + same)
    if any(check.difference > check.allowed for check in checks):
        raise SystemExit("a check failed")


if __name__ == "__main__":
    main()
