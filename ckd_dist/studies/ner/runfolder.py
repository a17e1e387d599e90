"""The run folder of the second study: what it adds to the paths that every study has."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ckd_dist.files import write
from ckd_dist.notes.note import tag_names
from ckd_dist.runfolder import RunFolder


@dataclass(frozen=True)
class NerRun(RunFolder):
    """Notes, windows and soft tags of one run."""

    def notes(self, split: str) -> Path:
        """Return the notes of a split with their words and human annotations (store.NOTES)."""
        return self.root / "notes" / f"{split}.parquet"

    @property
    def tags(self) -> Path:
        """Names of the tag columns, in order."""
        return self.root / "notes" / "tags.json"

    def tag_columns(self) -> list[str]:
        """Read the tag columns of this run, in order."""
        return json.loads(self.tags.read_text())["names"]

    def types(self) -> list[str]:
        """Read the entity types that are looked for, in order."""
        return json.loads(self.tags.read_text())["types"]

    def known_types(self) -> list[str]:
        """Read all entity types that the recipe knows, those that the corpus lacks too."""
        return json.loads(self.tags.read_text())["known"]

    def write_tags(self, types: Sequence[str], known: Sequence[str]) -> None:
        """Write the columns of `types`, which the corpus annotates, and all types that are known."""
        columns = {"types": list(types), "names": tag_names(types), "known": list(known)}
        write(self.tags, json.dumps(columns, indent=1))

    @property
    def vocabularies(self) -> Path:
        """Vocabularies of the synthetic hospital, a file each."""
        return self.tables / "vocabulary"

    def windows(self, split: str, role: str) -> Path:
        """Return the windows of the notes as `role` ("teacher" or "student") reads them."""
        return self.root / "windows" / f"{split}.{role}.safetensors"

    @property
    def answers(self) -> Path:
        """What language models answered, one file a question: never asked twice."""
        return self.root / "answers"

    @property
    def combination(self) -> Path:
        """Which labelers are joined for which type, and all that was tried."""
        return self.root / "combination.json"

    def curve(self, arm: str, num_gold: int) -> Path:
        """Return the folder of a student of the learning curve."""
        return self.root / "curve" / f"{arm}_{num_gold}"

    @property
    def held_out_page(self) -> Path:
        """Held-out notes with what the student found, for those who may read the notes; not a part of the report."""
        return self.root / "entities" / "held_out.html"
