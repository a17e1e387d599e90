"""The run folder of the third study: what it adds to the paths that every study has."""

from dataclasses import dataclass
from pathlib import Path

from ckd_dist.runfolder import RunFolder


@dataclass(frozen=True)
class ConceptsRun(RunFolder):
    """Cases, vectors and experiments of one run."""

    def site_events(self, source: int) -> Path:
        """Return the MEDS data set of the source with this number."""
        return self.root / "sites" / f"{source}"

    @property
    def concepts(self) -> Path:
        """Every concept that a site records (cases.table.CONCEPTS)."""
        return self.root / "concepts" / "concepts.parquet"

    @property
    def cases(self) -> Path:
        """The cases of all sites (cases.table.CASES)."""
        return self.root / "concepts" / "cases.parquet"

    @property
    def outcomes(self) -> Path:
        """Names of the outcomes, in order."""
        return self.root / "concepts" / "outcomes.json"

    @property
    def answers(self) -> Path:
        """Vectors that endpoints answered, one file a phrase: never asked twice."""
        return self.root / "answers"

    def vectors(self, embedding: str) -> Path:
        """Return one embedding's vectors by concept, which lie outside of every model that reads them."""
        return self.root / "embeddings" / f"{embedding}.safetensors"

    @property
    def experiments(self) -> Path:
        """The result of every experiment of the grid, a file each."""
        return self.root / "experiments"
