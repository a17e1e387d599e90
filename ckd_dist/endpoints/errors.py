"""What can go wrong with a language model that is asked; no client is imported here."""


class EndpointError(ValueError):
    """A server refuses, or answers with what is none: one sentence of where and what to do, no word of a note."""


class UnansweredError(ConnectionError):
    """A server does not answer, but may at another try: no ValueError, which is a mistake.  One sentence as above."""
