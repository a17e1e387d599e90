"""The study at its smallest, for tests that run all of it."""

from tests.end_to_end.small import SMALL

ARGUMENTS = ["--recipe", "tiny", "--source", "synthetic:120", *SMALL]
