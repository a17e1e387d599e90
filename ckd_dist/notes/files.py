"""The files of a corpus: one file, a folder, or a tar archive that is read without unpacking it to disk.

Each comes with the official split that its place names: NCBItrainset_corpus.txt.gz, test.tsv, devel/note1.txt.  Only
what lies below the given folder counts, so a corpus may lie in a folder called test.  An archive is held in memory
(annotated corpora are small); files are opened when they are read, and .gz is decompressed.
"""

import gzip
import io
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from ckd_dist.mistakes import raise_fault

# A word of the name by itself or in camel case: "NCBItrainset" is train, "latest" is not test.
PART = re.compile(
    r"(?<![a-z])(?i:(?P<train>train(?:ing)?)|(?P<tuning>dev(?:el|elop|elopment)?|val(?:id|idation)?|tuning)"
    r"|(?P<held_out>test(?:ing)?|held[ _-]?out))(?i:[ _-]?(?:set|data))?(?![a-z])"
)
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")


@dataclass(frozen=True)
class SourceFile:
    """A file of a corpus: its name within it, the official split that its name names, and how to open it."""

    name: str
    split: str | None
    open: Callable[[], BinaryIO]
    place: str = "the file"  # what messages call it: a name may be a patient's

    @property
    def stem(self) -> str:
        """The name without .gz and without the ending before it."""
        return str(_plain_name(self.name).with_suffix(""))

    @property
    def ending(self) -> str:
        """The ending, but for .gz, in lower case."""
        return _plain_name(self.name).suffix.lower()


def find_files(path: Path, endings: tuple[str, ...]) -> list[SourceFile]:
    """List the files below `path` with one of these endings (".gz" may follow), by name; a path to a file is that file.

    Hidden files are passed over.  Raises ValueError where there is nothing, or an archive is damaged.
    """
    if path.is_dir():
        found = {p.relative_to(path).as_posix(): p for p in path.rglob("*") if p.is_file()}
        files = [SourceFile(name, split_of_name(name), _opener(found[name])) for name in _wanted(found, endings)]
    elif path.is_file() and path.name.lower().endswith(ARCHIVES):
        members = _members(path)
        files = [
            SourceFile(name, split_of_name(name), lambda data=members[name]: io.BytesIO(data))
            for name in _wanted(members, endings)
        ]
    elif path.is_file():
        files = [SourceFile(path.name, split_of_name(path.name), _opener(path))]
    else:
        raise ValueError(f"there is no file or folder {path}: give the path of the corpus")
    if not files:
        raise ValueError(f"{path} holds no file that ends in {' or '.join(endings)}: is it the folder of this corpus?")
    return [
        replace(file, place=f"file {nth:,} of {len(files):,} in the order of names ({file.ending})")
        for nth, file in enumerate(files, 1)
    ]


def split_of_name(name: str) -> str | None:
    """Return the split that a file's place within its corpus names: the innermost part of it that names exactly one.

    >>> split_of_name("NCBIdevelopset_corpus.txt.gz"), split_of_name("latest/notes.tsv")
    ('tuning', None)
    """
    for piece in reversed(PurePosixPath(name).parts):
        named = {match.lastgroup for match in PART.finditer(piece)}
        if len(named) == 1:
            return named.pop()
    return None


def split_of_folder(name: str) -> str | None:
    """Return the split that a file's folders name: for corpora with a file a document, whose names are no splits'."""
    return split_of_name(str(PurePosixPath(name).parent))


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Raise ValueError in one sentence where a file is damaged, without the bytes that Python's own messages quote."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not UTF-8 at byte {error.start}: convert it, e.g. with iconv") from None
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise_fault(error, name)
        raise ValueError(f"{name} cannot be read ({type(error).__name__}): is the file whole?") from None


def read_text(file: SourceFile) -> str:
    """Read all of a file, its line ends as they are, without a byte order mark.

    Raises ValueError where it is damaged or not UTF-8.
    """
    with _reading(file.place), file.open() as opened:
        return opened.read().decode("utf-8-sig")


def lines(file: SourceFile) -> Iterator[str]:
    """Yield the lines of a file, without their ends and a byte order mark; a line feed ends one.

    In a file without line feeds it is a carriage return, as on the old Macintosh.  Raises ValueError where the file is
    damaged or not UTF-8.
    """
    with _reading(file.place), file.open() as opened:
        for number, line in enumerate(opened):
            text = line.rstrip(b"\r\n").decode("utf-8-sig" if number == 0 else "utf-8")
            yield from text.split("\r") if number == 0 and not line.endswith(b"\n") else (text,)


def _plain_name(name: str) -> PurePosixPath:
    return PurePosixPath(name[:-3] if name.lower().endswith(".gz") else name)


def _wanted(names: dict, endings: tuple[str, ...]) -> list[str]:
    """Return the names that end as wanted, sorted, without hidden files."""
    return sorted(
        name
        for name in names
        if name.lower().removesuffix(".gz").endswith(endings)
        and not any(piece.startswith(".") for piece in PurePosixPath(name).parts)
    )


def _opener(path: Path) -> Callable[[], BinaryIO]:
    return lambda: gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb")


def _members(path: Path) -> dict[str, bytes]:
    """Read the regular files of an archive, by name; links and the like are passed over."""
    with _reading(str(path)), tarfile.open(path) as archive:
        read = {
            member.name.removeprefix("./"): archive.extractfile(member).read() for member in archive if member.isfile()
        }
        return {name.removesuffix(".gz"): _plain(name, data) for name, data in read.items()}


def _plain(name: str, data: bytes) -> bytes:
    return gzip.decompress(data) if name.endswith(".gz") else data
