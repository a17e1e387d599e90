"""A long training under a seeded, random schedule of faults of every kind, over two nodes of a Ray cluster.

    python -m tests.bench.soak --minutes 60 [--seed 0] [--table FILE]

Prints a line a fault, and at the end whether the training ended with the weights of one that nothing disturbed, and
whether every row was read once in every epoch.  Steps are slowed so that they fill the time; those of the undisturbed
training, which runs beside it, are not.
"""

import argparse
import datetime
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from ckd_dist.record import verify
from ckd_dist.studies.disease.runfolder import DiseaseRun
from tests.bench.faults import table_of
from tests.launch import fault_kinds as kinds
from tests.launch.fault_nodes import two_nodes
from tests.launch.fault_points import notes
from tests.launch.fault_runs import FROZEN_SECONDS, Disturbed, Recovery, Row, adapter, copied, disturbed, prompted

STAGE, NO_SAVES = "train_teacher", ("teacher.labels.save_every=0",)
PACE = 0.5  # seconds a step
STEPS_PER_EPOCH = 14  # of the 210 rows of `prompted`
PATIENCE = {"RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": str(FROZEN_SECONDS)}


@dataclass(frozen=True)
class Survived:
    """A fault of the soak, and what it cost."""

    minute: float
    fault: kinds.Fault
    recovery: Recovery


def main() -> int:
    """Run the soak; return 0 where all that is promised holds."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60, help="of faults")
    parser.add_argument("--seed", type=int, default=0, help="of kinds and gaps")
    parser.add_argument("--table", type=Path, help="file that takes the table")
    asked = parser.parse_args()
    random.seed(asked.seed)
    with tempfile.TemporaryDirectory() as folder:
        epochs = round(0.9 * asked.minutes * 60 / PACE / STEPS_PER_EPOCH)  # faults take time, too
        ready = prompted(Path(folder, "ready"), epochs)
        with disturbed(copied(ready, Path(folder, "calm")), STAGE, overrides=NO_SAVES) as undisturbed:
            lines = soak(copied(ready, Path(folder, "run")), undisturbed, asked.minutes)
    if asked.table:
        asked.table.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    return 0


def soak(run: DiseaseRun, undisturbed: Disturbed, minutes: float) -> list[str]:
    """Train under faults; return the lines of the table.  Raises AssertionError where a promise is broken."""
    notes(run).mkdir()
    (pace := notes(run) / "pace").write_text(str(PACE))
    begun, survived = time.monotonic(), []
    with two_nodes() as nodes, disturbed(run, STAGE, nodes.environment | PATIENCE) as training:
        for gap, fault in schedule(minutes, losing_a_node(nodes)):
            rest(training, gap)
            training.wait_for_save()
            minute = (time.monotonic() - begun) / 60
            survived.append(Survived(minute, fault, kinds.suffer(training, fault)))
            print(line_of(survived[-1]), flush=True)
        pace.unlink()
        training.wait_for_exit(0, seconds=7200)
        undisturbed.wait_for_exit(0, seconds=7200)
        assert adapter(run) == adapter(undisturbed.run), "other weights than without a fault"
        training.assert_rows_once()
        assert verify(run) == []
    return lines_of(survived, (time.monotonic() - begun) / 60)


def schedule(minutes: float, lost: kinds.Fault) -> list[tuple[float, kinds.Fault]]:
    """Return every kind of fault once, in random order, each after a gap of seconds; together about `minutes`."""
    faults = [*kinds.RANK_FAULTS, *kinds.STOPS, *kinds.DAMAGES, lost]
    random.shuffle(faults)
    each = 60 * minutes / len(faults)
    return [(random.uniform(0.5, 1.1) * each, fault) for fault in faults]


def losing_a_node(nodes) -> kinds.Fault:
    """Return the fault that takes the node of a rank away, and lets another one join."""

    def strike(training: Disturbed) -> float:
        moment = nodes.lose(training.pid_of(random.choice((0, 1))))
        nodes.add()
        return moment

    return kinds.Fault("SIGKILL of a node's raylet; another node joins", kinds.WHILE, strike)


def rest(training: Disturbed, seconds: float) -> None:
    """Let the training go on for a while."""
    until = time.monotonic() + seconds
    training.wait_until(lambda: time.monotonic() > until, seconds=seconds + 60, every=1)


def line_of(each: Survived) -> str:
    """Put a fault in a line, for whoever watches."""
    row = kinds.row_of(each.fault, each.recovery, equal=True)
    return f"{each.minute:6.1f} min  {row.fault}, {row.when}: {row.lost} lost, next step after {row.recovered}"


def lines_of(survived: list[Survived], took: float) -> list[str]:
    """Return the table of a soak that ended well."""
    rows = []
    for each in survived:
        row = kinds.row_of(each.fault, each.recovery, equal=True)
        rows.append(Row(row.fault, f"{each.minute:.1f} min: {row.when}", row.lost, row.recovered, row.weights))
    lost, down = sum(each.recovery.lost for each in survived), sum(each.recovery.seconds for each in survived)
    said = (
        f"{datetime.date.today()}: {len(survived)} faults, one of each kind, in {took:.0f} minutes; "
        f"{lost} steps made again, {down / 60:.1f} minutes without steps.  The final weights are, to the bit, those of "
        "a training that nothing disturbed; every row was read once in every epoch, in the union of committed steps."
    )
    return [said, "", *table_of(rows)]


if __name__ == "__main__":
    sys.exit(main())
