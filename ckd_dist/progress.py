"""How far is a stage?  Its leader appends numbers to a file of the run folder; who can read the folder can show them.

    track(done, total, loss=0.3)   ->   RUN/progress/<stage>.jsonl   ->   the driver's progress line, `status RUN`

One JSON object a line, numbers only, at most a few lines a second, so that it works across processes and nodes and
costs nothing.  A stage with several phases simply starts again at zero with another total.
"""

import json
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

Track = Callable[..., None]  # track(done: int, total: int, **numbers: float)


STEP = ("time", "done", "total")  # the keys of a line that are not the stage's own numbers


@dataclass
class Tracker:
    """`tracker(done, total, **numbers)` appends one line, at most one in `seconds`.

    The last one of a phase, and one that tells of a save (saved=STEP), are always written.  A disk that cannot take a
    line costs the line, not the run: what must be whole notices by itself.
    """

    file: Path
    seconds: float = 0.25
    clock: Callable[[], float] = time.time
    last_written: float = field(default=-math.inf, init=False)

    def __call__(self, done: int, total: int, **numbers: float) -> None:
        now = self.clock()
        if now - self.last_written < self.seconds and done < total and "saved" not in numbers:
            return
        self.last_written = now
        line = {"time": now, "done": int(done), "total": int(total)}
        line |= {name: float(value) for name, value in numbers.items() if math.isfinite(float(value))}
        with suppress(OSError):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("a") as file:
                file.write(json.dumps(line) + "\n")


@dataclass(frozen=True)
class Point:
    """One line of a progress file."""

    time: float  # seconds since the epoch
    done: int
    total: int
    numbers: dict[str, float]


def read(file: Path, offset: int = 0) -> tuple[list[Point], int]:
    """Read the whole lines after byte `offset`; return the offset to read on from too.  A line being written waits."""
    if not file.is_file():
        return [], 0
    with file.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(offset if offset <= size else 0)
        block = stream.read()
        end = block.rfind(b"\n") + 1
        return list(_points(block[:end])), stream.tell() - len(block) + end


def last(file: Path) -> Point | None:
    """Return the newest point of a stage; None where it has none."""
    points, _ = read(file)
    return points[-1] if points else None


def _points(block: bytes) -> Iterator[Point]:
    for line in block.splitlines():
        try:
            values = json.loads(line)
            numbers = {name: value for name, value in values.items() if name not in STEP}
            yield Point(values["time"], values["done"], values["total"], numbers)
        except (ValueError, KeyError, TypeError):  # torn by a crash in the middle of a line
            continue


@dataclass
class Rate:
    """Steps a second, seconds left and the last save, from the points of the current phase."""

    first: Point | None = None
    point: Point | None = None
    saved: Point | None = None  # the newest that tells of a save: it stands where a fault takes the phase steps back

    def add(self, point: Point) -> "Rate":
        new_phase = self.point is None or point.total != self.point.total or point.done < self.point.done
        if new_phase:
            self.first = point
        if self.point is not None and point.total != self.point.total:
            self.saved = None
        if "saved" in point.numbers:
            self.saved = point
        self.point = point
        return self

    @property
    def per_second(self) -> float | None:
        if self.point is None or self.point.time <= self.first.time:
            return None
        return (self.point.done - self.first.done) / (self.point.time - self.first.time)

    @property
    def seconds_left(self) -> float | None:
        rate = self.per_second
        return (self.point.total - self.point.done) / rate if rate else None


def describe(rate: Rate) -> str:
    """Put a rate in one plain line.

    >>> describe(Rate().add(Point(0, 10, 100, {})).add(Point(10, 30, 100, {"loss": 0.5})))
    '30/100  30 %  2.0/s  35 s left  loss 0.5'
    """
    point = rate.point
    words = [f"{point.done}/{point.total}"]
    if point.total:
        words.append(f"{100 * point.done // point.total} %")
    if rate.per_second:
        words.append(f"{rate.per_second:.1f}/s" if rate.per_second >= 0.1 else f"{1 / rate.per_second:.0f} s each")
    if rate.seconds_left and point.done < point.total:
        words.append(f"{seconds_in_words(rate.seconds_left)} left")
    words += [f"{name} {value:.4g}" for name, value in point.numbers.items()]
    return "  ".join(words)


def describe_saves(rate: Rate, now: float, minutes: float | None) -> str:
    """Say when the stage was last heard of, and in training when it saved last and saves next, in one plain line.

    minutes: at most between two saves; none: the stage saves by no clock.

    >>> rate = Rate().add(Point(0, 10, 100, {})).add(Point(60, 32, 100, {"saved": 30})).add(Point(178, 80, 100, {}))
    >>> describe_saves(rate, now=180, minutes=15)
    'last step 2 s ago; saved: step 30, 2 min ago; next save in 13 min at the latest'
    """
    heard = f"{seconds_in_words(max(0, now - rate.point.time))} ago"  # clocks of nodes differ
    if minutes is None:
        return f"last heard of {heard}"
    since, what = rate.first, "nothing saved yet"
    if rate.saved is not None:
        since = rate.saved
        what = f"saved: step {rate.saved.numbers['saved']:.0f}, {seconds_in_words(now - since.time)} ago"
    left = since.time + 60 * minutes - now
    due = f"next save in {seconds_in_words(left)} at the latest" if left > 0 else "the next save is due"
    return f"last step {heard}; {what}; {due}"


def seconds_in_words(seconds: float) -> str:
    """Put seconds in words.

    >>> seconds_in_words(35), seconds_in_words(200), seconds_in_words(9000)
    ('35 s', '3 min 20 s', '2 h 30 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
