"""Gzipped CSV tables that are written chunk by chunk: beside their place, and there once all are whole."""

import gzip
import io
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import polars as pl

from ckd_dist.files import filling


@contextmanager
def tables_in(folder: Path, names: Sequence[str]) -> Iterator[dict[str, gzip.GzipFile]]:
    """Open one gzip file a table, folder/NAME.csv.gz; same rows, same bytes."""
    with filling(folder) as temporary, ExitStack() as stack:
        raw = {name: stack.enter_context(open(temporary / f"{name}.csv.gz", "wb")) for name in names}
        yield {
            name: stack.enter_context(gzip.GzipFile("", "wb", compresslevel=3, fileobj=file, mtime=0))
            for name, file in raw.items()
        }


def append(file: gzip.GzipFile, table: pl.DataFrame) -> None:
    """Write the rows of `table`; the very first write starts with the header."""
    text = io.BytesIO()
    table.write_csv(text, include_header=file.tell() == 0, datetime_format="%Y-%m-%d %H:%M:%S")
    file.write(text.getvalue())
