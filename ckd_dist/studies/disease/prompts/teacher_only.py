"""Keep parts of a record to the teacher: earlier visits, efficacies, drugs.

What only the teacher reads reaches the student through soft labels alone.  As a control the teacher may read those
parts of *another* subject's visit: what it then still gains comes from somewhere else than the parts.
"""

from collections.abc import Collection

import numpy as np

from ckd_dist.splitmix import mix
from ckd_dist.studies.disease.prompts.render import KINDS, Record, Section


def without(record: Record, parts: Collection[str]) -> Record:
    """Return the record without these parts: not even their sentence stays."""
    return tuple(section for section in record if not _is_in(section, parts))


def with_parts_of(record: Record, other: Record, parts: Collection[str]) -> Record:
    """Return the record with these parts of another one in place of its own, in reading order."""
    sections = (*without(record, parts), *(section for section in other if _is_in(section, parts)))
    return tuple(sorted(sections, key=lambda section: (section.visit, KINDS.index(section.kind))))


def others(subject_ids: np.ndarray) -> np.ndarray:
    """Return for each row another subject's, every row once: int64 [N], a permutation.

    Subjects stand in the order of a hash, and every row takes the one as many places further as the largest subject has
    rows.  Raises ValueError where one subject has more than half of the rows: then there is no such permutation.

    >>> subjects = np.array([7, 7, 8, 9, 9])
    >>> subjects[others(subjects)].tolist()
    [8, 9, 9, 7, 7]
    """
    subject_ids = np.asarray(subject_ids)
    if not len(subject_ids):
        return np.zeros(0, np.int64)
    _, subjects, counts = np.unique(subject_ids, return_inverse=True, return_counts=True)
    most = counts.max()
    if 2 * most > len(subject_ids):
        raise ValueError(
            f"prompt.teacher_permuted: one subject has {most} of a split's {len(subject_ids)} visits, so not every one "
            "finds another subject's: bring more subjects, or leave the control out"
        )
    order = np.lexsort((subjects, mix(subject_ids.astype(np.int64).view(np.uint64))))
    taken = np.empty(len(order), np.int64)
    taken[order] = np.roll(order, -most)
    return taken


def _is_in(section: Section, parts: Collection[str]) -> bool:
    """Say whether a section is in one of these parts; a drug of an earlier visit is in two."""
    named = {
        "history": section.visit > 0,
        "efficacies": section.kind == "efficacy",
        "drugs": section.kind == "medication",
    }
    return any(named[part] for part in parts)
