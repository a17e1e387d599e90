"""Whose soft labels a run has: those of its own teachers, one a fold, of another run's, or of a file."""

from dataclasses import dataclass
from pathlib import Path

from ckd_dist.models.fingerprint import fingerprint, fingerprint_tokenizer, hash_once
from ckd_dist.studies.disease.folds import Fold, folds_of


@dataclass(frozen=True)
class Teachers:
    """Those whose soft labels a run has."""

    folders: tuple[Path, ...]  # of each fold's teacher, in order; one where there are no folds
    tokenizer: str  # the teachers' base: a folder or a hub name
    dtype: str  # of their weights
    import_from: Path | None = None  # file of another teacher's soft labels, in place of theirs

    @property
    def folds(self) -> list[Fold]:
        """Return the folds, each of which has its teacher."""
        return folds_of(len(self.folders))

    def fingerprint(self, fold: int) -> str:
        """Return the fingerprint of a fold's teacher, or of the file that soft labels are imported from."""
        return hash_once(self.import_from) if self.import_from else fingerprint(self.folders[fold])

    def fingerprint_tokenizer(self) -> str:
        """Return the fingerprint of the tokenizer with which prompts were written."""
        return fingerprint_tokenizer(self.tokenizer)
