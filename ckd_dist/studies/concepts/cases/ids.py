"""Bring together ids that two files spell differently: what meets is what was meant, where that is one thing.

Whoever opens a table as numbers writes 1.0 for 1 and 1 for 001; whoever types it adds quotes, or capitals.  Marks
around an id, an empty fraction and commas between thousands never tell two ids apart, so they go as the ids are read.
Zeros in front and capitals may: ids that differ in nothing else meet only where each file has one such spelling.
"""

import re

import polars as pl

AROUND = r"""^[='"\u{feff}]+|['"]+$"""
FRACTION = r"^(\d+)\.0*$"
THOUSANDS = r"^\d{1,3}(,\d{3})+$"
ROUNDED = r"^\d([.,]\d+)?[eE]\+\d+$"  # 1.23E+08 has lost its last digits


def tidy(column: str) -> pl.Expr:
    """Return a column of ids without what never tells two apart.

    >>> pl.DataFrame({"id": ["1.0", "'007'", "1,234", "A1"]}).select(tidy("id"))["id"].to_list()
    ['1', '007', '1234', 'A1']
    """
    bare = pl.col(column).str.replace_all(AROUND, "").str.strip_chars().str.replace(FRACTION, "$1")
    whole = pl.when(bare.str.contains(THOUSANDS)).then(bare.str.replace_all(",", "", literal=True)).otherwise(bare)
    return pl.when(whole != "").then(whole).alias(column)


def meet(theirs: pl.Series, ours: pl.Series) -> pl.DataFrame:
    """Return columns theirs and ours of the ids that mean the same; `exact` says whether they are spelled the same.

    >>> meet(pl.Series(["1", "B", "x"]), pl.Series(["001", "b", "y"])).rows()
    [('1', '001', False), ('B', 'b', False)]
    """
    theirs, ours = (each.cast(pl.String).drop_nulls().unique().sort() for each in (theirs, ours))
    exact = theirs.filter(theirs.is_in(ours.implode()))
    rest = _once(theirs.filter(~theirs.is_in(ours.implode())), "theirs")
    alike = rest.join(_once(ours, "ours"), on="key").filter(~pl.col("ours").is_in(exact.implode()))
    same = exact.to_frame("theirs").select("theirs", ours="theirs", exact=pl.lit(True))
    return pl.concat([same, alike.select("theirs", "ours", exact=pl.lit(False))])


def _once(ids: pl.Series, name: str) -> pl.DataFrame:
    """Return the ids but for those that nearly another one of the file is, each with a key that both files share."""
    frame = ids.to_frame(name).with_columns(key=pl.col(name).str.to_lowercase().str.replace(r"^0+(.)", "$1"))
    return frame.filter(~pl.col("key").is_duplicated())


def num_rounded(ids: pl.Series) -> int:
    """Count the ids that are written with an exponent, and so have lost digits."""
    return int(ids.str.contains(ROUNDED).sum())


def shape_of(ids: pl.Series) -> str:
    """Return how most of the ids are written: 9 for a digit, a for a letter.

    >>> shape_of(pl.Series(["S-17", "S-18", "x"]))
    'a-99'
    """
    shapes = ids.drop_nulls().head(1000).map_elements(_shape, return_dtype=pl.String)
    return str(shapes.mode().sort()[0]) if len(shapes) else "nothing"


def _shape(text: str) -> str:
    return re.sub(r"[^\W\d_]", "a", re.sub(r"\d", "9", text))[:20]
