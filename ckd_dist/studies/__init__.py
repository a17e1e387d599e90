"""The studies there are: one folder and one line each; and what a run of any of them opens as."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ckd_dist.studies import concepts, disease, ner
from ckd_dist.study import Study, kept_run

if TYPE_CHECKING:
    from datasets import Dataset

STUDIES = {"disease": disease.STUDY, "ner": ner.STUDY, "concepts": concepts.STUDY}


def open_dataset(run: str | Path, split: str = "train", studies: Mapping[str, Study] = STUDIES) -> "Dataset":
    """Open one split of a finished run: texts, hard labels and the teacher's soft labels, in memory.

    It holds records.  Raises ValueError, one sentence, where the run has no such split, or has to be run first.
    """
    from ckd_dist.softlabels.dataset import open_run  # its libraries take two seconds to import

    study, recipe, folder = kept_run(studies, Path(run).absolute())
    return open_run(study, recipe, folder, split)
