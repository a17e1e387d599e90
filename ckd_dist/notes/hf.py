"""A data set of Hugging Face's: a folder of `save_to_disk`, parquet or JSON lines, or a name on the hub.

    text, and mentions, entities, spans or label (spans.py)           none: nobody annotated it
    tokens, ner_tags                                                  CoNLL-like: names, or numbers that have names
    passages, entities with lists of offsets                          BigBIO's KB form

name, id or document_id names a document, subject or subject_id its subject; a split's name says the official split.
Files are read as streams: nothing is copied to a cache, no code of a data set is run, and nothing is unpickled.
"""

import glob
import json
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ckd_dist.mistakes import raise_fault
from ckd_dist.notes.document import Corpus, Document, corpus_of
from ckd_dist.notes.files import split_of_name
from ckd_dist.notes.iob import join
from ckd_dist.notes.spans import NAMES, SUBJECTS, document_of, first, records
from ckd_dist.notes.tags import tags_of

HUB_NAME = re.compile(r"([\w.-]+(?:/[\w.-]+)?)(?::([\w.-]+))?")  # owner/name, or owner/name:configuration
MODULES = ("parquet", "json", "arrow")  # whose files hold values alone
ENDINGS = {".parquet": "parquet", ".jsonl": "json", ".ndjson": "json", ".json": "json", ".arrow": "arrow"}
WANTED = "text with mentions, entities, spans or label, tokens with ner_tags, or passages with entities"

Row = Mapping[str, Any]
ReadRow = Callable[[Row, str, str | None, Counter[str]], Document | None]


def read_hf(path: Path) -> Corpus:
    """Read a local data set, or one of the hub by its name.  A row that is no document is counted as malformed.

    Raises ValueError where there is none, or its columns are none of those above.
    """
    documents: list[Document] = []
    counts: Counter[str] = Counter()
    with _reading(path):
        for split, rows in _splits(path).items():
            read = None
            for number, row in enumerate(rows, 1):
                read = read or _reader(row, rows, path)
                own = first(row, NAMES)
                name = f"{split}:{number}" if own is None else own
                try:
                    document = read(row, name, split, counts)
                except RefusedError:
                    raise
                except (KeyError, TypeError, IndexError, AttributeError, ValueError):  # other values than its form has
                    document = None
                if document is None:
                    counts["malformed_lines"] += 1
                else:
                    documents.append(document)
    return corpus_of(documents, counts)


class RefusedError(ValueError):
    """A data set that is none for us, in a sentence that may be shown."""


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Put what the libraries raise into a sentence of ours: theirs may quote a record."""
    from datasets.data_files import EmptyDatasetError
    from datasets.exceptions import DataFilesNotFoundError, DatasetNotFoundError, DatasetsError

    try:
        yield
    except RefusedError:
        raise
    except ConnectionError:
        raise ValueError(
            f"there is no file or folder {path}, and the hub cannot be reached: give the path of a data set, "
            "or download it where there is a network"
        ) from None
    except DatasetNotFoundError:
        raise ValueError(f"the hub shows no data set {path}: check its name, or give a path") from None
    except (EmptyDatasetError, DataFilesNotFoundError):
        raise ValueError(
            f"{path} holds no file that ends in {', '.join(ENDINGS)}: is it the folder of a data set?"
        ) from None
    except (OSError, ValueError, RuntimeError, LookupError, TypeError, StopIteration, DatasetsError) as error:
        raise_fault(error, path)
        raise ValueError(f"{path} cannot be read as a data set ({type(error).__name__}): is it whole?") from None


def _splits(path: Path) -> Mapping[str, Iterable[Row]]:
    """Return every split's rows by its name."""
    from datasets import config  # takes two seconds

    config.HF_UPDATE_DOWNLOAD_COUNTS = False  # reading a local file would tell the hub
    if (path / "dataset_dict.json").is_file():
        names = json.loads((path / "dataset_dict.json").read_text())["splits"]
        return _saved({name: path / name for name in names})
    return _saved({"": path}) if (path / "state.json").is_file() else _streamed(path)


def _saved(folders: Mapping[str, Path]) -> Mapping[str, Iterable[Row]]:
    """Open the splits of save_to_disk.  Of one without rows it may write no file, which the library cannot open."""
    from datasets import load_from_disk

    return {
        split: load_from_disk(str(folder))
        for split, folder in folders.items()
        if json.loads((folder / "state.json").read_text())["_data_files"]
    }


def _streamed(path: Path) -> Mapping[str, Iterable[Row]]:
    """Open files, or a data set of the hub, as a stream."""
    from datasets import load_dataset_builder

    with tempfile.TemporaryDirectory() as cache:  # of the builder itself, which makes folders there
        builder = load_dataset_builder(**_asked(path), cache_dir=cache)
    module = type(builder).__module__.split(".")[-1]
    if module not in MODULES:
        raise RefusedError(f"{path} holds {module} files: give parquet, JSON lines, or a folder of save_to_disk")
    files_of = builder.config.data_files
    if module == "json":  # an empty file has no lines, but the library wants the columns of a first one
        for split in [split for split, files in files_of.items() if all(map(_is_empty, files))]:
            del files_of[split]
    return builder.as_streaming_dataset() if files_of else {}


def _asked(path: Path) -> dict[str, Any]:
    """Return how the library is asked for a file, a folder, or a data set of the hub."""
    named = HUB_NAME.fullmatch(str(path))
    literal = glob.escape(str(path))  # the library takes a path as a pattern
    if path.is_file():
        if (ending := _ending(path)) not in ENDINGS:
            raise RefusedError(f"{path} is no data set: give a file that ends in {', '.join(ENDINGS)}, or a folder")
        return {"path": ENDINGS[ending], "data_files": {split_of_name(path.name) or "all": literal}}
    if path.is_dir():
        if literal != str(path):
            raise RefusedError(f"{path} has one of * ? [ in its name: rename the folder, or give one of its files")
        if odd := next((file for file in path.rglob("*") if file.suffix != _ending(file) in ENDINGS), None):
            raise RefusedError(f"{odd} ends in capitals, and would be passed over: rename it in lower case")
        return {"path": str(path)}
    if not named or (len(path.parts) > 1 and Path(path.parts[0]).is_dir()):
        raise RefusedError(f"there is no file or folder {path}: give a path, or a name of the hub such as owner/name")
    return {"path": named[1], "name": named[2]}


def _ending(file: Path) -> str:
    return file.suffix.lower()


def _is_empty(file: str) -> bool:
    return Path(file).is_file() and Path(file).stat().st_size == 0


def _reader(row: Row, rows: Any, path: Path) -> ReadRow:
    """Return what reads rows with these columns."""
    if "passages" in row and "entities" in row:
        return _from_passages
    if "text" in row:
        return _from_text
    if "tokens" in row and "ner_tags" in row:
        feature = (getattr(rows, "features", None) or {}).get("ner_tags")
        names = getattr(getattr(feature, "feature", None), "names", None)

        def from_tokens(row: Row, name: str, split: str | None, counts: Counter[str]) -> Document | None:
            if names is None and any(isinstance(tag, int | float) for tag in row["ner_tags"] or ()):
                raise RefusedError(
                    f"{path}: ner_tags are numbers without names: make the column a ClassLabel, or give names"
                )
            return _from_tokens(row, name, split, names or ())

        return from_tokens
    raise RefusedError(f"{path} has the columns {', '.join(row)}; a corpus of notes has {WANTED}")


def _from_text(row: Row, name: str, split: str | None, counts: Counter[str]) -> Document | None:
    return document_of(dict(row), name, _official(split), counts)


def _from_tokens(row: Row, name: str, split: str | None, names: Sequence[str]) -> Document | None:
    """Read a sentence; where a token is missing, or its tag is none (-1 is no name), it is no document."""
    tokens, tags = row["tokens"], row["ner_tags"]
    if tags is None or len(tokens) != len(tags) or None in tokens:
        return None
    name_of = dict(enumerate(names))
    tags = [name_of.get(tag) if isinstance(tag, int) else tag for tag in tags]
    if not all(isinstance(tag, str) for tag in tags):
        return None
    said = tags_of([*names, *tags])
    if not all(tag in said for tag in tags):
        return None
    text, mentions = join([[(token, said[tag]) for token, tag in zip(tokens, tags, strict=True) if token]])
    return Document(str(name), text, mentions, _subject(row), _official(split))


def _from_passages(row: Row, name: str, split: str | None, counts: Counter[str]) -> Document | None:
    """Read BigBIO's form: offsets count in the text that the passages make at theirs, blanks between."""
    text = ""
    for passage in sorted(records(row["passages"]), key=lambda passage: passage["offsets"][0][0]):
        text = text.ljust(passage["offsets"][0][0]) + " ".join(passage["text"])
    return document_of({**row, "text": text}, name, _official(split), counts)


def _subject(row: Row) -> str | None:
    found = first(row, SUBJECTS)
    return None if found is None else str(found)


def _official(split: str | None) -> str | None:
    return split_of_name(split) if split else None
