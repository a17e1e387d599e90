"""The one atomic writer: killed, refused or left without power at any moment, there is the old content or the new."""

import os
import resource
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ckd_dist import files

OLD, NEW = b"old" * 10, b"newer" * 5
STEPS = ("open", "fsync", "fchmod", "replace", "link", "mkdir")  # what a writer asks of the system


def by_write(folder: Path) -> None:
    files.write(folder / "a", NEW)


def by_replacing(folder: Path) -> None:
    with files.replacing(folder / "a") as temporary:
        temporary.unlink()  # as some writers do: the file is made anew, with rights of their own
        for start in range(0, len(NEW), 7):
            with temporary.open("ab") as file:
                file.write(NEW[start : start + 7])


def by_create(folder: Path) -> None:
    files.create(folder / "new" / "a", NEW)


def by_filling(folder: Path) -> None:
    with files.filling(folder / "held", last=lambda path: path.name == "last") as temporary:
        (temporary / "below").mkdir()
        for name in ("below/b", "last", "z"):
            (temporary / name).write_bytes(NEW)


def by_replacing_folder(folder: Path) -> None:
    with files.replacing_folder(folder / "held") as temporary:
        (temporary / "other").mkdir()
        for name in ("a", "other/b"):
            (temporary / name).write_bytes(NEW)


# What is under its name before, and what is there after; a name is a path below the folder.
BEFORE = {"a": OLD, "held/kept": OLD, "held/last": OLD}
AFTER = {
    by_write: {**BEFORE, "a": NEW},
    by_replacing: {**BEFORE, "a": NEW},
    by_create: {**BEFORE, "new/a": NEW},
    by_filling: {**BEFORE, "held/below/b": NEW, "held/last": NEW, "held/z": NEW},
    by_replacing_folder: {"a": OLD, "held/a": NEW, "held/other/b": NEW},
}
WRITERS = pytest.mark.parametrize("writer", AFTER, ids=lambda writer: writer.__name__)
NONE_YET = {"a": OLD}  # a folder cannot be replaced in one step


def lay_out(folder: Path) -> Path:
    for name, content in BEFORE.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def seen(folder: Path) -> dict[str, bytes]:
    """What a reader finds: all files but those under temporary names."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files.files_below(folder)}


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".*")]


def is_allowed(found: dict[str, bytes], writer: Callable[[Path], None], crashed: bool) -> bool:
    """Old or new; of many files each is, and the last one only after all others."""
    if found in (BEFORE, AFTER[writer]):
        return True
    if writer is by_replacing_folder:
        return crashed and found == NONE_YET
    whole = all(content == AFTER[writer].get(name) or content == BEFORE.get(name) for name, content in found.items())
    return writer is by_filling and whole and found["held/last"] == OLD


def in_child(work: Callable[[], None]) -> int:
    """Do the work in a process of its own; return how that ended, as os.wait says it."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitpid(child, 0)[1]


@contextmanager
def at_step(number: int, act: Callable[[], None]) -> Iterator[None]:
    """Act before the call of that number, of all that a writer asks of the system."""
    calls, lock, real = iter(range(1_000_000)), threading.Lock(), {name: getattr(os, name) for name in STEPS}

    def stepping(name: str) -> Callable:
        def step(*args, **more):
            with lock:
                is_it = next(calls) == number
            if is_it:
                act()
            return real[name](*args, **more)

        return step

    try:
        for name in STEPS:
            setattr(os, name, stepping(name))
        yield
    finally:
        for name in STEPS:
            setattr(os, name, real[name])


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@WRITERS
def test_killed_before_any_step_there_is_the_old_or_the_new(tmp_path: Path, writer: Callable[[Path], None]) -> None:
    def killed(number: int, folder: Path) -> bool:
        def work() -> None:
            with at_step(number, kill):
                writer(folder)

        return in_child(work) == signal.SIGKILL

    number, found = 0, []
    while killed(number, folder := lay_out(tmp_path / str(number))):
        found.append(seen(folder))
        assert is_allowed(found[-1], writer, crashed=True)
        files.sweep(folder)
        assert hidden(folder) == [] and seen(folder) == found[-1]
        number += 1
    assert seen(folder) == AFTER[writer]
    assert found[0] == BEFORE and AFTER[writer] in found  # the name is forced to disk after the rename


@pytest.mark.parametrize("writer", [by_write, by_replacing], ids=lambda writer: writer.__name__)
def test_killed_at_any_byte_the_old_file_is_there(tmp_path: Path, writer: Callable[[Path], None]) -> None:
    def work(num_bytes: int, folder: Path) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, num_bytes))  # the write of one more byte kills
        writer(folder)

    for num_bytes in range(len(NEW)):
        folder = lay_out(tmp_path / str(num_bytes))
        assert os.WTERMSIG(in_child(lambda n=num_bytes, folder=folder: work(n, folder))) == signal.SIGXFSZ
        assert seen(folder) == BEFORE
    assert in_child(lambda: work(len(NEW), folder)) == 0
    assert seen(folder) == AFTER[writer]


@WRITERS
def test_refused_at_any_step_there_is_the_old_or_the_new_and_no_trace(
    tmp_path: Path, writer: Callable[[Path], None]
) -> None:
    def refuse() -> None:
        raise OSError(28, "No space left on device")

    def refused(number: int, folder: Path) -> bool:
        try:
            with at_step(number, refuse):
                writer(folder)
        except OSError:
            return True
        return False

    number = 0
    while refused(number, folder := lay_out(tmp_path / str(number))):
        assert is_allowed(seen(folder), writer, crashed=False)
        assert hidden(folder) == []
        number += 1
    assert seen(folder) == AFTER[writer]
    assert number >= 4  # made, flushed, renamed, its folder flushed


@WRITERS
def test_interrupted_before_any_step_there_is_the_old_or_the_new(
    tmp_path: Path, writer: Callable[[Path], None]
) -> None:
    """Only an interrupted clean-up may leave something, under a temporary name."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    for number in range(100):
        folder = lay_out(tmp_path / str(number))
        with suppress(KeyboardInterrupt), at_step(number, interrupt):
            writer(folder)
            break
        assert is_allowed(seen(folder), writer, crashed=False)
        files.sweep(folder)
        assert hidden(folder) == []
    assert number >= 4 and seen(folder) == AFTER[writer]


@pytest.mark.parametrize("open_one", [files.replacing, files.filling, files.replacing_folder])
def test_an_exception_of_the_block_leaves_everything_as_it_was(tmp_path: Path, open_one: Callable) -> None:
    lay_out(tmp_path)
    place = tmp_path / ("a" if open_one is files.replacing else "held")

    def half() -> None:
        with open_one(place) as temporary:
            (temporary if open_one is files.replacing else temporary / "b").write_bytes(NEW)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()
    assert seen(tmp_path) == BEFORE and hidden(tmp_path) == []


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), KeyboardInterrupt()], ids=["disk", "Ctrl-C"])
@pytest.mark.parametrize("was_there", [True, False])
@pytest.mark.parametrize("done", [1, 2])
def test_whatever_stops_a_folder_just_after_a_rename_the_old_one_or_the_new_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, was_there: bool, done: int
) -> None:
    """A signal arrives when the call is back: what the system did is done."""
    real, calls = os.replace, iter(range(1, 100))

    def replace(old: Path, new: Path) -> None:
        real(old, new)
        if next(calls) == done:
            raise error

    if was_there:
        lay_out(tmp_path)
    before = seen(tmp_path)
    renames = 2 if was_there else 1
    monkeypatch.setattr(os, "replace", replace)
    if done <= renames:
        with pytest.raises(type(error)):
            by_replacing_folder(tmp_path)
    else:
        by_replacing_folder(tmp_path)
    after = {name: content for name, content in AFTER[by_replacing_folder].items() if was_there or name != "a"}
    assert seen(tmp_path) == (after if done >= renames else before) and hidden(tmp_path) == []


def test_a_first_folder_that_is_stopped_leaves_none(tmp_path: Path) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    whole = {"held/a": NEW, "held/other/b": NEW}
    for number in range(100):
        folder = tmp_path / str(number)
        with suppress(KeyboardInterrupt), at_step(number, stop):
            by_replacing_folder(folder)
            break
        assert seen(folder) in ({}, whole)
        assert (folder / "held").exists() == bool(seen(folder))
    assert number > 4 and seen(folder) == whole


@dataclass
class Disk:
    """A disk that loses at a power cut whatever was not forced to it; raises where a name could outlive its bytes."""

    bytes_of: dict[int, tuple[int, int]] = field(default_factory=dict)  # inode -> size and time when it was forced
    unsaved: set[Path] = field(default_factory=set)  # folders with names that are not on disk
    renames: int = 0

    def fsync(self, real: Callable, descriptor: int) -> None:
        real(descriptor)
        found = os.fstat(descriptor)
        self.bytes_of[found.st_ino] = (found.st_size, found.st_mtime_ns)
        if stat.S_ISDIR(found.st_mode):
            self.unsaved.discard(Path(os.readlink(f"/proc/self/fd/{descriptor}")))

    def rename(self, real: Callable, old: str | Path, new: str | Path) -> None:
        is_away = files.TEMPORARY.search(str(new))  # what is moved out of the way is not forced
        if not is_away:
            for path in (Path(old), *Path(old).rglob("*")):
                found = path.stat()
                assert self.bytes_of.get(found.st_ino) == (found.st_size, found.st_mtime_ns), path.name
        real(old, new)
        self.unsaved.add(Path(old if is_away else new).parent)
        self.renames += 1

    def mkdir(self, real: Callable, path: str | Path, *mode: int) -> None:
        real(path, *mode)
        if not files.TEMPORARY.search(str(path)):
            self.unsaved.add(Path(path).parent)


@WRITERS
def test_no_name_is_on_disk_before_its_bytes_and_every_name_is_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: Callable[[Path], None]
) -> None:
    disk, real = Disk(), {name: getattr(os, name) for name in ("fsync", "replace", "link", "mkdir")}
    lay_out(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda descriptor: disk.fsync(real["fsync"], descriptor))
    monkeypatch.setattr(os, "mkdir", lambda path, *more: disk.mkdir(real["mkdir"], path, *more))
    for name in ("replace", "link"):
        monkeypatch.setattr(os, name, lambda old, new, name=name: disk.rename(real[name], old, new))
    writer(tmp_path)
    assert disk.renames and disk.unsaved == set()
    assert seen(tmp_path) == AFTER[writer]


@WRITERS
def test_only_the_owner_may_read_and_no_trace_is_left(tmp_path: Path, writer: Callable[[Path], None]) -> None:
    lay_out(tmp_path)
    before = os.umask(0)
    try:
        writer(tmp_path)
    finally:
        os.umask(before)
    new = [tmp_path / name for name, content in seen(tmp_path).items() if content == NEW]
    assert new and {stat.S_IMODE(path.stat().st_mode) for path in new} == {0o600}
    assert hidden(tmp_path) == []


def test_many_writers_of_one_file_leave_one_of_theirs_and_create_has_one_winner(tmp_path: Path) -> None:
    contents, won = [bytes([letter]) * 10_000 for letter in b"abcdef"], []

    def work(content: bytes) -> None:
        for _ in range(3):
            files.write(tmp_path / "many", content)
            assert (tmp_path / "many").read_bytes() in contents
        won.append(files.create(tmp_path / "once", content) and content)

    threads = [threading.Thread(target=work, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == len(contents) and [content for content in won if content] == [(tmp_path / "once").read_bytes()]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["many", "once"]


def test_many_processes_that_replace_one_folder_leave_one_of_theirs_whole(tmp_path: Path) -> None:
    def replace(content: bytes) -> None:
        for _ in range(8):
            with files.replacing_folder(tmp_path / "held") as temporary:
                (temporary / "a").write_bytes(content)
                (temporary / "b").write_bytes(content)

    def work(content: bytes) -> None:
        try:
            replace(content)
        except BaseException as error:
            failed.append(error)

    failed: list[BaseException] = []
    threads = [threading.Thread(target=work, args=(bytes([letter]),)) for letter in b"abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == [] and hidden(tmp_path) == []
    assert seen(tmp_path / "held") in [{"a": bytes([letter]), "b": bytes([letter])} for letter in b"abcd"]


def test_a_folder_that_another_process_puts_there_meanwhile_moves_away_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.replace, iter(range(100))

    def replace(old: Path, new: Path) -> None:
        real(old, new)
        if next(calls) in (0, 1):  # the old one is away: another process is quicker
            with suppress(FileExistsError):
                (tmp_path / "held").mkdir()
                (tmp_path / "held" / "theirs").write_bytes(OLD)

    lay_out(tmp_path)
    monkeypatch.setattr(os, "replace", replace)
    by_replacing_folder(tmp_path)
    assert seen(tmp_path) == AFTER[by_replacing_folder] and hidden(tmp_path) == []


def test_a_file_where_a_folder_is_to_be_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "held").write_bytes(OLD)
    with pytest.raises(ValueError, match="held is a file, and a folder is to be there"):
        by_replacing_folder(tmp_path)
    assert seen(tmp_path) == {"held": OLD} and hidden(tmp_path) == []


@pytest.mark.parametrize("in_the_way", ["z/", "last/", "below/b/", "below"])
def test_no_file_moves_into_a_folder_where_one_cannot(tmp_path: Path, in_the_way: str) -> None:
    lay_out(tmp_path)
    (tmp_path / "held" / "last").unlink()
    place = tmp_path / "held" / in_the_way
    place.mkdir(parents=True) if in_the_way.endswith("/") else place.write_bytes(OLD)
    before = seen(tmp_path)
    with pytest.raises(ValueError, match=f"in {tmp_path}/held .* move them away, or name another folder"):
        by_filling(tmp_path)
    assert seen(tmp_path) == before and hidden(tmp_path) == []


@pytest.mark.parametrize("open_one", [files.replacing, files.filling, files.replacing_folder])
@pytest.mark.parametrize("target", ["theirs", "their folder", "nowhere"])
def test_a_link_among_what_is_written_is_refused_and_its_target_is_left_alone(
    tmp_path: Path, open_one: Callable, target: str
) -> None:
    lay_out(tmp_path / "ours")
    (tmp_path / "theirs").write_bytes(OLD)
    (tmp_path / "their folder").mkdir()
    for path in (tmp_path / "theirs", tmp_path / "their folder"):
        path.chmod(0o755)
    place = tmp_path / "ours" / ("a" if open_one is files.replacing else "held")
    with pytest.raises(ValueError, match="link"), open_one(place) as temporary:
        if open_one is files.replacing:
            temporary.unlink()
        (temporary if open_one is files.replacing else temporary / "b").symlink_to(tmp_path / target)
    assert seen(tmp_path / "ours") == BEFORE and hidden(tmp_path) == []
    assert all(stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o755 for name in ("theirs", "their folder"))


def test_a_link_is_not_followed_when_files_are_forced_to_disk(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_bytes(OLD)
    (tmp_path / "theirs").chmod(0o644)
    (tmp_path / "link").symlink_to(tmp_path / "theirs")
    with pytest.raises(ValueError, match="a link is where a file is to be written"):
        files.flush([tmp_path / "link"])
    assert stat.S_IMODE((tmp_path / "theirs").stat().st_mode) == 0o644


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    for name in ("x" * 255, "é" * 127):
        files.write(tmp_path / name, "text")
        assert (tmp_path / name).read_text() == "text"


def test_a_folder_that_is_a_link_stays_one(tmp_path: Path) -> None:
    """A user may keep a large folder on another disk."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "held").symlink_to(tmp_path / "elsewhere")
    by_replacing_folder(tmp_path)
    assert (tmp_path / "held").is_symlink()
    assert seen(tmp_path / "elsewhere") == {"a": NEW, "other/b": NEW}


def test_sweeping_takes_temporary_names_alone(tmp_path: Path) -> None:
    kept = ["a.tmp", ".a.tmp", ".gitignore", "x.abcdefgh.tmp", ".a.ABCDEFGH.tmp", "in/.b.abcdefg.tmp"]
    gone = [".a.abcdefgh.tmp", "in/.b.json.12345_78.tmp", ".held.abcdefgh.tmp/in/c", ".a.b.c.abcdefgh.tmp"]
    for name in (*kept, *gone):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(NEW)
    files.sweep(tmp_path)
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()) == sorted(
        kept
    )
    files.sweep(tmp_path / "not there")


def test_what_lies_in_a_temporary_folder_is_no_finished_file(tmp_path: Path) -> None:
    for name in ("a", ".held.abcdefgh.tmp/b", "in/.c", "in/d"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(NEW)
    assert sorted(path.name for path in files.files_below(tmp_path)) == ["a", "d"]
    assert len(files.files_below(tmp_path / ".held.abcdefgh.tmp")) == 1  # of a temporary folder itself, its files
