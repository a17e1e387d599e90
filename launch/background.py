"""Work that goes on in a thread while a block runs: a heartbeat, a progress line."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def in_background(work: Callable[..., None], *arguments: Any) -> Iterator[None]:
    """Run `work(*arguments, ended)` in a thread until the block ends; then set the event `ended`, and wait for it."""
    ended = threading.Event()
    thread = threading.Thread(target=work, args=(*arguments, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
