"""The pieces of words that a vocabulary may hold: those that stand in the words of enough subjects.

A vocabulary travels with its model and is read by whoever has it, so a drug, a title or a surname of a few patients
must be no token of it, however often their records say it.  A word counts once a subject; a piece is kept where
FEWEST_SUBJECTS different subjects have words with it, or where it stands in a public text; what is not kept is spelled
in shorter pieces.  Where there are fewer subjects than that, public texts and letters are left.

Whole words alone would be the simpler rule, but names of diseases are rare and share their endings: with occurrences
counted a tiny tagger of 150 patients' notes has a strict F1 of 0.71, with pieces 0.60, with whole words 0.55.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from ckd_dist.account import Account
from ckd_dist.schema import FEWEST_SUBJECTS

PUBLIC = (1 << FEWEST_SUBJECTS) - 1  # as many subjects as it takes, who are nobody


@dataclass(frozen=True)
class SaidBy:
    """Words with those who say them, a bit a subject, and with how many they weigh."""

    subjects: Mapping[str, int]
    weights: Mapping[str, int]

    def repeated(self) -> Iterator[str]:
        """Yield every word as often as it weighs, in an order that no hash decides."""
        for word in sorted(self.weights):
            yield from (word for _ in range(self.weights[word]))

    def shared(self, pieces: Collection[str], mark: str = "", spell: Callable[[str], str] = str) -> set[str]:
        """Return those of `pieces` that enough subjects have.

        mark: what a piece begins with that does not begin a word.  spell: a word -> the letters that pieces have.
        """
        longest, found = max(map(len, pieces), default=0), dict.fromkeys(pieces, 0)
        for word, subjects in self.subjects.items():
            spelled = spell(word)
            for start in range(len(spelled)):
                for end in range(start + 1, min(start + longest, len(spelled)) + 1):
                    piece = (mark if start else "") + spelled[start:end]
                    if piece in found:
                        found[piece] |= subjects
        return {piece for piece, subjects in found.items() if subjects.bit_count() >= FEWEST_SUBJECTS}

    def account(self) -> Account:
        """Say how many words a vocabulary may hold whole, and how many it may not."""
        num_rare = sum(subjects.bit_count() < FEWEST_SUBJECTS for subjects in self.subjects.values())
        rare = f"{num_rare:,} words of fewer than {FEWEST_SUBJECTS} subjects are spelled in pieces"
        kept = {"words for the tiny vocabulary": len(self.subjects) - num_rare}
        return Account(kept, remarks=[rare] if num_rare else [])


def said_by(texts: Iterable[str], public: Iterable[str], cut: Callable[[str], Iterable[str]]) -> SaidBy:
    """Return the words of `texts`, a text a subject, and of `public` texts, each of which weighs as enough subjects do.

    cut: a text -> its words.

    >>> said_by(["flu Smith Smith", "flu gout"], ["gout"], str.split).weights
    {'Smith': 1, 'flu': 2, 'gout': 12}
    """
    subjects, weights = Counter[str](), Counter[str]()
    for number, text in enumerate(texts, FEWEST_SUBJECTS):
        for word in set(cut(text)):
            subjects[word] |= 1 << number
            weights[word] += 1
    for text in public:
        for word in set(cut(text)):
            subjects[word] |= PUBLIC
            weights[word] += FEWEST_SUBJECTS
    return SaidBy(dict(subjects), dict(sorted(weights.items())))
