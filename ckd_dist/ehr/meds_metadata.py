"""metadata/ of a MEDS data set: its own splits and its descriptions of codes.  Both files may be missing."""

from pathlib import Path

import duckdb

from ckd_dist.ehr.meds_columns import Columns, check_rounded, check_whole, columns_of, count_bad, literal, with_bounds
from ckd_dist.ehr.staging import Connection, Report, number
from ckd_dist.mistakes import raise_fault
from ckd_dist.schema import SPLITS

SPLIT_WORDS = {  # what tools say for MEDS' three words, in any case
    "train": ("train", "training"),
    "tuning": ("tuning", "tune", "val", "valid", "validation", "dev"),
    "held_out": ("held_out", "held-out", "heldout", "held out", "test", "testing"),
}
SPLIT_OF = {word: split for split, words in SPLIT_WORDS.items() for word in words}


def load_splits(con: Connection, path: Path, report: Report) -> None:
    """Make table `given_splits` where the source splits its subjects as MEDS names it.

    Raises ValueError where the file is damaged, a subject is in two splits or in none, or only some splits have names
    of MEDS; where none has, they are not used, which a remark says.
    """
    if not path.is_file():
        return
    columns = _open(con, "splits_file", path, ("subject_id", "split"))
    columns = with_bounds(columns, [path])
    check_rounded(con, "splits_file", columns, "subject_id")
    whole = columns.id_of("subject_id")
    if num_bad := count_bad(con, "splits_file", columns.is_given("subject_id"), whole):
        raise ValueError(f"{path}: {num_bad:,} cells of column subject_id are no whole numbers; MEDS has no other ids")
    con.execute(f"""CREATE TABLE named AS SELECT DISTINCT {whole} AS subject_id, trim(split::VARCHAR) AS word
        FROM splits_file WHERE subject_id IS NOT NULL AND nullif(trim(split::VARCHAR), '') IS NOT NULL""")
    if num_twice := number(con, "SELECT count(*) - count(DISTINCT subject_id) FROM named"):
        raise ValueError(f"{path}: {num_twice} subjects are in two splits; name one split a subject")
    words = sorted(word for (word,) in con.execute("SELECT DISTINCT word FROM named").fetchall())
    others = [word for word in words if word.lower() not in SPLIT_OF]
    if words and others == words:
        report["notes"]["splits of other names than MEDS', not used"] = len(words)
        report["remarks"].append(
            f"subjects are split anew: {path.name} names {len(words)} splits, none of them {', '.join(SPLITS)}"
        )
        return
    if others:
        raise ValueError(
            f"{path}: {len(others)} of {len(words)} splits have other names than {', '.join(SPLITS)}: name them so, and"
            " leave the others' subjects out of the data; or remove the file, and subjects are split anew"
        )
    if num_missing := number(con, "SELECT count(DISTINCT subject_id) FROM events ANTI JOIN named USING (subject_id)"):
        raise ValueError(f"{path}: {num_missing} subjects of the data have no split; complete the file, or remove it")
    cases = " ".join(f"WHEN '{word}' THEN '{split}'" for word, split in SPLIT_OF.items())
    con.execute(f"CREATE TABLE given_splits AS SELECT subject_id, CASE lower(word) {cases} END AS split FROM named")


def load_titles(con: Connection, path: Path) -> None:
    """Take over the source's descriptions of the codes that were read, where it has any."""
    if not path.is_file():
        return
    columns = _open(con, "codes_file", path, ("code",))
    if not columns.has("description"):
        return
    kind = columns.types["description"]
    text = "array_to_string(description, '; ')" if kind.endswith("]") else "description::VARCHAR"
    con.execute(f"""INSERT INTO titles SELECT ours, min(title) FROM readings
        JOIN (SELECT code::VARCHAR AS said, nullif(trim({text}), '') AS title FROM codes_file) USING (said)
        WHERE title IS NOT NULL AND reason IS NULL GROUP BY ours""")


def _open(con: Connection, view: str, path: Path, asked: tuple[str, ...]) -> Columns:
    """Name a file of metadata in the database.  Raise ValueError where it is damaged or lacks a column."""
    cure = "Copy it anew, or remove it: the data are read without"
    check_whole(path, cure)
    try:
        con.execute(f"CREATE TABLE {view} AS FROM read_parquet(?)", [literal(path)])
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        raise_fault(error)
        raise ValueError(f"{path} cannot be read ({type(error).__name__}): is it whole? {cure}") from None
    return columns_of(con, view, path, asked)
