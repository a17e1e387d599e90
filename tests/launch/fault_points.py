"""The driver with a disease study whose ranks leave a trace and raise what a file asks for: for tests of faults.

`python -m tests.launch.fault_points` is `python -m launch.run` with a study whose stages are the product's own, called
between two of torch's hooks.  Before each update a rank looks for a file that says what to raise; after it the rank
writes down the update's number, as the optimizer counts, and which rows it has read.  Files lie beside the run folder:

    RUN-faults/starts.jsonl   a rank or labeler that begins: rank, pid, when; ready.jsonl: that it reads its first row
    RUN-faults/steps-R.jsonl  an update of rank R: its number, rows, when
    RUN-faults/raise-R        what rank R, or the labeler of shard R, is to raise; and struck.jsonl: that it did
    RUN-faults/shards.jsonl   a shard that a labeler has finished
    RUN-faults/pace           seconds that every update and every shard is to last longer
"""

import errno
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ckd_dist.runfolder import RunFolder
from ckd_dist.studies import STUDIES
from ckd_dist.studies.disease import stages
from ckd_dist.study import Context, Jobs, Outcome

HERE = "tests.launch.fault_points"
ERRORS: dict[str, Exception] = {
    "ECC": RuntimeError("CUDA error: uncorrectable ECC error encountered"),
    "ESTALE": OSError(errno.ESTALE, os.strerror(errno.ESTALE)),
    "EIO": OSError(errno.EIO, os.strerror(errno.EIO)),
    "mistake": ValueError("labels.yaml has 24 labels, the shards have 25"),
    "bug": AttributeError("'NoneType' object has no attribute 'shape'"),
}
LASTING = {"mistake", "bug"}  # come again at each try


def notes(run: RunFolder) -> Path:
    """The folder of trace and orders, beside the run folder: nothing of it is the run's."""
    return run.root.with_name(f"{run.root.name}-faults")


def note(run: RunFolder, name: str, **values: Any) -> None:
    """Add a line, with the time, to a file of the trace."""
    with (notes(run) / f"{name}.jsonl").open("a") as file:
        file.write(json.dumps(values | {"time": time.time()}) + "\n")


def digest_of_row(ids: Any) -> str:
    """A short name of a row of token ids: an array of integers."""
    return hashlib.sha256(ids.astype("int64").tobytes()).hexdigest()[:12]


def raise_what_is_asked(run: RunFolder, who: int) -> None:
    """Raise what the file for `who` asks for, once, where it is no error that comes again."""
    file = notes(run) / f"raise-{who}"
    if not file.exists():
        return
    kind = file.read_text()
    if kind not in LASTING:
        file.unlink()
    note(run, "struck", who=who, kind=kind)
    raise ERRORS[kind]


def keep_pace(run: RunFolder) -> None:
    """Wait as long as a file asks."""
    if (pace := notes(run) / "pace").exists():
        time.sleep(float(pace.read_text()))


def train(stage: Callable[[Context], Outcome | None], context: Context) -> Outcome | None:
    """Run a training stage between the hooks."""
    from torch.nn.modules.module import register_module_forward_pre_hook
    from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

    from ckd_dist.models.wrapper import Wrapper

    run, rank, rows, began = context.run, context.world.rank, [], []
    note(run, "starts", rank=rank, pid=os.getpid(), num_ranks=context.world.num_ranks)

    def read(module: Any, given: tuple) -> None:
        if isinstance(module, Wrapper) and module.training:
            if not began:
                began.append(note(run, "ready", rank=rank))
            ids_BL, attention_BL = (tensor.cpu().numpy() for tensor in given[:2])
            of_rows = (ids[attention > 0] for ids, attention in zip(ids_BL, attention_BL, strict=True))
            rows.extend(digest_of_row(ids) for ids in of_rows if len(ids) > 1)  # an empty slot is one token

    def before(*_: Any) -> None:
        raise_what_is_asked(run, rank)
        keep_pace(run)

    def after(optimizer: Any, *_: Any) -> None:
        if rows:  # ZeRO updates its groups one by one
            step = int(next(iter(optimizer.state.values()))["step"])
            note(run, f"steps-{rank}", step=step, num_ranks=context.world.num_ranks, rows=list(rows))
            rows.clear()

    hooks = [
        register_module_forward_pre_hook(read),
        register_optimizer_step_pre_hook(before),
        register_optimizer_step_post_hook(after),
    ]
    try:
        return stage(context)
    finally:
        for hook in hooks:
            hook.remove()


class Labeler:
    """The product's labeler, which raises what is asked of a shard."""

    def __init__(self, context: Context, device: str) -> None:
        self.run, self.labeler = context.run, stages.LABEL.worker(context, device)
        note(self.run, "starts", rank=-1, pid=os.getpid(), num_ranks=0)

    def do(self, number: int) -> None:
        """Label a shard and write down who did it."""
        raise_what_is_asked(self.run, number)
        keep_pace(self.run)
        self.labeler.do(number)
        note(self.run, "shards", number=number, pid=os.getpid())


train_teacher = partial(train, stages.train_teacher)
distill = partial(train, stages.distill)
LABEL = Jobs(stages.LABEL.missing, Labeler, stages.LABEL.finish)

DISEASE = STUDIES["disease"]
HOOKED = {"train_teacher": "train_teacher", "distill": "distill", "label": "LABEL"}
STUDY = replace(
    DISEASE,
    all_stages=tuple(
        replace(stage, work=f"{HERE}:{HOOKED[stage.name]}") if stage.name in HOOKED else stage
        for stage in DISEASE.all_stages
    ),
)

if __name__ == "__main__":
    from launch.run import main

    sys.exit(main(studies=STUDIES | {"disease": STUDY}))
