"""What a person sees: a live line on a terminal, a plain one now and then elsewhere.  Nothing here knows a stage."""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from ckd_dist.progress import Rate, describe, read, seconds_in_words

PLAIN_SECONDS = 10.0  # between plain lines
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def say(words: str) -> None:
    """One line, now."""
    out.print(words, markup=False)
    sys.stdout.flush()


def finished(name: str, seconds: float) -> None:
    say(f"{name:<14} {seconds_in_words(seconds)}")


@contextlib.contextmanager
def watching(name: str, file: Path) -> Iterator[None]:
    """Show what appears in a progress file until the block ends."""
    ended = threading.Event()
    thread = threading.Thread(target=_live if out.is_terminal else _plain, args=(name, file, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _live(name: str, file: Path, ended: threading.Event) -> None:
    rate, offset, start = Rate(), 0, time.monotonic()
    with Live(Text(name), console=out, transient=True, refresh_per_second=8) as live:
        while not ended.wait(0.2):
            points, offset = read(file, offset)
            for point in points:
                rate.add(point)
            live.update(Text(f"{name:<14} {_bar(rate)}{seconds_in_words(time.monotonic() - start)}"))


def _bar(rate: Rate, width: int = 24) -> str:
    if rate.point is None:
        return ""
    full = width * rate.point.done // max(1, rate.point.total)
    return f"{'━' * full}{'·' * (width - full)}  {describe(rate)}  "


def _plain(name: str, file: Path, ended: threading.Event) -> None:
    """A line every ten seconds at most."""
    rate, offset, said = Rate(), 0, time.monotonic()
    while not ended.wait(0.5):
        points, offset = read(file, offset)
        for point in points:
            rate.add(point)
        if points and time.monotonic() - said >= PLAIN_SECONDS:
            said = time.monotonic()
            say(f"{name:<14} {describe(rate)}")
