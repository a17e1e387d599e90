"""Write and read the notes of one split as parquet: a row a note, its words, sentences and gold beside its text.

N notes, U words of a note
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl

from ckd_dist.files import replacing
from ckd_dist.mistakes import raise_fault
from ckd_dist.notes.document import Document
from ckd_dist.notes.note import Mention, Note
from ckd_dist.schema import check_columns

NOTES = pl.Schema(
    {
        "sample_id": pl.Int64,  # running number over all splits; the only id that logs may show
        "subject": pl.String,  # null: the corpus does not say
        "name": pl.String,  # of the document in its corpus
        "text": pl.String,
        "word_start": pl.List(pl.Int32),  # characters
        "word_end": pl.List(pl.Int32),
        "sentence": pl.List(pl.Int32),  # of each word
        "mentions": pl.List(pl.Struct({"start": pl.Int32, "end": pl.Int32, "type": pl.String})),  # null: no gold
    }
)


@dataclass(frozen=True, eq=False)
class StoredNotes:
    """Notes, their sample ids, names and subjects, in one order."""

    sample_id_N: np.ndarray  # int64
    names: list[str]
    subjects: list[str | None]
    notes: list[Note]

    def __len__(self) -> int:
        return len(self.notes)

    def documents(self) -> list[Document]:
        """Return them as documents, for those who ask which belong to one subject."""
        rows = zip(self.names, self.notes, self.subjects, strict=True)
        return [Document(name, note.text, note.mentions, subject) for name, note, subject in rows]


def write_notes(
    path: Path, sample_ids: Sequence[int] | np.ndarray, documents: Sequence[Document], notes: Sequence[Note]
) -> None:
    """Write notes and the documents they were cut from; a reader sees all of the file or none."""
    if not len(sample_ids) == len(documents) == len(notes):
        raise ValueError(f"{len(sample_ids)} sample ids, {len(documents)} documents and {len(notes)} notes: one each")
    frame = pl.DataFrame(
        {
            "sample_id": pl.Series(sample_ids, dtype=pl.Int64),
            "subject": [document.subject for document in documents],
            "name": [document.name for document in documents],
            "text": [note.text for note in notes],
            "word_start": _lists([note.start_U for note in notes]),
            "word_end": _lists([note.end_U for note in notes]),
            "sentence": _lists([note.sentence_U for note in notes]),
            "mentions": [None if n.mentions is None else [m._asdict() for m in n.mentions] for n in notes],
        },
        schema=NOTES,
    )
    with replacing(path) as temporary:
        frame.write_parquet(temporary, compression="zstd")


def read_notes(path: Path) -> StoredNotes:
    """Read what `write_notes` wrote.  Raises ValueError where the file is damaged or another table."""
    try:
        frame = pl.read_parquet(path, memory_map=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise_fault(error, path)
        raise ValueError(f"{path} cannot be read as notes ({type(error).__name__}): write the notes again") from None
    frame = check_columns(frame, NOTES, str(path))
    words = [_arrays(frame[column]) for column in ("word_start", "word_end", "sentence")]
    mentions = [
        None if rows is None else tuple(Mention(row["start"], row["end"], row["type"]) for row in rows)
        for rows in frame["mentions"].to_list()
    ]
    notes = [Note(*parts) for parts in zip(frame["text"].to_list(), *words, mentions, strict=True)]
    return StoredNotes(frame["sample_id"].to_numpy(), frame["name"].to_list(), frame["subject"].to_list(), notes)


def _lists(arrays: list[np.ndarray]) -> pl.Series:
    return pl.Series([pl.Series(array, dtype=pl.Int32) for array in arrays], dtype=pl.List(pl.Int32))


def _arrays(column: pl.Series) -> list[np.ndarray]:
    """Return the rows of a column of lists, int32 [U] each: slices of one array."""
    cuts = [0, *column.list.len().cum_sum().to_list()]
    values = column.explode(empty_as_null=False).to_numpy()
    return [values[start:stop] for start, stop in pairwise(cuts)]
