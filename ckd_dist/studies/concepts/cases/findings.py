"""Read the study's own form of data: which findings are present, which absent, which nobody looked for.

    cases.csv     case_id, subject_id (else a case is a person), site, outcome:<name> 0 or 1 ..., oracle:<name>, split
    findings.csv  case_id, concept, state: present or absent; missing is a finding without a row
    concepts.csv  concept, system, text

Files may be .csv or .csv.gz, of any case; sheet.py says in which forms, ids.py how the ids of two files meet.  An
absent finding says "Not <text>" (Gao et al. 2024).  Missing findings may be read as absent, those of the site's list:
what anybody there has a row of.  They come before a case's own rows, so that `max_concepts` takes them away first.
Where a case has a finding both present and absent, it is present.
"""

import hashlib
from pathlib import Path

import polars as pl

from ckd_dist.ehr import criteria
from ckd_dist.ehr.flow import Flow
from ckd_dist.schema import SPLITS, check_columns
from ckd_dist.studies.concepts.cases import ids
from ckd_dist.studies.concepts.cases.built import Built
from ckd_dist.studies.concepts.cases.concepts import MEANINGS, gather
from ckd_dist.studies.concepts.cases.options import CaseOptions
from ckd_dist.studies.concepts.cases.sheet import read_sheet
from ckd_dist.studies.concepts.cases.table import CASES

STATES = ("present", "absent")
BITS = dict.fromkeys(("0.0", "false", "no"), "0") | dict.fromkeys(("1.0", "true", "yes"), "1")
OUTCOME = "outcome:"
ORACLE = "oracle:"


def read_findings(folder: Path, options: CaseOptions, *, name: str | None = None) -> Built:
    """Read the three files of `folder`.  name: what to call the site, instead of column `site`.

    Raises ValueError where a file or column is missing, a case or concept is double, a concept is not in concepts.csv,
    a state, outcome, oracle or split is none, or fewer than half of the findings meet a case; it says how many.  Rows
    of unknown cases are counted.
    """
    cases_path, findings_path, concepts_path = (_find(folder, each) for each in ("cases", "findings", "concepts"))
    written, outcomes, sites = _cases(cases_path, name)
    cases, flow = _known(cases_path, written)
    concepts = _concepts(concepts_path)
    findings, lost, remarks = _meet(findings_path, _findings(findings_path), written, cases, concepts)
    stated, counts = _stated(findings)
    if options.missing == "absent":
        unlooked = _unlooked(stated, cases)
        stated, counts = pl.concat([unlooked, stated]), counts | {"missing findings, taken as absent": len(unlooked)}
    rows = stated.select("case", key=pl.col("number") + pl.col("absent").cast(pl.Int64) * len(concepts))
    lists, table, num_cut = gather(len(cases), rows, _meanings(concepts), options.max_concepts)
    lost |= {"findings beyond max_concepts": num_cut}
    counts |= {"cases without a finding": len(cases) - stated["case"].n_unique()}
    cases = check_columns(cases.with_columns(lists), CASES, "cases")
    source = f"findings:{folder.resolve()}"
    return Built(cases, table, outcomes, Flow(flow.rows, counts), source, lost, (*sites, *remarks))


# --- files -----------------------------------------------------------------------------------------------------------


def _find(folder: Path, name: str) -> Path:
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}: give the folder that holds cases, findings and concepts .csv")
    found = [path for path in sorted(folder.iterdir()) if path.name.lower() in (f"{name}.csv", f"{name}.csv.gz")]
    if len(found) != 1:
        what = " and ".join(path.name for path in found) or f"neither {name}.csv nor {name}.csv.gz"
        raise ValueError(f"{folder} holds {what}: there must be one")
    return found[0]


def _refuse(path: Path, frame: pl.DataFrame, wrong: pl.Expr, what: str) -> None:
    """Raise ValueError where `wrong` holds for any row, saying for how many."""
    if num := int(frame.select(wrong.fill_null(True).sum()).item()):
        raise ValueError(f"{path}: {num} of {len(frame)} rows have {what}")


# --- cases -----------------------------------------------------------------------------------------------------------


def _cases(path: Path, name: str | None) -> tuple[pl.DataFrame, tuple[str, ...], list[str]]:
    """Return CASES but for the concepts, with the file's own id in column `own`; outcomes; and what is to be known."""
    frame = read_sheet(path, ("case_id",) if name is not None else ("case_id", "site"))
    frame = _with_ids(path, frame, "case_id", "subject_id")
    _refuse(path, frame, pl.col("case_id").is_null(), "no case_id")
    _refuse(path, frame, pl.col("case_id").is_duplicated(), "a case_id that is not theirs alone")
    outcomes = tuple(column.removeprefix(OUTCOME) for column in frame.columns if column.startswith(OUTCOME))
    if not outcomes:
        raise ValueError(f"{path}: no column is named {OUTCOME}NAME: a case needs an outcome")
    sites, remarks = _sites(frame) if name is None else (pl.Series([name] * len(frame), dtype=pl.String), [])
    found = pl.DataFrame(
        {
            "own": frame["case_id"],
            "subject_id": _numbers(path, frame["subject_id" if "subject_id" in frame.columns else "case_id"]),
            "site": sites,
            "split": _splits(path, frame),
            "outcomes": _outcomes(path, frame, outcomes),
            "oracle": _oracle(path, frame, outcomes),
        }
    )
    return found, outcomes, remarks


def _known(path: Path, cases: pl.DataFrame) -> tuple[pl.DataFrame, Flow]:
    """Return the cases whose site and outcomes are known, numbered.  Raises ValueError where there is none."""
    known = pl.col("outcomes").list.eval(pl.element().is_not_null()).list.all()
    kept, flow = criteria.apply(
        cases, "cases", [("no site named", pl.col("site").is_not_null()), ("an outcome is not known", known)]
    )
    if len(kept) == 0:
        lost = ", ".join(f"{number:,}: {reason}" for reason, number, _ in flow.rows if number)
        raise ValueError(f"{path}: none of {len(cases):,} cases has a site and all outcomes ({lost or 'no row'})")
    return kept.with_columns(case_id=pl.int_range(len(kept), dtype=pl.Int64)), flow


def _with_ids(path: Path, frame: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """Return the frame with tidy ids.  Raises ValueError where a program has rounded some."""
    plain = pl.all().str.contains(r"^[\w-]+$").fill_null(False).all()  # nothing to tidy, as nearly always
    there = [column for column in columns if column in frame.columns]
    odd = [column for column in there if not frame.select(column).select(plain).item()]
    frame = frame.with_columns(ids.tidy(column) for column in odd)
    for column in odd:
        if num := ids.num_rounded(frame[column]):
            raise ValueError(
                f"{path}: {num} of {len(frame)} rows have a {column} with an exponent, such as 9.99E+09, so its last "
                "digits are lost: write the column anew, as text"
            )
    return frame


def _sites(frame: pl.DataFrame) -> tuple[pl.Series, list[str]]:
    """Return each case's site, spelled as most of its cases do; capitals tell no two sites apart."""
    frame = frame.select(ids.tidy("site"))
    key = pl.col("site").str.to_lowercase()
    spelled = (
        frame.group_by("site", maintain_order=True).len().drop_nulls().sort("len", "site", descending=[True, False])
    )
    best = spelled.group_by(key.alias("key"), maintain_order=True).agg(
        pl.col("site").first().alias("best"), num=pl.len()
    )
    found = frame.with_columns(key=key).join(best, on="key", how="left", maintain_order="left")["best"]
    several = best.filter(pl.col("num") > 1)["best"].to_list()
    return found.alias("site"), [f"site {site} is spelled in several ways, taken as one" for site in several]


def _outcomes(path: Path, frame: pl.DataFrame, outcomes: tuple[str, ...]) -> pl.Series:
    """Return K bits, null where not known."""
    columns = [OUTCOME + outcome for outcome in outcomes]
    frame = frame.with_columns(pl.col(column).str.to_lowercase().replace(BITS) for column in columns)
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
    frame = frame.with_columns(pl.col("split").str.to_lowercase().str.replace_all("[- ]", "_"))
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
    frame = _with_ids(path, read_sheet(path, ("concept", "system", "text")), "concept")
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


def _findings(path: Path) -> pl.DataFrame:
    """Return columns case_id, concept and state, in the file's order."""
    frame = _with_ids(path, read_sheet(path, ("case_id", "concept", "state")), "case_id", "concept")
    frame = frame.with_columns(pl.col("state").str.to_lowercase())
    _refuse(path, frame, ~pl.col("state").is_in(STATES), f"a state that is none of {STATES}; missing is no row")
    return frame.select("case_id", "concept", "state")


def _meet(
    path: Path, findings: pl.DataFrame, written: pl.DataFrame, cases: pl.DataFrame, concepts: pl.DataFrame
) -> tuple[pl.DataFrame, dict[str, int], list[str]]:
    """Return columns case, number and state of the findings that meet a case; what is lost; what is to be known.

    written: all cases of the file, kept or not.  Raises ValueError where a concept is unknown, and where fewer than
    half of the findings meet a case of the file, for then the files do not belong together or spell ids in two ways.
    """
    to_case = ids.meet(findings["case_id"], written["own"]).rename({"theirs": "case_id"})
    to_concept = ids.meet(findings["concept"], concepts["concept"]).rename({"theirs": "concept"})
    met = findings.join(to_concept, on="concept", how="left", maintain_order="left").rename({"ours": "theirs"})
    _refuse(path, met, pl.col("theirs").is_null(), f"a concept that {_strange(met, concepts)}")
    met = met.join(to_case, on="case_id", how="left", maintain_order="left", suffix="_case")
    num_unknown = met["ours"].null_count()
    if 2 * num_unknown > len(met):
        shapes = f"{ids.shape_of(findings['case_id'])} and {ids.shape_of(written['own'])}"
        raise ValueError(
            f"{path}: {num_unknown:,} of {len(met):,} findings name a case that the table of cases does not have: the "
            f"two files write case_id in two ways (mostly like {shapes}, 9 for a digit), or are of two data sets"
        )
    remarks = [
        f"{number:,} findings meet their {what} but for how it is spelled"
        for what, column in (("case", "exact_case"), ("concept", "exact"))
        if (number := int((~met[column].fill_null(True)).sum()))
    ]
    numbered = met.join(concepts.select("number", theirs="concept"), on="theirs", how="left", maintain_order="left")
    kept = numbered.join(cases.select("own", case="case_id"), left_on="ours", right_on="own", maintain_order="left")
    lost = {
        "findings of an unknown case": num_unknown,
        "findings of a case that is left out": len(met) - num_unknown - len(kept),
    }
    return kept.select("case", "number", "state"), lost, remarks


def _strange(met: pl.DataFrame, concepts: pl.DataFrame) -> str:
    """Say that concepts.csv lacks a concept, and in which shapes the two files write it where most are lacking."""
    strange = met.filter(pl.col("theirs").is_null())["concept"]
    if 2 * len(strange) <= len(met):
        return "concepts.csv does not have"
    shapes = f"{ids.shape_of(strange)} and {ids.shape_of(concepts['concept'])}"
    return (
        "concepts.csv does not have: the two files write concept in two ways (mostly like "
        f"{shapes}, 9 for a digit), or are of two data sets"
    )


def _stated(findings: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    """Return columns case, number and absent, once each, in the findings' order; and counts of what was said twice."""
    stated = findings.select("case", "number", absent=pl.col("state") == "absent")
    once = stated.unique(maintain_order=True)
    clear = once.filter(~pl.col("absent") | (pl.len().over("case", "number") == 1))
    return clear, {
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
