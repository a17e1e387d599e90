"""What anybody who has read knows of the synthetic departments' language: which names mean the same.

Nothing of what a finding leads to, and nothing of a department's local codes, which are in no book.
"""

from ckd_dist.studies.concepts.synthetic.findings import ALL, FINDINGS, OPAQUE

ABSENT = "Not "  # before a finding that was looked for in vain (Gao et al. 2024)


def synonyms() -> list[tuple[str, str]]:
    """Return pairs of phrases that mean the same: each finding's names at the two departments, and its absence's."""
    local = set(FINDINGS[OPAQUE])
    pairs = [finding.names for finding in ALL if finding not in local]
    return [(ABSENT * absent + north, ABSENT * absent + south) for north, south in pairs for absent in (False, True)]


def phrases() -> list[str]:
    """Return all of its phrases, each once, sorted."""
    return sorted({phrase for pair in synonyms() for phrase in pair})
