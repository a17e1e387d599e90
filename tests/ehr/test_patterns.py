"""Every example row of the README's table of codes is read, and nothing of it is lost."""

import re
from pathlib import Path

from ckd_dist.ehr.codemap import load_code_map
from ckd_dist.ehr.extract import extract
from ckd_dist.ehr.labelset import load_label_set
from tests.ehr.test_meds import codes_of, held_out, write_meds

README = (Path(__file__).parents[2] / "ckd_dist" / "ehr" / "README.md").read_text()
DEADLY_VISIT = (5, "2100-03-01 08:00", "HOSPITAL_ADMISSION//EMERGENCY", 12)  # the last examples' own


def test_every_example_is_read(tmp_path: Path):
    examples = re.findall(r"^\| `[^`]+` \| `([^,]*), ([^,]+), ([^,`]*)` \|", README, re.M)
    assert len(examples) == sum(line.startswith("| `") for line in README.splitlines()) > 15
    rows = [(5, time or None, code, int(visit) if visit else None) for time, code, visit in examples]
    meds = write_meds(tmp_path / "meds", [*rows[:-2], DEADLY_VISIT, *rows[-2:]])
    report = extract(f"meds:{meds}", tmp_path / "events", held_out, 1.0)
    assert report["tables"]["data"]["skipped"] == {}
    bare = {code.replace(".", "") for _, code, _ in examples}
    assert {code for code, _ in codes_of(tmp_path / "events", "held_out")} == bare


def test_the_readme_s_own_files_are_read(tmp_path: Path):
    blocks = [
        "\n".join(line[4:] for line in block.splitlines()) for block in README.split("\n\n") if block[:4] == "    "
    ]
    code_map, labels = (block.replace("code,event_code ", "code,event_code #", 1) for block in blocks)
    (tmp_path / "map.csv").write_text("\n".join(line.partition("#")[0].strip() for line in code_map.splitlines()))
    assert len(load_code_map(str(tmp_path / "map.csv")).entries) == 3
    (tmp_path / "labels.yaml").write_text(labels)
    assert load_label_set(str(tmp_path / "labels.yaml")).names == ("Heart failure", "Asthma", "Shock")
