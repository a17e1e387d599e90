"""How a large language model is asked to label notes, beside where it is.  No client is imported here."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Asking:
    """What is asked at once, how fast, and what it costs."""

    temperature: float  # of sampling
    max_words: int  # of a note in one question
    max_output_tokens: int
    confidence: float  # that a stated entity is right
    parallel: int  # questions under way at once
    requests_per_minute: float | None  # of each worker; none: as fast as they are answered
    usd_per_million_input: float
    usd_per_million_output: float
