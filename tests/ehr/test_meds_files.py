"""Files, columns, ids and metadata as tools write them: read where there is one reading, else one sentence."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ckd_dist.ehr.events import read_codes, read_events
from ckd_dist.ehr.extract import extract
from ckd_dist.ehr.kept import account_of
from ckd_dist.ehr.staging import Report
from ckd_dist.schema import EVENTS
from tests.ehr.small import all_train

NUM_SUBJECTS = 4


def clean() -> pl.DataFrame:
    """Two visits a subject; HADM is subject * 10 + visit."""
    rows = []
    for subject in range(1, NUM_SUBJECTS + 1):
        rows += [(subject, None, "GENDER//F", None), (subject, datetime(2050, 1, 1), "MEDS_BIRTH", None)]
        for visit in (1, 2):
            admitted, discharged = datetime(2100, visit, 1, 8), datetime(2100, visit, 5, 12)
            inside = [
                (admitted, "HOSPITAL_ADMISSION//EMERGENCY"),
                (admitted + timedelta(hours=2), "MEDICATION//aspirin"),
                (discharged, "DIAGNOSIS//ICD//9//4280"),
                (discharged, "PROCEDURE//ICD//9//3961"),
                (discharged, "HOSPITAL_DISCHARGE//HOME"),
            ]
            rows += [(subject, time, code, subject * 10 + visit) for time, code in inside]
    return pl.DataFrame(
        [(subject, time, code, None, hadm) for subject, time, code, hadm in rows], schema=EVENTS, orient="row"
    )


def write(folder: Path, shards: list[pl.DataFrame], **metadata: pa.Table | bytes) -> Path:
    """A data set of these shards; metadata: file name without .parquet -> its table, or its bytes."""
    (folder / "data").mkdir(parents=True)
    (folder / "metadata").mkdir()
    for k, shard in enumerate(shards):
        shard.write_parquet(folder / "data" / f"{k}.parquet")
    for name, table in metadata.items():
        path = folder / "metadata" / f"{name}.parquet"
        path.write_bytes(table) if isinstance(table, bytes) else pq.write_table(table, path)
    return folder


def read(folder: Path, out: Path) -> tuple[pl.DataFrame, Report]:
    report = extract(f"meds:{folder}", out, all_train, 1.0)
    return read_events(out, "train").collect(), report


def two_shards(change: Callable[[pl.DataFrame], pl.DataFrame]) -> list[pl.DataFrame]:
    """The second half of the subjects comes from another tool."""
    events, half = clean(), NUM_SUBJECTS // 2
    return [events.filter(pl.col("subject_id") <= half), change(events.filter(pl.col("subject_id") > half))]


NAMED = pl.col("hadm_id").is_not_null()
SECOND = pl.col("time") > datetime(2100, 2, 1)
DISCHARGE = pl.col("code").str.starts_with("HOSPITAL_DISCHARGE")
ADMISSION = pl.col("code").str.starts_with("HOSPITAL_ADMISSION")


def only_where(keep: pl.Expr) -> list[pl.DataFrame]:
    return [clean().with_columns(hadm_id=pl.when(keep.fill_null(False)).then("hadm_id"))]


# --- visits with names and without (field test F12) -------------------------------------------------------------------

VISITS = {
    "one shard without values": two_shards(lambda events: events.with_columns(hadm_id=pl.lit(None, pl.Int64))),
    "one shard without the column": two_shards(lambda events: events.drop("hadm_id")),
    "one shard with text": two_shards(lambda events: events.with_columns(pl.col("hadm_id").cast(pl.String))),
    "one shard with int32": two_shards(lambda events: events.with_columns(pl.col("hadm_id").cast(pl.Int32))),
    "no column": [clean().drop("hadm_id")],
    "a column of nulls": [clean().with_columns(hadm_id=pl.lit(None))],
    "a subject's second visit has no name": only_where(~SECOND),
    "only admissions": only_where(ADMISSION),
    "only discharges": only_where(DISCHARGE),
    "only diagnoses": only_where(pl.col("code").str.starts_with("DIAGNOSIS")),
    "the second discharge has no name": only_where(~(SECOND & DISCHARGE)),
    "the second admission has no name": only_where(~(SECOND & ADMISSION)),
    "floats": [clean().with_columns(pl.col("hadm_id").cast(pl.Float64))],
    "floats with NaN": [clean().with_columns(pl.col("hadm_id").cast(pl.Float64).fill_null(float("nan")))],
    "floats as text": [clean().with_columns(hadm_id=pl.when(NAMED).then(pl.format("{}.0", "hadm_id")))],
    "UUIDs": [clean().with_columns(hadm_id=pl.when(NAMED).then(pl.format("0e8f-{}-11ee", "hadm_id")))],
}


@pytest.mark.parametrize("case", VISITS)
def test_every_visit_is_found_whatever_names_it_has(case: str, tmp_path: Path):
    events, report = read(write(tmp_path / "meds", VISITS[case]), tmp_path / "events")
    assert events.drop("hadm_id").equals(clean().drop("hadm_id"))
    pairs = pl.DataFrame({"before": clean()["hadm_id"], "after": events["hadm_id"]}).unique().drop_nulls("before")
    assert pairs["before"].is_unique().all() and pairs["after"].is_unique().all(), "visits were mixed up"
    assert pairs["after"].null_count() == 0 and report["visits"] == 2 * NUM_SUBJECTS
    assert ("numbered in the order" in account_of(report).sentence()) == (case == "UUIDs")


def test_an_admission_whose_end_stands_in_a_column(tmp_path: Path):
    """meds_etl writes a visit of OMOP as one event, with `end` and `visit_id`; visits may lie within one another."""
    ends = pl.col("time").filter(DISCHARGE).first().over("subject_id", pl.col("time").dt.month())
    rows = clean().with_columns(end=pl.when(ADMISSION).then(ends)).filter(~DISCHARGE.fill_null(False))
    expected = clean().with_columns(pl.col("code").replace("HOSPITAL_DISCHARGE//HOME", "HOSPITAL_DISCHARGE//UNKNOWN"))
    folder = write(tmp_path / "meds", [rows.rename({"hadm_id": "visit_id"})])
    events, report = read(folder, tmp_path / "events")
    assert events.equals(expected)
    assert report["notes"]["discharges that a column of admissions says"] == 2 * NUM_SUBJECTS
    table = report["tables"]["data"]
    assert table["kept"] == table["rows"] + 2 * NUM_SUBJECTS and table["skipped"] == {}
    events, _ = read(write(tmp_path / "bare", [rows.drop("hadm_id")]), tmp_path / "again")
    assert events.drop("hadm_id").equals(expected.drop("hadm_id"))


# --- types of columns (field tests F11 and F15) -----------------------------------------------------------------------


def cast(column: str, dtype: pl.DataType | type[pl.DataType]) -> pl.DataFrame:
    return clean().with_columns(pl.col(column).cast(dtype))


AS_GOOD = {
    "subject int32": cast("subject_id", pl.Int32),
    "subject uint64": cast("subject_id", pl.UInt64),
    "subject text": cast("subject_id", pl.String),
    "subject double": cast("subject_id", pl.Float64),
    "subject float text": clean().with_columns(subject_id=pl.format("{}.0", "subject_id")),
    "code dictionary": cast("code", pl.Categorical),
    "code binary": cast("code", pl.Binary),
    "time ns": cast("time", pl.Datetime("ns")),
    "time text": clean().with_columns(pl.col("time").dt.to_string("%Y-%m-%dT%H:%M:%S")),
    "time with PM": clean().with_columns(pl.col("time").dt.to_string("%Y-%m-%d %I:%M:%S %p")),
    "time with p.m.": clean().with_columns(pl.col("time").dt.to_string("%F %I:%M %P").str.replace("m$", ".m.")),
    "time of SAS": clean().with_columns(pl.col("time").dt.to_string("%d%b%Y:%H:%M:%S")),
    "time with a zone's name": clean().with_columns(pl.col("time").dt.to_string("%F %T (EST)")),
    "time with a zone": clean().with_columns(pl.col("time").dt.replace_time_zone("UTC")),
    "no numeric_value": clean().drop("numeric_value"),
    "numeric_value of text": clean().with_columns(numeric_value=pl.lit("high")),
    "numeric_value of lists": clean().with_columns(numeric_value=pl.lit([1.0], pl.List(pl.Float64))),
    "names in capitals": clean().rename({"subject_id": "SUBJECT_ID", "code": "Code"}),
    "columns of the reader's own names": clean().with_columns(
        *(pl.lit("x").alias(name) for name in ("filename", "row", "kind", "said", "reason", "ours", "name", "id"))
    ),
}


@pytest.mark.parametrize("case", AS_GOOD)
def test_columns_of_other_types_say_the_same(case: str, tmp_path: Path):
    events, _ = read(write(tmp_path / "meds", [AS_GOOD[case]]), tmp_path / "events")
    assert events.equals(clean())


def long_ids(column: str) -> pl.DataFrame:
    return clean().with_columns(pl.col(column) + 20_000_000)


FRACTIONS = pl.col("hadm_id") + 0.5
REFUSED = {
    "column subject_id are no whole numbers": clean().with_columns(subject_id=pl.format("0e8f-{}", "subject_id")),
    "column subject_id is BOOLEAN": clean().with_columns(pl.col("subject_id") > 2),
    "column hadm_id holds numbers that are not whole": clean().with_columns(FRACTIONS),
    "too large for a DOUBLE to be exact": clean().with_columns(pl.col("hadm_id").cast(pl.Float64) * 1e17),
    "column code is BIGINT, and MEDS' codes are text": clean().with_columns(code=pl.lit(7, pl.Int64)),
    "column time is BIGINT, and holds no times": clean().with_columns(pl.col("time").dt.epoch("s")),
    "such as 99/99/9999 99:99 ": clean().with_columns(pl.col("time").dt.to_string("%m/%d/%Y %H:%M")),
    "such as 99 AAA 99 ": clean().with_columns(pl.col("time").dt.to_string("%d %b %y")),
    "such as 9999-99-99 99:99 AAAA ": clean().with_columns(pl.col("time").dt.to_string("%F %I:%M noon")),
    "column hadm_id .* too large for a FLOAT to be exact": long_ids("hadm_id").cast({"hadm_id": pl.Float32}),
    "column subject_id .* too large for a FLOAT to be exact": long_ids("subject_id").cast({"subject_id": pl.Float32}),
    "column hadm_id reads 9.99E.99": clean().with_columns(hadm_id=pl.lit("2.00E+07")),
    "column subject_id reads 9.99E.99": clean().with_columns(subject_id=pl.lit("2,0e+07")),
    "column subject_id is missing.* of MEDS before 0.3": clean().rename({"subject_id": "patient_id"}),
    "none of 8 events of kind admission can be used: 8 no time": clean().with_columns(time=pl.lit(None)),
    "rename its column file_row_number": clean().with_columns(file_row_number=pl.lit(1)),
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_a_column_that_cannot_be_read_is_named(sentence: str, tmp_path: Path):
    with pytest.raises(ValueError, match=sentence) as refusal:
        read(write(tmp_path / "meds", [REFUSED[sentence]]), tmp_path / "events")
    assert "0e8f" not in str(refusal.value) and "2100" not in str(refusal.value)
    assert not (tmp_path / "events").exists()


def test_ids_that_one_shard_has_as_short_floats_are_refused(tmp_path: Path):
    """One type stands for the columns of all shards: ids that a float of 32 bits rounded would pass as another's."""
    shards = [long_ids("hadm_id"), long_ids("hadm_id").with_columns(pl.col("subject_id") + 100)]
    for dtype in (pl.Int64, pl.Float64):
        other = shards[0].cast({"hadm_id": dtype})
        folder = write(tmp_path / str(dtype), [other, shards[1].cast({"hadm_id": pl.Float32})])
        with pytest.raises(ValueError, match=r"column hadm_id .* to be exact"):
            read(folder, tmp_path / "events")


def test_a_visit_written_in_two_ways_is_one(tmp_path: Path):
    """Beside names of letters, 11 and 11.0 are one visit."""
    name = pl.when(pl.col("subject_id") == 1).then(pl.format("V{}", "hadm_id"))
    name = name.when(pl.col("code").str.starts_with("DIAG")).then(pl.format("{}.0", "hadm_id"))
    rows = clean().with_columns(hadm_id=name.otherwise(pl.col("hadm_id").cast(pl.String)))
    events, _ = read(write(tmp_path / "meds", [rows]), tmp_path / "events")
    assert events.drop("hadm_id").equals(clean().drop("hadm_id"))


def test_a_few_times_that_cannot_be_read_are_said(tmp_path: Path):
    spoilt = pl.when(pl.col("code") == "PROCEDURE//ICD//9//3961").then(pl.lit("soon"))
    rows = clean().with_columns(time=spoilt.otherwise(pl.col("time").dt.to_string("%F %T")))
    _, report = read(write(tmp_path / "meds", [rows]), tmp_path / "events")
    assert report["tables"]["data"]["skipped"] == {"no time": 8}
    assert "8 cells of column time cannot be read, such as AAAA" in account_of(report).sentence()


# --- files (field test F15, ACES#161) ---------------------------------------------------------------------------------


def test_hidden_files_are_passed_over_and_said(tmp_path: Path):
    folder = write(tmp_path / "meds", [clean()])
    for name in (
        "._0.parquet",
        ".ipynb_checkpoints/0-checkpoint.parquet",
        "_temporary/0.parquet",
        "__MACOSX/0.parquet",
    ):
        path = folder / "data" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes((folder / "data" / "0.parquet").read_bytes() if "-" in name else b"\0\5\26\7")
    events, report = read(folder, tmp_path / "events")
    assert events.equals(clean())
    assert "4 hidden files passed over" in account_of(report).sentence()


def test_a_folder_whose_name_looks_like_a_pattern(tmp_path: Path):
    folder = write(tmp_path / "m[e]ds*", [clean()], codes=pa.table({"code": ["MEDICATION//aspirin"]}))
    assert read(folder, tmp_path / "events")[0].equals(clean())


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"not parquet at all" * 20])
@pytest.mark.parametrize("name", ["data/1.parquet", "metadata/codes.parquet", "metadata/subject_splits.parquet"])
def test_a_damaged_file_is_named(name: str, damage: bytes, tmp_path: Path):
    folder = write(tmp_path / "meds", [clean()])
    (folder / name).write_bytes(damage)
    with pytest.raises(ValueError, match=f"{name} cannot be read as MEDS: is it a whole parquet file"):
        read(folder, tmp_path / "events")


def test_a_file_damaged_within_is_named(tmp_path: Path):
    folder = write(tmp_path / "meds", two_shards(lambda events: events))
    file = folder / "data" / "1.parquet"
    content = bytearray(file.read_bytes())
    content[4:400] = b"\xff" * 396
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"data/1\.parquet cannot be read as MEDS"):
        read(folder, tmp_path / "events")


# --- metadata (field test F9) -----------------------------------------------------------------------------------------

CODES = ["DIAGNOSIS//ICD//9//4280", "MEDICATION//aspirin"]
WITHOUT = "Heart failure, unspecified"
DESCRIPTIONS = {
    "absent": (pa.table({"code": CODES}), None),
    "null": (pa.table({"code": CODES, "description": pa.nulls(2)}), None),
    "null text": (pa.table({"code": CODES, "description": pa.nulls(2, pa.string())}), None),
    "no rows": (pa.table({"code": pa.array([], pa.string()), "description": pa.array([], pa.string())}), None),
    "blank": (pa.table({"code": CODES, "description": ["", " "]}), None),
    "numbers as codes": (pa.table({"code": [1, 2], "description": ["x", "y"]}), None),
    "large text": (
        pa.table({"code": CODES, "description": pa.array(["Failing heart", "x"], pa.large_string())}),
        "Failing heart",
    ),
    "dictionaries": (
        pa.table(
            {"code": pa.array(CODES).dictionary_encode(), "description": pa.array(["F h", "x"]).dictionary_encode()}
        ),
        "F h",
    ),
    "lists": (pa.table({"code": CODES, "description": [["Failing", "heart"], ["x"]]}), "Failing; heart"),
    "other parents": (
        pa.table({"code": CODES, "description": ["F h", "x"], "parent_codes": [1, 2], "unit": ["", ""]}),
        "F h",
    ),
    "twice": (pa.table({"code": CODES * 2, "description": ["F h", "x", "G h", "y"]}), "F h"),
}


@pytest.mark.parametrize("case", DESCRIPTIONS)
def test_descriptions_of_codes_are_optional(case: str, tmp_path: Path):
    """F9: `meds.CodeMetadataSchema` does not ask for a description."""
    table, described = DESCRIPTIONS[case]
    events, _ = read(write(tmp_path / "meds", [clean()], codes=table), tmp_path / "events")
    assert events.equals(clean())
    titles = dict(read_codes(tmp_path / "events").rows())
    read(write(tmp_path / "bare", [clean()]), tmp_path / "again")
    plain = dict(read_codes(tmp_path / "again").rows())
    assert titles["DIAGNOSIS//ICD//9//4280"] == (described or plain["DIAGNOSIS//ICD//9//4280"])


def splits(words: list[object], ids: object = None, name: str = "split") -> pa.Table:
    return pa.table({"subject_id": ids if ids is not None else list(range(1, len(words) + 1)), name: words})


FOUR = ["train", "train", "tuning", "held_out"]
GOOD_SPLITS = {
    "MEDS": splits(FOUR),
    "other words": splits(["Train", "TRAINING", "validation", "test"]),
    "text ids": splits(FOUR, ["1", "2", "3", "4"]),
    "double ids": splits(FOUR, [1.0, 2.0, 3.0, 4.0]),
    "dictionary": pa.table({"subject_id": [1, 2, 3, 4], "split": pa.array(FOUR).dictionary_encode()}),
    "subjects that the data lack": splits([*FOUR, "train"]),
    "a row twice": splits([*FOUR, "held_out"], [1, 2, 3, 4, 4]),
}


@pytest.mark.parametrize("case", GOOD_SPLITS)
def test_splits_that_say_one_thing_are_used(case: str, tmp_path: Path):
    _, report = read(write(tmp_path / "meds", [clean()], subject_splits=GOOD_SPLITS[case]), tmp_path / "events")
    assert report["subjects"] == {"train": 2, "tuning": 1, "held_out": 1}


BAD_SPLITS = {
    "column split is missing.* found subject_id, fold": splits(FOUR, name="fold"),
    "column subject_id is missing": pa.table({"split": FOUR}),
    "1 of 4 splits have other names than train, tuning, held_out": splits(["train", "tuning", "test", "excluded"]),
    "1 subjects of the data have no split": splits([*FOUR[:3], None]),
    "2 subjects of the data have no split": splits(FOUR[:2]),
    "4 subjects of the data have no split": splits([], pa.array([], pa.int64())),
    "1 subjects are in two splits": splits([*FOUR, "train"], [1, 2, 3, 4, 4]),
    "4 cells of column subject_id are no whole numbers": splits(FOUR, ["a-1", "a-2", "a-3", "a-4"]),
}


@pytest.mark.parametrize("sentence", BAD_SPLITS)
def test_splits_that_say_two_things_are_refused(sentence: str, tmp_path: Path):
    with pytest.raises(ValueError, match=f"subject_splits.parquet: {sentence}"):
        read(write(tmp_path / "meds", [clean()], subject_splits=BAD_SPLITS[sentence]), tmp_path / "events")


@pytest.mark.parametrize("words", [["a", "b", "a", "b"], [0, 1, 2, 3]])
def test_splits_of_names_that_meds_has_not_are_said(words: list[object], tmp_path: Path):
    _, report = read(write(tmp_path / "meds", [clean()], subject_splits=splits(words)), tmp_path / "events")
    assert "subjects are split anew" in account_of(report).sentence()


def test_dataset_json_is_not_needed(tmp_path: Path):
    folder = write(tmp_path / "meds", [clean()])
    (folder / "metadata" / "dataset.json").write_text("{not json")
    assert read(folder, tmp_path / "events")[0].equals(clean())
