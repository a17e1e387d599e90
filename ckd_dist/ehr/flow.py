"""How many visits each criterion took away: the cohort's flow, as a paper prints it."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Flow:
    """rows: (reason, excluded, left) in the order in which criteria were applied; the first row is what there was.

    notes: counts that exclude nobody.  Flows of several splits add up.

    >>> Flow((("visits", 0, 9), ("died in hospital", 2, 7))) + Flow((("visits", 0, 1), ("died in hospital", 0, 1)))
    Flow(rows=(('visits', 0, 10), ('died in hospital', 2, 8)), notes={})
    """

    rows: tuple[tuple[str, int, int], ...]
    notes: dict[str, int] = field(default_factory=dict)

    def excluded(self) -> dict[str, int]:
        """Return the visits that each criterion took away, for an account of what was lost."""
        return {f"visits ({reason})": excluded for reason, excluded, _ in self.rows if excluded}

    def __add__(self, other: "Flow") -> "Flow":
        if [reason for reason, *_ in self.rows] != [reason for reason, *_ in other.rows]:
            raise ValueError("these flows applied different criteria; only flows of one recipe add up")
        rows = tuple(
            (reason, excluded + other_excluded, left + other_left)
            for (reason, excluded, left), (_, other_excluded, other_left) in zip(self.rows, other.rows, strict=True)
        )
        notes = {name: self.notes.get(name, 0) + other.notes.get(name, 0) for name in self.notes | other.notes}
        return Flow(rows, notes)
