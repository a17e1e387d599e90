"""The words that a vocabulary may be learned from: those that enough subjects have.

A vocabulary travels with its model and is read by whoever has it, so a drug, a title or a surname of a few patients
must be no token of it, however often their records say it.  A word counts once a subject.  Every token is then a piece
of a word that FEWEST_SUBJECTS subjects have or that stands in a public text; all others are spelled in such pieces.
Where there are fewer subjects than that, what is left is public texts and letters.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from ckd_dist.account import Account
from ckd_dist.schema import FEWEST_SUBJECTS


@dataclass(frozen=True)
class SharedWords:
    """Words and how many subjects have each, at least FEWEST_SUBJECTS; and how many other words there are."""

    counts: Mapping[str, int]
    num_rare: int

    def repeated(self) -> Iterator[str]:
        """Yield every word as often as subjects have it, in an order that no hash decides."""
        for word in sorted(self.counts):
            yield from (word for _ in range(self.counts[word]))

    def account(self) -> Account:
        """Say from how many words a vocabulary was learned, and how many it was not."""
        rare = f"{self.num_rare:,} words of fewer than {FEWEST_SUBJECTS} subjects are spelled in pieces"
        return Account({"words for the tiny vocabulary": len(self.counts)}, remarks=[rare] if self.num_rare else [])


def shared_words(texts: Iterable[str], public: Iterable[str], cut: Callable[[str], Iterable[str]]) -> SharedWords:
    """Return the words of `texts`, a text a subject, that enough of them have, and those of `public` texts.

    cut: a text -> its words.  A public text weighs as much as FEWEST_SUBJECTS subjects.

    >>> shared_words(["flu Smith Smith"] + ["flu gout"] * 10, ["gout"], str.split)
    SharedWords(counts={'flu': 11, 'gout': 21}, num_rare=1)
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(set(cut(text)))
    for text in public:
        counts.update(dict.fromkeys(cut(text), FEWEST_SUBJECTS))
    shared = {word: count for word, count in sorted(counts.items()) if count >= FEWEST_SUBJECTS}
    return SharedWords(shared, len(counts) - len(shared))
