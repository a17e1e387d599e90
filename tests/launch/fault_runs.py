"""A training under faults: the real driver with its ranks, what they have done so far, and what a fault cost.

What a fault cost is read from the trace that the ranks leave (fault_points.py) and from the folders of checkpoints,
whose bytes are hashed here once more: nothing of it is asked of the program under test.
"""

import hashlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from ckd_dist import progress
from ckd_dist.schedule import steps_per_epoch
from ckd_dist.studies.disease.rows import read_table
from ckd_dist.studies.disease.runfolder import DiseaseRun
from ckd_dist.studies.disease.seen import read_samples, seen_by
from tests.data import ROOT
from tests.end_to_end.on_ray import in_session, wait_for_end
from tests.end_to_end.small import SMALL, recipe_of
from tests.launch.fault_points import HERE, digest_of_row, notes

SAVE_EVERY = 8  # steps
LONG = ["teacher.sft.epochs=0", "teacher.labels.evaluate_every=100000", f"teacher.labels.save_every={SAVE_EVERY}"]
LONG += [f"student.optim.save_every={SAVE_EVERY}", "student.optim.evaluate_every=100000"]
FROZEN_SECONDS = 8  # after which a rank that does not answer is given up, in place of two minutes
TABLE = "CKD_FAULT_TABLE"  # names the file that takes a line for each row of the table


@dataclass(frozen=True)
class Row:
    """A row of the table of faults, in words."""

    fault: str
    when: str
    lost: str
    recovered: str
    weights: str

    def write(self) -> None:
        """Add the row to the file that the environment names, if it does."""
        if file := os.environ.get(TABLE):
            with Path(file).open("a") as lines:
                lines.write(json.dumps(vars(self)) + "\n")


@dataclass(frozen=True)
class Recovery:
    """What became of a fault."""

    last: int  # step that was made before it, by any rank
    resumed: int  # step from whose checkpoint the run went on
    seconds: float  # from the fault, or the same command, to the next step
    parts: dict[str, float] = field(default_factory=dict)  # where they went, in order

    @property
    def lost(self) -> int:
        """Steps that had to be made again."""
        return max(0, self.last - self.resumed)


class Disturbed:
    """A stage of a run that is trained by the real driver, to be disturbed."""

    def __init__(self, run: DiseaseRun, stage: str, place: Path, environment: dict[str, str] | None = None) -> None:
        """place: a short folder for the drivers' temporary files.  environment: to add to the drivers'."""
        self.run, self.stage, self.place = run, stage, place
        ours = {"OMP_NUM_THREADS": "1", "TMPDIR": str(place), "COLUMNS": "2000"}  # a sentence stays on its line
        self.environment = os.environ | ours | (environment or {})
        self.folder = {"train_teacher": run.teacher, "distill": run.student}.get(stage, run.softlabels)
        notes(run).mkdir(exist_ok=True)
        self.driver: subprocess.Popen | None = None
        self.began = 0.0

    def command(self, *overrides: str) -> list[str]:
        """The same command each time."""
        return [sys.executable, "-m", HERE, self.stage, "--run", str(self.run.root), *overrides]

    def start(self, *overrides: str) -> None:
        """Start the driver in a session of its own; what it says goes to a file."""
        self.began = time.time()
        with self.said_file.open("a") as said:
            self.driver = subprocess.Popen(
                self.command(*overrides),
                cwd=ROOT,
                env=self.environment,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    @property
    def said_file(self) -> Path:
        """What the drivers said, one after another."""
        return notes(self.run) / "said"

    @property
    def said(self) -> str:
        """What the drivers said until now."""
        return self.said_file.read_text()

    @property
    def last_words(self) -> str:
        """The last line that a driver said, for the table."""
        return self.said.splitlines()[-1].replace(str(self.run.root), "RUN")

    # --- what has been done ---

    def trace(self, name: str) -> list[dict[str, Any]]:
        """All lines of a file of the trace; one that a kill has torn is left out."""
        file, found = notes(self.run) / f"{name}.jsonl", []
        for line in file.read_text().splitlines() if file.exists() else []:
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found

    def newest_step(self) -> int:
        """The number of the last update that the leader made."""
        return next((line["step"] for line in reversed(self.trace("steps-0"))), 0)

    def whole(self) -> list[int]:
        """Steps of the checkpoints whose bytes are those that were sealed, in order."""
        return sorted(step_of(folder) for folder in self.folder.glob("step_*") if is_whole(folder))

    def pid_of(self, rank: int) -> int:
        """The process of a rank, as it last started."""
        return next(line["pid"] for line in reversed(self.trace("starts")) if line["rank"] == rank)

    # --- waiting ---

    def wait_until(self, reached: Callable[[], Any], seconds: float = 400, every: float = 0.05) -> Any:
        """Wait until something holds, while the driver lives; return it."""
        deadline = time.monotonic() + seconds
        while not (found := reached()):
            assert self.driver.poll() is None, f"the driver ended with {self.driver.returncode}: {self.said[-2000:]}"
            assert time.monotonic() < deadline, f"it never came: {self.said[-2000:]}"
            time.sleep(every)
        return found

    def wait_for_save(self) -> None:
        """Wait until a checkpoint more is whole and the driver knows it, and a step more is made."""
        first = max(self.whole(), default=0)
        self.wait_until(lambda: first < self.told() < self.newest_step())

    def told(self) -> int:
        """The step of the newest checkpoint that is said to be whole: faults before it count no more."""
        points, _ = progress.read(self.run.progress(self.stage))
        return int(max((point.numbers["saved"] for point in points if "saved" in point.numbers), default=0))

    def wait_for_exit(self, code: int, seconds: float = 400) -> None:
        """Wait for the end of the driver and all that it started; nothing of it may be left."""
        assert self.driver.wait(timeout=seconds) == code, self.said[-2000:]
        wait_for_end(self.driver.pid, seconds=120)
        deadline = time.monotonic() + 60
        while alive := [line["pid"] for line in self.trace("starts") if is_alive(line["pid"], line["time"])]:
            assert time.monotonic() < deadline, f"ranks outlive their driver: {alive}"
            time.sleep(0.2)
        if code != -signal.SIGKILL:  # what a killed one left is gone when the next one ends
            assert not list(self.place.glob("ckd-*")), "a private folder is left behind"
            assert not (self.run.root / "driver.lock").exists() and not (self.run.root / "STOP").exists()

    def wait_for_recovery(self, fault: float) -> Recovery:
        """Wait for the first step of the ranks that started after a moment; say what it cost."""
        begun = self.wait_until(lambda: later(self.trace("starts"), fault, rank=0))
        made = self.wait_until(lambda: later(self.trace("steps-0"), begun["time"]))
        ready = later(self.trace("ready"), begun["time"], rank=0)
        faults = self.run.root / "ray" / "faults"  # Ray's controller writes it
        noticed = max(fault, faults.stat().st_mtime) if faults.exists() else fault
        moments = {"the fault": fault, "noticed": noticed, "stage begun": begun["time"]}
        moments |= {"first row read": ready["time"], "step made": made["time"]}
        parts = {name: end - start for (_, start), (name, end) in pairwise(moments.items())}
        before = [[line for line in self.trace(f"steps-{rank}") if line["time"] < begun["time"]] for rank in range(2)]
        last = max((lines[-1]["step"] for lines in before if lines), default=0)
        return Recovery(last, made["step"] - 1, made["time"] - fault, parts)

    # --- the end ---

    def rows_of_steps(self) -> dict[int, Counter]:
        """Rows that were read in each update of the union of committed steps: those of its last time, on all ranks."""
        newest = [{line["step"]: line for line in self.trace(f"steps-{rank}")} for rank in range(2)]
        rows = {}
        for step, leader in newest[0].items():
            others = [newest[rank][step] for rank in range(1, leader["num_ranks"])]
            rows[step] = sum((Counter(line["rows"]) for line in (leader, *others)), Counter())
        return rows

    def assert_rows_once(self) -> None:
        """Assert that every row was read once in every epoch, in the union of committed steps."""
        recipe, table = recipe_of(self.run), read_table(self.run, "train", "teacher")
        labels = read_samples(self.run, "train", seen_by("teacher", recipe.teacher), columns=["labels"])["labels"]
        rows = Counter(digest_of_row(table.row(row)) for row in labels.is_not_null().arg_true())
        num = steps_per_epoch(rows.total(), recipe.teacher.labels.batch_samples)
        steps = self.rows_of_steps()
        assert sorted(steps) == list(range(1, len(steps) + 1)) and len(steps) % num == 0, "a step is missing"
        for first in range(1, len(steps) + 1, num):
            read = sum((steps[step] for step in range(first, first + num)), Counter())
            assert read == rows, f"the epoch of step {first} read other rows, or some twice"

    def stop_all(self) -> None:
        """Kill what is left of a test that failed."""
        if self.driver is not None:
            ranks = (line["pid"] for line in self.trace("starts") if is_alive(line["pid"], line["time"]))
            for pid in {self.driver.pid, *in_session(self.driver.pid), *ranks}:
                if is_alive(pid):
                    os.kill(pid, signal.SIGKILL)
            self.driver.wait()


@contextmanager
def disturbed(
    run: DiseaseRun, stage: str, environment: dict[str, str] | None = None, overrides: tuple[str, ...] = ()
) -> Iterator[Disturbed]:
    """A started training in `run`; nothing of it is left afterwards."""
    place = Path(tempfile.mkdtemp(prefix="f", dir="/tmp"))  # short: sockets lie in it
    training = Disturbed(run, stage, place, environment)
    try:
        training.start(*overrides)
        yield training
    finally:
        training.stop_all()
        shutil.rmtree(place, ignore_errors=True)


def prompted(folder: Path, epochs: int, *overrides: str) -> DiseaseRun:
    """A run folder that is ready for its teacher, on two ranks under ZeRO-3."""
    run = DiseaseRun(folder)
    asked = ["--recipe", "tiny", "--until", "prompt_teacher", *SMALL, "extract.source=synthetic:200", *LONG, *overrides]
    command = [sys.executable, "-m", HERE, "pipeline", "--run", str(folder), *asked, f"teacher.labels.epochs={epochs}"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return run


def adapter(run: DiseaseRun) -> bytes:
    """The teacher's weights, as they were exported."""
    return (run.teacher / "adapter_model.safetensors").read_bytes()


def copied(run: DiseaseRun, folder: Path) -> DiseaseRun:
    """A copy of a run folder, to disturb."""
    return DiseaseRun(Path(shutil.copytree(run.root, folder)))


def is_whole(folder: Path) -> bool:
    """Whether the seal of a checkpoint holds: marker, manifest, and every byte."""
    try:
        manifest = (folder / "MANIFEST.json").read_bytes()
        if sha256(manifest) != (folder / "COMMITTED").read_text().strip():
            return False
        files = json.loads(manifest)["files"]
        return all(sha256((folder / name).read_bytes()) == files[name]["sha256"] for name in files)
    except OSError:
        return False


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def step_of(folder: Path) -> int:
    return int(folder.name[5:11])


def later(lines: list[dict[str, Any]], moment: float, **like: Any) -> dict[str, Any] | None:
    """The first line after a moment that has these values."""
    return next((line for line in lines if line["time"] > moment and like.items() <= line.items()), None)


def is_alive(pid: int, moment: float = math.inf) -> bool:
    """Whether the process that had this number at a moment is there and no zombie: in an hour numbers come again."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    (booted,) = (line.split()[1] for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime"))
    began = int(booted) + int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return fields[0] != "Z" and began <= moment + 1  # the system tells in whole seconds when it booted
