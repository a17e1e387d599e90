"""Gzipped CSV tables that are written chunk by chunk: beside their place, and there once all are whole."""

import gzip
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import polars as pl


@contextmanager
def tables_in(folder: Path, names: Sequence[str]) -> Iterator[dict[str, gzip.GzipFile]]:
    """Open one gzip file a table, folder/NAME.csv.gz; same rows, same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    places = {name: (folder / f"{name}.csv.gz.part", folder / f"{name}.csv.gz") for name in names}
    with ExitStack() as stack:
        raw = {name: stack.enter_context(open(part, "wb")) for name, (part, _) in places.items()}
        files = {name: gzip.GzipFile("", "wb", compresslevel=3, fileobj=file, mtime=0) for name, file in raw.items()}
        yield files
        for name in names:
            files[name].close()
            raw[name].flush()
            os.fsync(raw[name].fileno())
    for part, place in places.values():
        os.replace(part, place)


def append(file: gzip.GzipFile, table: pl.DataFrame) -> None:
    """Write the rows of `table`; the very first write starts with the header."""
    text = io.BytesIO()
    table.write_csv(text, include_header=file.tell() == 0, datetime_format="%Y-%m-%d %H:%M:%S")
    file.write(text.getvalue())
