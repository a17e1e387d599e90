"""Ontology labeler: words a minute on one core, every rule on, negation too; and seconds to build it.

    python tests/bench/gazetteer.py [--terms 20000] [--words 300000]

Names are those of the Disease Ontology, SYMP and DrugBank and text that of the NCBI Disease corpus, where $CKD_DATA or
../shared/data has them; else both are synthetic.  The text is read once, in notes of 250 words, with nothing
remembered from notes before.  Cutting it into words is outside the clock: it is not the labeler's, and all labelers
share it.  The clock counts this process's CPU seconds, which a busy machine changes less.
"""

import argparse
import gzip
import os
import re
import time
from pathlib import Path

import numpy as np
import torch
from machine import describe

from ckd_dist.config import values_of
from ckd_dist.notes.note import Note
from ckd_dist.studies.ner.config import Ontology
from ckd_dist.studies.ner.labelers.gazetteer import DictionaryOptions, Gazetteer
from ckd_dist.studies.ner.labelers.vocabularies import Vocabulary, read_terms

DATA = Path(os.environ.get("CKD_DATA", Path(__file__).parents[3] / "shared" / "data"))
SPECS = {
    "disease=do": "disease_ontology",
    "symptom=obo": "symptom_ontology/symp.obo.gz",
    "medication=drugbank": "drugbank_vocabulary/drugbank_vocabulary_semicolon.csv.gz",
}
WORDS_OF_NOTE = 250
TARGET = 1_000_000  # words a minute


def real_vocabularies(num_terms: int) -> list[Vocabulary]:
    """Read the open vocabularies, thinned out evenly to so many names at most."""
    whole = [read_terms(f"{form}:{DATA / path}") for form, path in SPECS.items()]
    every = max(1, -(-sum(len(vocabulary.terms) for vocabulary in whole) // num_terms))
    return [Vocabulary(vocabulary.type, vocabulary.terms[::every]) for vocabulary in whole]


def real_texts() -> list[str]:
    """Read titles and abstracts of the NCBI Disease corpus."""
    texts = []
    for file in sorted((DATA / "ncbi_disease").glob("*_corpus.txt.gz")):
        lines = gzip.decompress(file.read_bytes()).decode().splitlines()
        texts += [line.split("|", 2)[2] for line in lines if re.match(r"\d+\|[ta]\|", line)]
    return texts


def synthetic(num_terms: int, num_words: int) -> tuple[list[Vocabulary], list[str]]:
    """Return names of one to four words and text, from 30,000 words, the n-th n times rarer than the first."""
    random = np.random.default_rng(0)
    letters = np.array(list("aeioubcdlmnprst"))
    words = np.array(["".join(random.choice(letters, size)) for size in random.integers(3, 12, 30_000)])
    names = tuple(" ".join(random.choice(words, random.integers(1, 5))) for _ in range(num_terms))
    places = (random.zipf(1.2, num_words) - 1) % len(words)
    return [Vocabulary("disease", names)], [" ".join(words[places]) + "."]


def notes_of(texts: list[str], num_words: int) -> list[Note]:
    """Return notes of WORDS_OF_NOTE words from these texts, so many words in all at most; .?! end a sentence."""
    notes = []
    whole = "\n".join(texts)
    places = [match.span() for match in re.finditer(r"\w+|[^\w\s]", whole)]
    for first in range(0, min(num_words, len(places)), WORDS_OF_NOTE):
        part = np.array(places[first : first + WORDS_OF_NOTE], np.int32)
        text = whole[part[0, 0] : part[-1, 1]]
        part -= part[0, 0]
        ends_U = [text[start:end] in ".?!" for start, end in part]
        notes.append(Note(text, part[:, 0], part[:, 1], np.cumsum([0, *ends_U[:-1]]).astype(np.int32)))
    return notes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--terms", type=int, default=20_000)
    parser.add_argument("--words", type=int, default=300_000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if all((DATA / path).exists() for path in [*SPECS.values(), "ncbi_disease"]):
        vocabularies, texts, source = real_vocabularies(args.terms), real_texts(), "DO + SYMP + DrugBank, NCBI Disease"
    else:
        (vocabularies, texts), source = synthetic(args.terms, args.words), "synthetic"
    notes = notes_of(texts, args.words)
    start = time.process_time()
    labeler = Gazetteer(values_of(Ontology(skip_negated=True), DictionaryOptions), vocabularies)
    built = time.process_time()
    counts = labeler(notes).counts
    rate = counts["words"] / (time.process_time() - built) * 60
    num_terms = sum(len(vocabulary.terms) for vocabulary in vocabularies)
    print(
        f"{rate / 1e6:.1f} million words a minute on one core, target {TARGET / 1e6:.0f}: "
        f"{'met' if rate >= TARGET else 'MISSED'}; {num_terms:,} names ({source}), built in {built - start:.1f} s; "
        f"{counts['words']:,} words, {counts['mentions']:,} mentions; {describe()}"
    )


if __name__ == "__main__":
    main()
