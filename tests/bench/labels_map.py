"""The map of labels: how many labelled patients, whose teacher, and how many unlabelled visits make distilling pay.

    python -m tests.bench.labels_map --run DIR [--small] [field=value ...]

DIR/elsewhere    a teacher of another synthetic hospital of 20,000 subjects
DIR/map          a hospital of 8,000 (about 13,000 training visits): 100, 300, 1,000 and 3,000 labelled patients, taught
                 by the exact law, by the teacher from elsewhere, and by a teacher of the same labels; each on labelled
                 visits alone and on all; three seeds
DIR/privileged   another teacher from elsewhere that reads the visit before, which the student does not
DIR/map_300      that teacher's students, and those of a cross-fitted teacher of the same labels, at 300 alone

Each is a run of the product, and is not done again where it is whole; field=value changes DIR/map and DIR/map_300.
--small: sizes that only show that it runs, in one process.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from launch.run import main

HISTORY = ['prompt.teacher_only=["history"]']
AT_300 = ("distilled", "hard", "own_crossfit", "logistic", "trees", "teacher", "oracle")
FULL = {"elsewhere": ["extract.source=synthetic:20000", "teacher.labels.epochs=1.2"], "map": [], "budget": 300}
TINY = ["select.absent_labels=allow", "teacher.tiny.hidden=32", "student.tiny.hidden=32"]
SMALL = {
    "elsewhere": ["--local", "extract.source=synthetic:300", "teacher.labels.epochs=0.5", *TINY],
    "map": [
        *("--local", "extract.source=synthetic:300", "experiments.budgets=[20,40]", "experiments.seeds=1"),
        *("student.optim.epochs=0.5", "evaluate.bootstrap_draws=100", *TINY),
    ],
    "budget": 40,
}


def go(*arguments: str) -> None:
    """Run a command of the product; end with its code where it fails."""
    if code := main(list(arguments)):
        sys.exit(code)


def teach(run: Path, *changes: str) -> None:
    """Train a teacher elsewhere."""
    go("pipeline", "--recipe", "elsewhere", "--run", str(run), "--until", "train_teacher", *changes)


def compare(run: Path, teacher: Path, *changes: str) -> None:
    """Compare students at the hospital that has few labels, and show what came out."""
    go("pipeline", "--recipe", "labels_map", "--run", str(run), f"label.from_run={teacher}", *changes)
    go("compare", str(run))


def draw(folder: Path, sizes: dict, changes: Sequence[str]) -> None:
    """Train both teachers and compare their students."""
    teach(folder / "elsewhere", *sizes["elsewhere"])
    compare(folder / "map", folder / "elsewhere", *sizes["map"], *changes)
    teach(folder / "privileged", *sizes["elsewhere"], *HISTORY)
    alone = [f"experiments.budgets=[{sizes['budget']}]", f"experiments.variants={json.dumps(AT_300)}"]
    compare(folder / "map_300", folder / "privileged", *sizes["map"], *HISTORY, *changes, *alone)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("overrides", nargs="*", metavar="field=value")
    asked = parser.parse_intermixed_args()
    draw(asked.run.absolute(), SMALL if asked.small else FULL, asked.overrides)
