"""Where records come from, as `kind:place`."""


def num_subjects(source: str) -> int:
    """Return the size of a synthetic hospital.  Raise ValueError where `source` is not synthetic:N."""
    number = source.removeprefix("synthetic:")
    if not number.isdecimal():
        raise ValueError(f"source {source!r} names no number of subjects: give synthetic:N, e.g. synthetic:1000")
    return int(number)
