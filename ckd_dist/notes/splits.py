"""Which document is learned from, which tunes and which is held out.

The corpus' own split is used where it places every document and has something to learn from; a part that it lacks is
cut from its train.  Otherwise a hash of subject (of name where there is none) decides.  Documents that share a subject
or, up to white space, their text stay together, so no patient and no copied note is both learned from and scored on.
Without copies a document's split does not depend on the other documents; fractions hold on average.
"""

import hashlib
from collections.abc import Sequence

from ckd_dist.notes.document import Document
from ckd_dist.schema import SPLITS


def split_corpus(documents: Sequence[Document], train_fraction: float, tuning_fraction: float, seed: int) -> list[str]:
    """Return the split of every document, in order.

    Raises ValueError where the fractions leave nothing to hold out, or the corpus' own split puts one subject or one
    text into two parts.
    """
    if not (train_fraction > 0 and tuning_fraction > 0 and train_fraction + tuning_fraction < 1):
        raise ValueError(
            f"train_fraction {train_fraction} and tuning_fraction {tuning_fraction} must be positive and leave "
            "something to hold out: their sum must stay below 1"
        )
    shares = dict(zip(SPLITS, (train_fraction, tuning_fraction, 1 - train_fraction - tuning_fraction), strict=True))
    groups = owners_of(documents)
    own = [document.split for document in documents]
    if None in own or "train" not in own:
        return [_drawn(group, shares, seed) for group in groups]
    _check_apart(groups, own)
    cut = {split: share for split, share in shares.items() if split == "train" or split not in own}
    return [_drawn(group, cut, seed) if split == "train" else split for group, split in zip(groups, own, strict=True)]


def texts_of_owners(documents: Sequence[Document]) -> list[str]:
    """Return all that the documents of one subject say, a text a subject; see `owners_of`."""
    texts: dict[str, list[str]] = {}
    for owner, document in zip(owners_of(documents), documents, strict=True):
        texts.setdefault(owner, []).append(document.text)
    return ["\n".join(own) for own in texts.values()]


def text_key(text: str) -> str:
    """Return a hash that is the same for texts that differ in white space alone."""
    return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()


def owners_of(documents: Sequence[Document]) -> list[str]:
    """Return a key for every document; those with one key belong together, as far as the corpus tells to one subject.

    The key is the smallest subject (or name) that the documents are chained to by shared subjects and texts.
    """
    parent: dict[tuple[str, str], tuple[str, str]] = {}

    def root(key: tuple[str, str]) -> tuple[str, str]:
        while parent.setdefault(key, key) != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    owners = [("name", d.name) if d.subject is None else ("subject", d.subject) for d in documents]
    for owner, document in zip(owners, documents, strict=True):
        one, other = sorted((root(owner), root(("text", text_key(document.text)))))
        parent[other] = one  # "name" and "subject" sort before "text": a root is an owner
    return ["\n".join(root(owner)) for owner in owners]


def _drawn(group: str, shares: dict[str, float], seed: int) -> str:
    """Draw a split by the hash of the group, in proportion to `shares`."""
    digest = hashlib.sha256(f"{seed}\n{group}".encode()).digest()
    place = (int.from_bytes(digest[:8], "big") >> 11) * 2.0**-53 * sum(shares.values())  # [0, total)
    for split, share in shares.items():
        place -= share
        if place < 0:
            return split
    return split  # what rounding left over


def _check_apart(groups: Sequence[str], own: Sequence[str | None]) -> None:
    parts: dict[str, set[str | None]] = {}
    for group, split in zip(groups, own, strict=True):
        parts.setdefault(group, set()).add(split)
    if num_torn := sum(len(splits) > 1 for splits in parts.values()):
        raise ValueError(
            f"the corpus' own split puts {num_torn} subjects or texts into more than one part: put each into one part, "
            "or the documents into one folder, and they are split by subject"
        )
