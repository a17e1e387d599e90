"""What can go wrong with a language model that is asked; no client is imported here."""


class EndpointError(ValueError):
    """A question was not answered: one sentence that says where and what to do, without a word of a note."""
