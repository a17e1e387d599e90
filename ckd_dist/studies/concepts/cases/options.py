"""What makes a case, whatever its source."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class CaseOptions:
    """Which visits are cases, what they are judged by, and what of their past is read."""

    by: Literal["site", "region", "hospital"]  # property of a visit that tells sites apart
    outcome: Literal["death", "stay", "next_visit"]
    stay_days: float  # above which a stay is long
    begin: Literal["admission", "icu"]
    hours: float  # from the beginning to the prediction
    history_days: float  # before the beginning
    codes: tuple[str, ...]  # prefixes of events that are concepts
    missing: Literal["left", "absent"]  # how a finding is read that nobody looked for
    max_concepts: int  # of a case; the latest are kept
