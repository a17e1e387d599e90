"""Run every test of faults, and print the table of what each fault cost: the one in launch/README.md.

python -m tests.bench.faults [words of pytest's -k]
"""

import datetime
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.data import ROOT
from tests.launch.fault_runs import TABLE, Row

TEST = "tests/launch/test_faults.py"


def main(chosen: list[str]) -> int:
    """Run the tests and print the table of those that passed; return pytest's exit code."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "rows.jsonl")
        file.touch()
        command = [sys.executable, "-m", "pytest", "-q", TEST, *(["-k", " ".join(chosen)] if chosen else [])]
        code = subprocess.run(command, cwd=ROOT, env=os.environ | {TABLE: str(file)}).returncode
        rows = [Row(**json.loads(line)) for line in file.read_text().splitlines()]
    print(f"\n{datetime.date.today()}, {len(os.sched_getaffinity(0))} cores, CPU, {len(rows)} rows\n")
    print("\n".join(table_of(rows)))
    return code


def table_of(rows: list[Row]) -> list[str]:
    """Return the lines of a table in Markdown."""
    head = ["| fault | when | lost | next step after, or how it ends | final weights |", "|---|---|---|---|---|"]
    return head + [f"| {' | '.join(vars(row).values())} |" for row in rows]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
