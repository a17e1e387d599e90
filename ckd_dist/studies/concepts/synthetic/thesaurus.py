"""What anybody who has read knows of the made-up departments' language: which names mean the same.

Nothing of what a finding leads to, and nothing of a department's local codes, which are in no book.
"""

from ckd_dist.studies.concepts.synthetic.findings import ALL, FINDINGS, OPAQUE

ABSENT = "Not "  # before a finding that was looked for in vain (Gao et al. 2024)


def synonyms() -> list[tuple[str, str]]:
    """(a phrase, another that means the same), of every finding with a name at both departments, and of its absence."""
    local = set(FINDINGS[OPAQUE])
    pairs = [finding.names for finding in ALL if finding not in local]
    return [(ABSENT * absent + north, ABSENT * absent + south) for north, south in pairs for absent in (False, True)]


def phrases() -> list[str]:
    """All of its words, each once, sorted."""
    return sorted({phrase for pair in synonyms() for phrase in pair})
