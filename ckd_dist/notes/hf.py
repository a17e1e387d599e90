"""A data set of Hugging Face's: a folder of `save_to_disk`, parquet or JSON lines, or a name on the hub.

    text, and mentions or entities [{start, end, type or label}]     none: nobody annotated it
    tokens, ner_tags                                                  CoNLL-like: names, or numbers that have names
    passages, entities with lists of offsets                          BigBIO's KB form

name, id or document_id names a document, subject or subject_id its subject; a split's name says the official split.
Files are read as streams: nothing is copied to a cache, no code of a data set is run, and nothing is unpickled.
"""

import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from ckd_dist.notes.document import Corpus, Document, corpus_of
from ckd_dist.notes.files import split_of_name
from ckd_dist.notes.iob import TAG, join
from ckd_dist.notes.jsonl import document_of

HUB_NAME = re.compile(r"([\w.-]+(?:/[\w.-]+)?)(?::([\w.-]+))?")  # owner/name, or owner/name:configuration
MODULES = ("parquet", "json", "arrow")  # whose files hold values alone
ENDINGS = {".parquet": "parquet", ".jsonl": "json", ".ndjson": "json", ".json": "json", ".arrow": "arrow"}
WANTED = "text with mentions or entities, tokens with ner_tags, or passages with entities"

Row = Mapping[str, Any]
ReadRow = Callable[[Row, str, str | None, Counter[str]], Document | None]


def read_hf(path: Path) -> Corpus:
    """Read a local data set, or one of the hub by its name.  A row that is no document is counted as malformed.

    Raises ValueError where there is none, or its columns are none of those above.
    """
    documents: list[Document] = []
    counts: Counter[str] = Counter()
    with _reading(path):
        for split, rows in _splits(path):
            read = None
            for number, row in enumerate(rows, 1):
                read = read or _reader(row, rows, path)
                own = _first(row, ("name", "id", "document_id"))
                name = f"{split}:{number}" if own is None else own
                try:
                    document = read(row, name, split, counts)
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
    from datasets.exceptions import DatasetsError

    try:
        yield
    except RefusedError:
        raise
    except (OSError, ValueError, RuntimeError, LookupError, TypeError, DatasetsError) as error:
        raise ValueError(f"{path} cannot be read as a data set ({type(error).__name__}): is it whole?") from None


def _splits(path: Path) -> list[tuple[str, Iterable[Row]]]:
    """Return every split's name and rows."""
    from datasets import config, load_from_disk  # takes two seconds

    config.HF_UPDATE_DOWNLOAD_COUNTS = False  # reading a local file would tell the hub
    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        found = load_from_disk(str(path))
    else:
        found = _streamed(path)
    return list(found.items()) if isinstance(found, dict) else [("", found)]


def _streamed(path: Path) -> Any:
    """Open files, or a data set of the hub, as a stream."""
    from datasets import load_dataset_builder

    named = HUB_NAME.fullmatch(str(path))
    if path.is_file():
        if path.suffix not in ENDINGS:
            raise RefusedError(f"{path} is no data set: give a file that ends in {', '.join(ENDINGS)}, or a folder")
        asked = {"path": ENDINGS[path.suffix], "data_files": {split_of_name(path.name) or "all": str(path)}}
    elif path.is_dir() or named:
        asked = {"path": str(path)} if path.is_dir() else {"path": named[1], "name": named[2]}
    else:
        raise RefusedError(f"there is no file or folder {path}: give a path, or a name of the hub such as owner/name")
    with tempfile.TemporaryDirectory() as cache:  # of the builder itself, which makes folders there
        builder = load_dataset_builder(**asked, cache_dir=cache)
    module = type(builder).__module__.split(".")[-1]
    if module not in MODULES:
        raise RefusedError(f"{path} holds {module} files: give parquet, JSON lines, or a folder of save_to_disk")
    return builder.as_streaming_dataset()


def _reader(row: Row, rows: Any, path: Path) -> ReadRow:
    """Return what reads rows with these columns."""
    if "passages" in row and "entities" in row:
        return _from_passages
    if "text" in row:
        return _from_text
    if "tokens" in row and "ner_tags" in row:
        feature = (getattr(rows, "features", None) or {}).get("ner_tags")
        names = getattr(getattr(feature, "feature", None), "names", None)
        if names is None and any(isinstance(tag, int) for tag in row["ner_tags"] or ()):
            raise RefusedError(
                f"{path}: ner_tags are numbers without names: make the column a ClassLabel, or give names"
            )
        return lambda row, name, split, counts: _from_tokens(row, name, split, counts, names)
    raise RefusedError(f"{path} has the columns {', '.join(row)}; a corpus of notes has {WANTED}")


def _from_text(row: Row, name: str, split: str | None, counts: Counter[str]) -> Document | None:
    spans = row.get("mentions") if "mentions" in row else row.get("entities")
    if spans is not None:
        spans = [{**span, "type": span.get("type", span.get("label"))} for span in _records(spans)]
    return _checked(row, name, row["text"], spans, split, counts)


def _from_tokens(
    row: Row, name: str, split: str | None, counts: Counter[str], names: list[str] | None
) -> Document | None:
    tokens, tags = row["tokens"], row["ner_tags"]
    if tags is None or len(tokens) != len(tags):
        return None
    tags = [names[tag] if isinstance(tag, int) else tag for tag in tags] if names else list(tags)
    unknown = [not isinstance(tag, str) or (tag != "O" and not TAG.fullmatch(tag)) for tag in tags]
    counts["malformed_lines"] += sum(unknown)
    tags = ["O" if is_unknown else tag for tag, is_unknown in zip(tags, unknown, strict=True)]
    text, mentions = join([[pair for pair in zip(tokens, tags, strict=True) if pair[0]]])
    return Document(str(name), text, mentions, _subject(row), _official(split))


def _from_passages(row: Row, name: str, split: str | None, counts: Counter[str]) -> Document | None:
    """Read BigBIO's form: offsets count in the text that the passages make at theirs, blanks between."""
    text = ""
    for passage in sorted(_records(row["passages"]), key=lambda passage: passage["offsets"][0][0]):
        text = text.ljust(passage["offsets"][0][0]) + " ".join(passage["text"])
    spans = []
    for entity in _records(row["entities"]):
        offsets = entity["offsets"]
        if any(text[stop:start].strip() or stop > start for (_, stop), (start, _) in pairwise(offsets)):
            counts["discontinuous"] += 1
        elif " ".join(text[a:b] for a, b in offsets) != " ".join(entity["text"]):
            counts["out_of_text"] += 1
        else:
            spans.append({"start": offsets[0][0], "end": offsets[-1][1], "type": entity["type"]})
    return _checked(row, name, text, spans, split, counts)


def _checked(
    row: Row, name: str, text: Any, spans: list[Row] | None, split: str | None, counts: Counter[str]
) -> Document | None:
    """Return the document that JSON lines with these values would give."""
    values = {"name": name, "text": text, "subject": _subject(row), "mentions": spans}
    return document_of(values, _official(split), counts)


def _records(rows: Any) -> list[dict[str, Any]]:
    """Return a list of structures; older data sets have a structure of lists."""
    if isinstance(rows, Mapping):
        return [dict(zip(rows, values, strict=True)) for values in zip(*rows.values(), strict=True)]
    return rows


def _first(row: Row, names: Iterable[str]) -> Any:
    """Return the first of these columns that has a value."""
    return next((row[name] for name in names if row.get(name) is not None), None)


def _subject(row: Row) -> str | None:
    found = _first(row, ("subject", "subject_id"))
    return None if found is None else str(found)


def _official(split: str | None) -> str | None:
    return split_of_name(split) if split else None
