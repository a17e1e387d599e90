"""Read the study's own form of data: which findings are present, which absent, which nobody looked for.

    cases.csv     case_id, subject_id (else a case is a person), site, outcome:<name> 0 or 1 ..., oracle:<name>, split
    findings.csv  case_id, concept, state: present or absent; missing is a finding without a row
    concepts.csv  concept, system, text

Files may be .csv or .csv.gz, of any case.  An absent finding says "Not <text>" (Gao et al. 2024).  Missing findings may
be read as absent, those of the site's list: what anybody there has a row of.  They come before a case's own rows, so
that `max_concepts` takes them away first.  Where a case has a finding both present and absent, it is present.
"""

import hashlib
from pathlib import Path

import polars as pl

from ckd_dist.ehr import criteria
from ckd_dist.ehr.flow import Flow
from ckd_dist.schema import SPLITS, check_columns
from ckd_dist.studies.concepts.cases.built import Built
from ckd_dist.studies.concepts.cases.concepts import MEANINGS, gather
from ckd_dist.studies.concepts.cases.options import CaseOptions
from ckd_dist.studies.concepts.cases.table import CASES

STATES = ("present", "absent")
OUTCOME = "outcome:"
ORACLE = "oracle:"


def read_findings(folder: Path, options: CaseOptions, *, name: str | None = None) -> Built:
    """Read the three files of `folder`.  name: what to call the site, instead of column `site`.

    Raises ValueError where a file or column is missing, a case or concept is double, a concept is not in concepts.csv,
    or a state, outcome, oracle or split is none; it says how many.  Rows of unknown cases are counted.
    """
    cases_path, findings_path, concepts_path = (_find(folder, each) for each in ("cases", "findings", "concepts"))
    cases, outcomes, flow = _cases(cases_path, name)
    concepts = _concepts(concepts_path)
    stated, counts = _findings(findings_path, cases, concepts)
    if options.missing == "absent":
        unlooked = _unlooked(stated, cases)
        stated, counts = pl.concat([unlooked, stated]), counts | {"missing findings, taken as absent": len(unlooked)}
    rows = stated.select("case", key=pl.col("number") + pl.col("absent").cast(pl.Int64) * len(concepts))
    lists, table, num_cut = gather(len(cases), rows, _meanings(concepts), options.max_concepts)
    notes = counts | {"findings beyond max_concepts, left out": num_cut}
    cases = check_columns(cases.with_columns(lists), CASES, "cases")
    return Built(cases, table, outcomes, Flow(flow.rows, notes), f"findings:{folder.resolve()}")


# --- files -----------------------------------------------------------------------------------------------------------


def _find(folder: Path, name: str) -> Path:
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}: give the folder that holds cases, findings and concepts .csv")
    found = [path for path in sorted(folder.iterdir()) if path.name.lower() in (f"{name}.csv", f"{name}.csv.gz")]
    if len(found) != 1:
        what = " and ".join(path.name for path in found) or f"neither {name}.csv nor {name}.csv.gz"
        raise ValueError(f"{folder} holds {what}: there must be one")
    return found[0]


def _read(path: Path, needed: tuple[str, ...]) -> pl.DataFrame:
    """Read all columns as text, stripped, null where empty; what is before a colon of a column's name in lower case."""
    try:
        frame = pl.read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as error:  # messages may quote a row: none is passed on
        raise ValueError(f"{path} cannot be read as CSV ({type(error).__name__}): write it anew") from None
    kinds = [name.strip().partition(":") for name in frame.columns]
    frame.columns = [kind.lower() + colon + rest for kind, colon, rest in kinds]
    if missing := [column for column in needed if column not in frame.columns]:
        raise ValueError(f"{path}: column {', '.join(missing)} is missing from its first line")
    text = pl.all().str.strip_chars()
    return frame.select(pl.when(text != "").then(text).name.keep())


def _refuse(path: Path, frame: pl.DataFrame, wrong: pl.Expr, what: str) -> None:
    """Raise ValueError where `wrong` holds for any row, saying for how many."""
    if num := int(frame.select(wrong.fill_null(True).sum()).item()):
        raise ValueError(f"{path}: {num} of {len(frame)} rows have {what}")


# --- cases -----------------------------------------------------------------------------------------------------------


def _cases(path: Path, name: str | None) -> tuple[pl.DataFrame, tuple[str, ...], Flow]:
    """Return CASES but for the concepts, with the file's own id in column `own`."""
    frame = _read(path, ("case_id",) if name is not None else ("case_id", "site"))
    _refuse(path, frame, pl.col("case_id").is_null(), "no case_id")
    _refuse(path, frame, pl.col("case_id").is_duplicated(), "a case_id that is not theirs alone")
    outcomes = tuple(column.removeprefix(OUTCOME) for column in frame.columns if column.startswith(OUTCOME))
    if not outcomes:
        raise ValueError(f"{path}: no column is named {OUTCOME}NAME: a case needs an outcome")
    found = pl.DataFrame(
        {
            "own": frame["case_id"],
            "subject_id": _numbers(path, frame["subject_id" if "subject_id" in frame.columns else "case_id"]),
            "site": pl.Series([name] * len(frame), dtype=pl.String) if name is not None else frame["site"],
            "split": _splits(path, frame),
            "outcomes": _outcomes(path, frame, outcomes),
            "oracle": _oracle(path, frame, outcomes),
        }
    )
    known = pl.col("outcomes").list.eval(pl.element().is_not_null()).list.all()
    kept, flow = criteria.apply(
        found, "cases", [("no site named", pl.col("site").is_not_null()), ("an outcome is not known", known)]
    )
    return kept.with_columns(case_id=pl.int_range(len(kept), dtype=pl.Int64)), outcomes, flow


def _outcomes(path: Path, frame: pl.DataFrame, outcomes: tuple[str, ...]) -> pl.Series:
    """Return K bits, null where not known."""
    columns = [OUTCOME + outcome for outcome in outcomes]
    wrong = pl.any_horizontal(~pl.col(column).fill_null("0").is_in(["0", "1"]) for column in columns)
    _refuse(path, frame, wrong, "an outcome that is neither 0 nor 1")
    return frame.select(outcomes=pl.concat_list(pl.col(column).cast(pl.Int8) for column in columns))["outcomes"]


def _oracle(path: Path, frame: pl.DataFrame, outcomes: tuple[str, ...]) -> pl.Series:
    """Return K exact probabilities, or null where the file has none."""
    there = {column.removeprefix(ORACLE) for column in frame.columns if column.startswith(ORACLE)}
    if not there:
        return pl.Series([None] * len(frame), dtype=CASES["oracle"])
    if there != set(outcomes):
        raise ValueError(f"{path}: columns {ORACLE}NAME must be there for every outcome, or for none")
    numbers = frame.select(pl.col(ORACLE + outcome).cast(pl.Float32, strict=False) for outcome in outcomes)
    _refuse(path, numbers, ~pl.all_horizontal(pl.all().is_between(0, 1)), "an oracle that is no probability")
    return numbers.select(oracle=pl.concat_list(pl.all()))["oracle"]


def _splits(path: Path, frame: pl.DataFrame) -> pl.Series:
    """Return the file's own splits, null where it names none."""
    if "split" not in frame.columns:
        return pl.Series([None] * len(frame), dtype=pl.String)
    _refuse(
        path,
        frame,
        ~pl.col("split").fill_null(SPLITS[0]).is_in(SPLITS),
        f"a split that is none of {SPLITS}",
    )
    return frame["split"]


def _numbers(path: Path, persons: pl.Series) -> pl.Series:
    """Number the persons: their own where all are whole numbers, else a hash of the text, whoever else is there."""
    _refuse(path, persons.to_frame("person"), pl.col("person").is_null(), "no subject_id")
    numbers = persons.cast(pl.Int64, strict=False)
    if numbers.null_count():
        hashes = [int.from_bytes(hashlib.sha256(person.encode()).digest()[:8], "big") >> 1 for person in persons]
        numbers = pl.Series(hashes, dtype=pl.Int64)
    if numbers.n_unique() != persons.n_unique():
        raise ValueError(f"{path}: two subjects cannot be told apart by number: write each in one way")
    return numbers


# --- concepts and findings -------------------------------------------------------------------------------------------


def _concepts(path: Path) -> pl.DataFrame:
    """Return columns concept, system, text and number; concepts of one phrase have one number."""
    frame = _read(path, ("concept", "system", "text"))
    _refuse(path, frame, pl.any_horizontal(pl.col("concept", "system", "text").is_null()), "no concept, system or text")
    _refuse(path, frame, pl.col("concept").is_duplicated(), "a concept that is not theirs alone")
    number = pl.col("row").min().over("system", "text").cast(pl.Int64)
    return frame.with_row_index("row").select("concept", "system", "text", number=number)


def _meanings(concepts: pl.DataFrame) -> pl.DataFrame:
    """Return what keys mean: a concept's number, and after all numbers each one's absence."""
    present = concepts.unique("number", maintain_order=True).select(
        pl.col("number").alias("key"), "system", "text", pl.col("concept").alias("code"), pl.lit(False).alias("absent")
    )
    absent = present.with_columns(
        key=pl.col("key") + len(concepts), text=pl.format("Not {}", "text"), absent=pl.lit(True)
    )
    return check_columns(pl.concat([present, absent]), MEANINGS, "meanings")


def _findings(path: Path, cases: pl.DataFrame, concepts: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    """Return columns case, number and absent, once each, in the file's order; and counts of the rows left out."""
    frame = _read(path, ("case_id", "concept", "state")).with_columns(pl.col("state").str.to_lowercase())
    _refuse(path, frame, ~pl.col("state").is_in(STATES), f"a state that is none of {STATES}; missing is no row")
    numbered = frame.join(concepts, on="concept", how="left", maintain_order="left")
    _refuse(path, numbered, pl.col("number").is_null(), "a concept that concepts.csv does not have")
    stated = numbered.join(
        cases.select(case="case_id", case_id="own"), on="case_id", how="inner", maintain_order="left"
    ).select("case", "number", absent=pl.col("state") == "absent")
    once = stated.unique(maintain_order=True)
    clear = once.filter(~pl.col("absent") | (pl.len().over("case", "number") == 1))
    return clear, {
        "findings of a case that is left out or unknown": len(numbered) - len(stated),
        "findings said twice": len(stated) - len(once),
        "findings both present and absent, taken as present": len(once) - len(clear),
    }


def _unlooked(stated: pl.DataFrame, cases: pl.DataFrame) -> pl.DataFrame:
    """Return columns case, number and absent: what a case has no row of, while some case of its site has one."""
    sites = cases.select("site", case="case_id")
    lists = stated.join(sites, on="case").select("site", "number").unique().sort("site", "number")
    missing = sites.join(lists, on="site", maintain_order="left_right").join(
        stated, on=("case", "number"), how="anti", maintain_order="left"
    )
    return missing.select("case", "number", absent=pl.lit(True))
