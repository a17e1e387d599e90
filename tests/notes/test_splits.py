"""No subject and no text in two splits; the corpus' own split where it has one."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckd_dist.notes.document import Document
from ckd_dist.notes.splits import split_corpus, texts_of_owners


def documents(rows) -> list[Document]:
    return [
        Document(str(number), f"text {text}", None, None if who is None else str(who), split)
        for number, (who, text, split) in enumerate(rows)
    ]


FEW = st.integers(0, 8)


@settings(deadline=None)  # other work may keep the machine busy
@given(
    st.lists(st.tuples(st.one_of(st.none(), FEW), st.integers(0, 30), st.just(None)), max_size=40), st.integers(0, 9)
)
def test_nobody_and_no_text_in_two_splits(rows, seed: int) -> None:
    made = documents(rows)
    splits = split_corpus(made, 0.4, 0.3, seed)
    for of in (lambda d: d.subject, lambda d: d.text):
        places = {}
        for document, split in zip(made, splits, strict=True):
            if of(document) is not None:
                assert places.setdefault(of(document), split) == split
    assert split_corpus(made[::-1], 0.4, 0.3, seed) == splits[::-1]  # the order of files is no matter


def test_shares_seeds_and_who_else_is_there() -> None:
    made = documents((number, number, None) for number in range(3000))
    splits = split_corpus(made, 0.7, 0.15, 0)
    shares = Counter(splits)
    assert abs(shares["train"] / 3000 - 0.7) < 0.03 and abs(shares["tuning"] / 3000 - 0.15) < 0.03
    assert split_corpus(made[:100], 0.7, 0.15, 0) == splits[:100]
    assert split_corpus(made, 0.7, 0.15, 1) != splits
    # Pinned: a release that moves a patient would let an old model be judged by whom it learned from.
    assert splits[:8] == ["tuning", "tuning", "train", "train", "held_out", "train", "train", "held_out"]


def test_the_corpus_own_split() -> None:
    own = ["train"] * 40 + ["tuning"] * 3 + ["held_out"] * 3
    made = documents((number, number, split) for number, split in enumerate(own))
    assert split_corpus(made, 0.7, 0.15, 0) == own
    # no tuning: cut from train alone
    two = [d for d in made if d.split != "tuning"]
    splits = split_corpus(two, 0.5, 0.4, 0)
    assert Counter(splits[:40]).keys() == {"train", "tuning"} and splits[40:] == ["held_out"] * 3
    # nothing to learn from, or some are placed nowhere: as if there were no split
    for part in ([d for d in made if d.split != "train"], [*made, Document("x", "x", None)]):
        unplaced = [Document(d.name, d.text, None, d.subject) for d in part]
        assert split_corpus(part, 0.5, 0.4, 0) == split_corpus(unplaced, 0.5, 0.4, 0)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="puts 1 subjects or texts into more than one part"):
        split_corpus(documents([(7, 1, "train"), (7, 2, "held_out"), (8, 3, "tuning")]), 0.7, 0.15, 0)
    with pytest.raises(ValueError, match="their sum must stay below 1"):
        split_corpus([], 0.7, 0.3, 0)


def test_all_that_a_subject_says_is_one_text():
    """A subject's notes; notes without one by themselves; copies of a text, under whatever name, once an owner."""
    rows = [("a", 1, None), ("b", 2, None), ("a", 3, None), (None, 4, None), (None, 5, None), (None, 4, None)]
    made = documents(rows)
    assert texts_of_owners(made) == ["text 1\ntext 3", "text 2", "text 4\ntext 4", "text 5"]
    copies = [Document(f"copy {n}", "Qwertzuiop has asthma.", None) for n in range(50)]
    assert len(texts_of_owners(copies)) == 1, "a copied note is one patient's"
