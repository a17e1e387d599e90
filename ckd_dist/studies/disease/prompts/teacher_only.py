"""Keep parts of a record to the teacher: earlier visits, efficacies, drugs.

What only the teacher reads reaches the student through soft labels alone.  As a control the teacher may read those
parts of *another* subject's visit: what it then still gains comes from somewhere else than the parts.
"""

from collections.abc import Collection

from ckd_dist.studies.disease.prompts.render import KINDS, Record, Section


def without(record: Record, parts: Collection[str]) -> Record:
    """Return the record without these parts: not even their sentence stays."""
    return tuple(section for section in record if not _is_in(section, parts))


def with_parts_of(record: Record, other: Record, parts: Collection[str]) -> Record:
    """Return the record with these parts of another one in place of its own, in reading order."""
    sections = (*without(record, parts), *(section for section in other if _is_in(section, parts)))
    return tuple(sorted(sections, key=lambda section: (section.visit, KINDS.index(section.kind))))


def _is_in(section: Section, parts: Collection[str]) -> bool:
    """Say whether a section is in one of these parts; a drug of an earlier visit is in two."""
    named = {
        "history": section.visit > 0,
        "efficacies": section.kind == "efficacy",
        "drugs": section.kind == "medication",
    }
    return any(named[part] for part in parts)
