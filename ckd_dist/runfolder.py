"""The run folder: every stage reads and writes below it, through these names.

What every study has stands here; a study adds its own paths in a subclass.
"""

import json
from dataclasses import dataclass
from pathlib import Path

SHARDS = ("softlabels/*", "!softlabels/*/shard-?????.json")  # whose manifests say who made a shard, and when
LAYOUT = 2  # of the folder; counts up when an older folder can no longer be read


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run."""

    root: Path

    @property
    def recipe(self) -> Path:
        """The whole recipe, defaults included."""
        return self.root / "recipe.json"

    @property
    def tables(self) -> Path:
        """Tables or notes of the synthetic hospital, where the source is synthetic."""
        return self.root / "tables"

    def base(self, role: str) -> Path:
        """Return where a tiny base is made on the spot.  role: teacher, student or an embedding's name."""
        return self.root / "base" / role

    @property
    def teacher(self) -> Path:
        """The trained teacher and its checkpoints."""
        return self.root / "teacher"

    @property
    def softlabels(self) -> Path:
        """Plans of soft labels and their shards."""
        return self.root / "softlabels"

    @property
    def student(self) -> Path:
        """The distilled student and its checkpoints."""
        return self.root / "student"

    @property
    def hard_student(self) -> Path:
        """The same student trained on hard labels alone: a baseline of the report."""
        return self.root / "student_hard"

    @property
    def report(self) -> Path:
        """metrics.json, report.md and report.html."""
        return self.root / "report"

    def stage(self, name: str) -> Path:
        """Return the record that says that stage `name` is complete, and from what."""
        return self.root / "stages" / f"{name}.json"

    def progress(self, name: str) -> Path:
        """Return the numbers of a running stage, one JSON object a line."""
        return self.root / "progress" / f"{name}.jsonl"

    @property
    def tensorboard(self) -> Path:
        """Training curves."""
        return self.root / "tensorboard"

    def check_layout(self) -> None:
        """Raise ValueError where an earlier version of the program wrote this folder."""
        if not self.recipe.is_file():
            return
        try:
            layout = json.loads(self.recipe.read_text()).get("layout", 1)
        except (ValueError, AttributeError):
            raise ValueError(f"{self.recipe} is no recipe: put it back, or give another --run folder") from None
        if layout != LAYOUT:
            raise ValueError(
                f"{self.root} has the layout {layout} of another version of ckd_dist, this one reads and writes layout "
                f"{LAYOUT}: give another --run folder, or go on with the version that wrote it"
            )
