"""Where does every worker stand?  A worker that hangs, or is frozen, is named, with the place where it stands.

A thread of each worker writes the code places of its stack, nothing of what it computes, to a file of the run folder,
and a count that grows; the driver watches the files by its own clock.  A rank that waits in a collective waits for
another, so places that differ tell which one hangs.
"""

import itertools
import json
import math
import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ckd_dist.files import write

from .background import in_background
from .environment import GROUP_SECONDS

LOOK_SECONDS = 5.0  # between two looks, of a worker at itself and of the driver at all
FIRST_SECONDS = 0.5  # between the first two of a worker: at the first one its work has not begun yet
GONE_SECONDS = 120.0  # without one, after which nobody is there: what was killed leaves its note behind
LEAVING_SECONDS = 30.0  # within which whoever is left behind ends: Ray kills survivors of a fault after ten
SILENT_SECONDS = 30.0  # without a sign of a worker's thread: frozen, or its node is lost
STAND_SECONDS = 45.0  # at one and the same place of the code, without a step or job that ends meanwhile
TIMES = 3  # as long as the longest step or job so far: only then it stands
OWN = Path(__file__).parents[1]  # where our own code lies

_COUNT = itertools.count()  # of this process


@contextmanager
def noting_stack(file: Path) -> Iterator[None]:
    """Write where this thread stands to `file` every few seconds, until the block ends."""
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with in_background(_note_stack, file, threading.get_ident()):
            yield
    finally:
        file.unlink(missing_ok=True)


def _note_stack(file: Path, thread: int, ended: threading.Event) -> None:
    who = {"process": os.getpid(), "host": socket.gethostname(), "block": next(_COUNT)}
    pauses = itertools.chain([FIRST_SECONDS], itertools.repeat(LOOK_SECONDS))
    while not ended.is_set():
        count = next(_COUNT)
        frame = sys._current_frames().get(thread)
        stack = traceback.extract_stack(frame) if frame else []
        places = [f"{_short(each.filename)}:{each.lineno} {each.name}" for each in stack]
        with suppress(OSError):  # a full disk must not end the run
            file.write_text(json.dumps({**who, "count": count, "stack": places}))
        ended.wait(next(pauses))


def _short(file: str) -> str:
    """A file's path below our own folder or below site-packages."""
    path = Path(file)
    if path.is_relative_to(OWN):
        return str(path.relative_to(OWN))
    return file.rpartition("site-packages/")[2]


@dataclass
class _Seen:
    """What the driver has seen of one worker, by its own clock."""

    note: dict[str, Any]
    changed: float  # when the note last changed
    moved: float  # when the stack last changed
    told: set[str] = field(default_factory=set)  # what was said of it since it last moved


@dataclass(frozen=True)
class Kind:
    """What workers are called, what they make one by one, and how long one may take until it is said where they stand.

    patience: seconds, or TIMES as long as the longest one so far took, but `latest` at the latest.
    """

    name: str
    unit: str
    patience: float
    latest: float = math.inf


# Collectives give up after GROUP_SECONDS: who hangs is named before.
RANK = Kind("rank", "step", STAND_SECONDS, latest=GROUP_SECONDS - 60)


@dataclass
class Watch:
    """Looks at the notes of all workers now and then, and says who is silent and who stands.

    heard: something that changes with every step or job that ends: a healthy rank is at one and the same place of the
    code, its backward pass, whenever one looks.
    """

    folder: Path
    say: Callable[[str], None]
    kind: Kind
    heard: Callable[[], Any]
    clock: Callable[[], float] = time.monotonic
    _seen: dict[int, _Seen] = field(default_factory=dict)
    _leaving: dict[tuple[str, int], float] = field(default_factory=dict)  # until when a process's notes are passed over
    _looked: float = 0.0
    _heard: tuple[Any, float] = (None, 0.0)  # what was heard last, and when
    _is_first: bool = True  # what is heard next comes after a start, which takes long
    _longest: float = 0.0  # seconds between two things that were heard

    def begin(self) -> None:
        """Forget all workers: other ones start.

        Survivors of a fault write on until they are killed, and what they leave would look like a frozen worker's: it
        is passed over for a while.  Not for ever: after a mere warning nobody ends, and another may get the number of
        an ended process.
        """
        now = self.clock()
        self._seen.clear()
        self._heard, self._is_first = (self.heard(), now), True
        still = {who: until for who, until in self._leaving.items() if until > now}  # not longer with every warning
        with suppress(OSError):  # a disk that hiccups must not end the run
            left = {_process_of(note): now + LEAVING_SECONDS for note in self._notes().values() if note}
            self._leaving = left | still
            for file in self.folder.glob("*.json"):
                file.unlink(missing_ok=True)

    def look(self) -> None:
        """Look, where the last look was some seconds ago."""
        if self.clock() - self._looked < LOOK_SECONDS / 2:
            return
        self._looked = self.clock()
        with suppress(OSError):  # a disk that hiccups must not end the run
            self._listen()
            self._read()
            self._say_silent()
            self._say_standing()

    @property
    def num_seen(self) -> int:
        """Count the workers that have given a sign of late."""
        return sum(self.clock() - seen.changed < GONE_SECONDS for seen in self._seen.values())

    def silent_for(self, number: int) -> float:
        """Return for how many seconds nothing was seen of a worker; 0 where it never gave a sign.

        Where all of several are silent it is the disk that they write to: 0 too.
        """
        silent = [self.clock() - seen.changed for seen in self._seen.values()]
        if number not in self._seen or (len(silent) > 1 and min(silent) >= SILENT_SECONDS):
            return 0.0
        return self.clock() - self._seen[number].changed

    def standing_for(self, number: int) -> float:
        """Return for how many seconds a worker has been at one and the same place; 0 where it never gave a sign."""
        seen = self._seen.get(number)
        return self.clock() - seen.moved if seen else 0.0

    def forget(self, number: int) -> None:
        """Forget one worker: it has ended, and another one may take its number."""
        self._seen.pop(number, None)
        (self.folder / f"{number}.json").unlink(missing_ok=True)

    def _listen(self) -> None:
        """Note when something was heard, and the longest that it took."""
        heard, now = self.heard(), self.clock()
        if heard != self._heard[0]:
            if not self._is_first:
                self._longest = max(self._longest, now - self._heard[1])
            self._heard, self._is_first = (heard, now), False

    def _read(self) -> None:
        now, notes = self.clock(), self._notes()
        for number in set(self._seen) - set(notes):
            del self._seen[number]
        for number, note in notes.items():
            if note is None:
                continue
            old = self._seen.get(number)
            if now < self._leaving.get(_process_of(note), now):
                self.forget(number)
            elif old is None or old.note["process"] != note["process"]:
                self._seen[number] = _Seen(note, now, now)
            elif note["count"] != old.note["count"]:
                moved = any(note[what] != old.note[what] for what in ("stack", "block"))
                told = set() if moved else old.told - {"silent"}
                self._seen[number] = _Seen(note, now, now if moved else old.moved, told)

    def _notes(self) -> dict[int, dict[str, Any] | None]:
        """Return every worker's note; None in place of one that cannot be read."""
        return {int(file.stem): _note_in(file) for file in self.folder.glob("*.json") if file.stem.isdigit()}

    def _say_silent(self) -> None:
        for number, seen in sorted(self._seen.items()):
            seconds = self.clock() - seen.changed
            if seconds >= SILENT_SECONDS and "silent" not in seen.told:
                seen.told.add("silent")
                who, place = f"process {seen.note['process']} on {seen.note['host']}", place_of(seen.note["stack"])
                self.say(
                    f"{self.kind.name} {number} ({who}) has not answered for {seconds:.0f} s: it is frozen, or its "
                    f"node is lost; it was last at {place}"
                )

    def _say_standing(self) -> None:
        now = self.clock()
        seconds = max(self.kind.patience, min(TIMES * self._longest, self.kind.latest))
        if now - self._heard[1] < seconds:
            return
        standing = {
            number: seen
            for number, seen in sorted(self._seen.items())
            if now - seen.changed < SILENT_SECONDS and now - seen.moved >= self.kind.patience
        }
        if all("standing" in seen.told for seen in standing.values()):
            return
        for seen in standing.values():
            seen.told.add("standing")
        stacks = self.folder / "stacks.txt"
        write(stacks, "".join(self._in_full(number) for number in sorted(self._seen)))
        self.say(
            f"no {self.kind.unit} for {now - self._heard[1]:.0f} s: {self._in_words(standing)}; all stacks: {stacks}"
        )

    def _in_words(self, standing: dict[int, _Seen]) -> str:
        """Workers by the place where they stand; the fewest first, as the many wait for them."""
        by_place: dict[str, list[int]] = {}
        for number, seen in standing.items():
            by_place.setdefault(place_of(seen.note["stack"]), []).append(number)
        groups = sorted(by_place.items(), key=lambda group: (len(group[1]), waits(group[0])))
        return "; ".join(
            f"{self.kind.name}{'s' if len(numbers) > 1 else ''} {in_ranges(numbers)} at {place}"
            for place, numbers in groups
        )

    def _in_full(self, number: int) -> str:
        note = self._seen[number].note
        lines = "".join(f"    {place}\n" for place in note["stack"])
        return f"{self.kind.name} {number}, process {note['process']} on {note['host']}\n{lines}"


def _note_in(file: Path) -> dict[str, Any] | None:
    with suppress(OSError, ValueError):  # gone meanwhile, or torn
        return json.loads(file.read_text())
    return None


def _process_of(note: dict[str, Any]) -> tuple[str, int]:
    return note["host"], note["process"]


def waits(place: str) -> bool:
    """Say whether a place is one where a rank waits for the others."""
    return any(words in place for words in ("torch/distributed/", "deepspeed/comm/", "_engine_run_backward"))


def place_of(stack: list[str]) -> str:
    """Return the innermost place of our own code, and the innermost of all where that is another's.

    stack: places, "file:line function", outermost first.

    >>> place_of(["ckd_dist/engine/loop.py:190 fit", "torch/distributed/distributed_c10d.py:3004 all_reduce"])
    'ckd_dist/engine/loop.py:190 fit, in torch/distributed/distributed_c10d.py:3004 all_reduce'
    """
    if not stack:
        return "an unknown place"
    own = [place for place in stack if place.startswith(("ckd_dist/", "launch/", "tests/"))]
    if not own or own[-1] == stack[-1]:
        return stack[-1]
    return f"{own[-1]}, in {stack[-1]}"


def in_ranges(numbers: list[int]) -> str:
    """Put sorted numbers in a few words.

    >>> in_ranges([0, 2, 3, 4, 7])
    '0, 2-4, 7'
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)
