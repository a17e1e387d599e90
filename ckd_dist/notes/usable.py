"""What is kept and lost of a corpus, in one line; and whether enough is kept to go on.

Somebody annotated a document and nothing of it can be used: that is never what was wanted, and it looks like a document
in which nothing was found.  So a corpus of which no mention is kept is refused, with what it holds, and so is one of
whose mentions more than a twentieth lie outside the text (its offsets mean something else) or are written as their form
does not allow, or of whose texts more than a twentieth are annotated in two ways.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ckd_dist.account import MOST, Account, counted
from ckd_dist.notes.claims import OFFSETS
from ckd_dist.notes.columns import columns_of
from ckd_dist.notes.document import Corpus
from ckd_dist.notes.note import Note

NO_TYPE = "of no type"  # what a type that a corpus does not say is called
MOST_OUTSIDE = 1 / 20  # share of mentions that may lie outside their text
MOST_WITHIN = 1 / 2  # share of mentions that may begin or end within a word
MOST_MALFORMED = 1 / 20  # share of the lines of mentions that may be malformed
MOST_DISAGREEING = 1 / 20  # share of the annotated documents whose text may be annotated in another way too
LINES = {  # a form with a line a mention -> how such a line is written
    "brat": "T1, a tab, a type without blanks, start and end, a tab, the characters",
    "pubtator": "id, start, end, characters and type, tabs between; title and abstract are one line each",
}
LOST = {  # a count of the corpus -> in words
    "out_of_text": "mentions that are not in their text",
    "discontinuous": "mentions in several pieces",
    "malformed_lines": "malformed lines",
    "duplicates": "second copies of documents",
    "duplicates_across_splits": "copies of documents in another split",
    "in_error": "notes marked as in error",
    "empty": "empty documents",
}


@dataclass(frozen=True)
class Kept:
    """What became of the mentions of a corpus."""

    columns: Mapping[str, int]  # column of ours -> mentions that notes keep
    unnamed: Mapping[str, int]  # type of the corpus that no column is named for -> its mentions
    merged: int  # those that are, on the same characters and for the same column, another's equal
    within: int  # kept ones that begin or end within a word: tags are of the whole word


def kept_of(corpus: Corpus, notes: Sequence[Note], types: Mapping[str, str]) -> Kept:
    """Count what became of the mentions.  notes: made of the documents, in order.  types: of the corpus -> column."""
    kinds = [mention.type for document in corpus.documents for mention in document.mentions or ()]
    known = columns_of(set(kinds), types)
    columns = by_number(mention.type for note in notes for mention in note.mentions or ())
    within = 0
    for note in notes:
        if note.mentions:
            starts, ends = set(note.start_U.tolist()), set(note.end_U.tolist())
            within += sum(mention.start not in starts or mention.end not in ends for mention in note.mentions)
    return Kept(
        columns,
        by_number(kind or NO_TYPE for kind in kinds if kind not in known),
        sum(kind in known for kind in kinds) - sum(columns.values()),
        within,
    )


def account_of(corpus: Corpus, kept: Kept, untagged: Mapping[str, int]) -> Account:
    """Return the account of a corpus.  untagged: why -> kept mentions that tags of words cannot hold."""
    annotated = [document.mentions for document in corpus.documents if document.mentions is not None]
    none, nobody = sum(not mentions for mentions in annotated), len(corpus.documents) - len(annotated)
    parts = [f"{len(annotated):,} annotated", *([f"{none:,} without a mention"] if none else [])]
    by_column = f" ({named(kept.columns)})" if kept.columns else ""
    remarks = {
        "mentions begin or end within a word": kept.within,
        "mentions are at the place and of the column of another": kept.merged,
        "texts are annotated in two ways": corpus.counts["disagreeing"],
        "documents have no annotation": nobody if annotated else 0,
        "documents are annotated by a tagger: their mentions have scores": corpus.counts["scored"],
        "documents are renamed, because another has their name": corpus.counts["renamed"],
        **{f"documents have {what}": n for what, n in corpus.counts.items() if what.startswith(OFFSETS)},
    }
    return Account(
        {f"documents ({', '.join(parts)})": len(corpus.documents), f"mentions{by_column}": sum(kept.columns.values())},
        {
            f"mentions that notes.types does not name ({named(kept.unnamed)})": sum(kept.unnamed.values()),
            **{words: corpus.counts[what] for what, words in LOST.items()},
            **untagged,
        },
        [f"{number:,} {what}" for what, number in remarks.items() if number],
    )


def check_usable(source: str, corpus: Corpus, kept: Kept) -> None:
    """Raise ValueError where a corpus that somebody annotated keeps no mention, or its offsets mean something else."""
    num_annotated, outside, within = corpus.counts["annotated"], corpus.counts["out_of_text"], kept.within
    form, malformed, pieces = source.partition(":")[0], corpus.counts["malformed_lines"], corpus.counts["discontinuous"]
    disagreeing = corpus.counts["disagreeing"]
    num_read, num_kept = corpus.counts["mentions"] + outside, sum(kept.columns.values())
    if outside > MOST_OUTSIDE * num_read:
        raise ValueError(
            f"{source}: {outside:,} of {num_read:,} mentions are not in their text, or are other characters than the "
            "corpus says: give the texts that were annotated; offsets count characters from 0, end excluded"
        )
    if num_annotated and not num_kept and kept.unnamed:
        if set(kept.unnamed) == {NO_TYPE}:
            raise ValueError(
                f"{source}: {sum(kept.unnamed.values()):,} mentions have a tag without a type, and notes.types has "
                "several columns: say which it is, e.g. notes.types={'': disease}"
            )
        raise ValueError(
            f"{source}: {sum(kept.unnamed.values()):,} mentions of {len(kept.unnamed)} types "
            f"({named(kept.unnamed, most=20)}), none of which notes.types names: say which column each is, "
            "e.g. notes.types={Problem: disease, Drug: medication}"
        )
    if disagreeing > MOST_DISAGREEING * num_annotated:
        raise ValueError(
            f"{source}: {disagreeing:,} texts are there more than once with different mentions, as two annotators "
            "write them: give what one of them wrote, or what they agreed on"
        )
    if num_annotated and not num_kept:
        lost = counted({words: n for what, words in LOST.items() if (n := corpus.counts[what])})
        raise ValueError(
            f"{source}: {num_annotated:,} documents are annotated and no mention can be used"
            f"{f' (lost: {lost})' if lost else ''}: are the annotations whole, and in this form?"
        )
    if form in LINES and malformed > MOST_MALFORMED * (num_lines := malformed + num_read + pieces):
        raise ValueError(
            f"{source}: {malformed:,} of {num_lines:,} lines of mentions are malformed, and their mentions would count "
            f"as none; a line is {LINES[form]}"
        )
    if within > MOST_WITHIN * num_kept:
        raise ValueError(
            f"{source}: {within:,} of {num_kept:,} mentions begin or end within a word: give the texts that were "
            "annotated; offsets count characters from 0, end excluded"
        )


def named(numbers: Mapping[str, int], most: int = MOST) -> str:
    """Write the numbers of types as words; those after the first `most` are added up.

    >>> named({"Problem": 1040, "Finding": 40, "Age": 3}, most=2)
    'Problem 1,040, Finding 40, others 3'
    """
    rest = sum(list(numbers.values())[most:])
    shown = [*list(numbers.items())[:most], *([("others", rest)] if rest else [])]
    return ", ".join(f"{name} {number:,}" for name, number in shown)


def by_number(kinds: Iterable[str]) -> dict[str, int]:
    """Count kinds, the most frequent first."""
    return dict(Counter(kinds).most_common())
