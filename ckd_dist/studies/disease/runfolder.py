"""Name the paths of the first study's run folder, beside those that every study has."""

import json
from dataclasses import dataclass
from pathlib import Path

from ckd_dist.runfolder import RunFolder
from ckd_dist.studies.disease.folds import folds_of

# Beside the weights of a student: temperatures and thresholds; how it reads; the treatments that its texts may name.
CALIBRATION, READING, KNOWLEDGE = "calibration.json", "reading.json", "knowledge.json"


@dataclass(frozen=True)
class DiseaseRun(RunFolder):
    """Events, samples and prompts of one run."""

    @property
    def events(self) -> Path:
        """Return the folder of the MEDS data set: data/<split>/00000.parquet and metadata/."""
        return self.root / "events"

    def samples(self, split: str) -> Path:
        """Return the file of a split's samples: a visit a row, with the labels of the next (schema.SAMPLES)."""
        return self.root / "samples" / f"{split}.parquet"

    @property
    def labels(self) -> Path:
        """Return the file that names the label columns, in order."""
        return self.root / "samples" / "labels.json"

    def label_names(self) -> list[str]:
        """Read the label columns of this run, in order."""
        return json.loads(self.labels.read_text())["names"]

    def prompts(self, split: str, role: str) -> Path:
        """Return the file of a split's texts, spans and answers for `role` ("teacher" or "student")."""
        return self.root / "prompts" / f"{split}.{role}.parquet"

    def tokens(self, split: str, role: str) -> Path:
        """Return the file of a split's token ids for `role` ("teacher" or "student")."""
        return self.root / "prompts" / f"{split}.{role}.safetensors"

    def teachers(self, num_folds: int) -> list[Path]:
        """Return the folder of each fold's teacher; where there is one fold, that of the teacher."""
        return [self.teacher / fold.name for fold in folds_of(num_folds)]

    @property
    def temperature(self) -> Path:
        """Return the file of what the teacher's raw logits are divided by before they are taught, beside the shards."""
        return self.softlabels / "temperature.json"

    @property
    def experiments(self) -> Path:
        """Return the folder of the result of every experiment, a file each."""
        return self.root / "experiments"

    @property
    def predictions(self) -> Path:
        """Return the folder of each model's predictions on held_out, with the truth: <model>/<label>.parquet."""
        return self.root / "predictions"

    @property
    def knowledge(self) -> Path:
        """Return the file of the knowledge that was fitted on train alone."""
        return self.root / "prompts" / "knowledge.json"
