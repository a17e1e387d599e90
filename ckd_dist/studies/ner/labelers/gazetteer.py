"""The ontology labeler: find every name of the vocabularies in a note.

    names -> sequences of words -> automaton        note -> words -> all matches -> the longest that do not overlap

Words are numbered and the automaton (Aho and Corasick 1975) runs over the numbers: a match then begins and ends at a
word by itself, and two spellings are one where they have one number (spelling.py).  `pyahocorasick` takes sequences of
numbers; `ahocorasick-rs` takes strings alone and would find names inside words.  There are two automatons.  Most names
are found in any case; one with fewer than `min_letters` letters, or an abbreviation ("ALL", "AIDS", "HoFH"), only as it
is written.

Of matches that share a character the longest stays, then the leftmost; where two types have names for one place, it
goes to the one whose vocabulary comes first, and the tie is counted.  A match that begins or ends within a word of the
note is none.  stop_list.txt holds the names that are not looked for, with the reason.  With `inflections` come
spelling variants, and the short forms that a note itself defines (short_forms.py).

Left out: word order ("neoplasm, malignant"), names with a gap ("breast and ovarian cancer"), and spelling mistakes.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import NamedTuple

import ahocorasick

from ckd_dist.notes.note import Mention, Note, Prediction
from ckd_dist.studies.ner.labelers import negation
from ckd_dist.studies.ner.labelers.labelled import Labelled
from ckd_dist.studies.ner.labelers.short_forms import find_short_forms
from ckd_dist.studies.ner.labelers.spelling import WORDS_REMEMBERED, folded, pieces, written
from ckd_dist.studies.ner.labelers.vocabularies import Vocabulary

RULES = 1  # raise it when a change of these files changes what is found
MOST_CAPITALS, MOST_MIXED = 7, 5  # letters of an abbreviation: CANVAS, HoFH
COUNTS = ("notes", "words", "mentions", "overlapped", "ties", "short_forms", "denied")

Sequences = dict[tuple[str, ...], frozenset[int]]  # words of a name -> the types that have it, by their place


@dataclass(frozen=True)
class DictionaryOptions:
    """What a labeler by vocabularies is called, and what counts as a match."""

    name: str
    vocabularies: tuple[str, ...]  # type=form:PATH each
    inflections: bool  # whether plurals, spelling variants and short forms that a note defines count
    skip_negated: bool  # whether an entity that its sentence denies is left out
    min_letters: int  # of the shortest name that counts in any case
    confidence: float  # that a mention is right


class Match(NamedTuple):
    """Characters start to end of a note, and the types that have them as a name."""

    start: int
    end: int
    types: frozenset[int]


class Gazetteer:
    """A labeler that finds names in notes.  Build it once; the automatons of 20,000 names take about a second."""

    def __init__(self, options: DictionaryOptions, vocabularies: Sequence[Vocabulary]) -> None:
        """options: what counts as a match.  vocabularies: of one or several types, the first of which win ties."""
        self.name = options.name
        self._options = options
        self.kept: dict[str, int] = {}  # what -> how many, as account.Account has it
        self.lost: dict[str, int] = {}
        for vocabulary in vocabularies:
            names = f"names of {vocabulary.type}"
            self.kept[names] = self.kept.get(names, 0) + len(vocabulary.terms)
            for what, number in vocabulary.left_out.items():
                self.lost[what] = self.lost.get(what, 0) + number
        self.remarks = tuple(dict.fromkeys(remark for each in vocabularies for remark in each.remarks))
        self._types = list(dict.fromkeys(vocabulary.type for vocabulary in vocabularies))
        names = compile_names(vocabularies, self._types, options)
        self.fingerprint = hash_of_names(names, self._types, options)
        self._automatons = [_automaton(sequences) for sequences in names]
        self._numbers = _numbering(self._automatons, options.inflections)

    def __call__(self, notes: Sequence[Note]) -> Labelled:
        """Find the mentions of every note, in order, and count.

        overlapped: matches under a longer one.  ties: places for which two types have a name.  short_forms: found
        because the note defines them.  denied: left out because their sentence denies them.
        """
        counts = Counter(dict.fromkeys(COUNTS, 0))
        predictions = []
        for note in notes:
            matches = self._matches(note)
            kept = longest(matches)
            mentions = [Mention(match.start, match.end, self._types[min(match.types)]) for match in kept]
            further = find_short_forms(note, mentions) if self._options.inflections else []
            mentions = sorted(mentions + further)
            left = negation.affirmed(note, mentions) if self._options.skip_negated else mentions
            predictions.append([Prediction(mention, self._options.confidence) for mention in left])
            counts["notes"] += 1
            counts["words"] += len(note)
            counts["mentions"] += len(left)
            counts["overlapped"] += len(matches) - len(kept)
            counts["ties"] += sum(len(match.types) > 1 for match in kept)
            counts["short_forms"] += len(further)
            counts["denied"] += len(mentions) - len(left)
        return Labelled(predictions, dict(counts))

    def _matches(self, note: Note) -> list[Match]:
        """Find every name in the note, overlapping ones too, each place once."""
        starts, ends, streams = [], [], ([], [])
        for word, start, end in pieces(note.text, self._options.inflections):
            in_any_case, as_written = self._numbers(word)
            starts.append(start)
            ends.append(end)
            streams[0].append(in_any_case)
            streams[1].append(as_written)
        word_starts, word_ends = set(note.start_U.tolist()), set(note.end_U.tolist())
        places: dict[tuple[int, int], frozenset[int]] = {}
        for (automaton, _), stream in zip(self._automatons, streams, strict=True):
            for last, (num_words, types) in automaton.iter(tuple(stream)) if len(automaton) else ():
                place = starts[last - num_words + 1], ends[last]
                if place[0] in word_starts and place[1] in word_ends:
                    places[place] = places.get(place, frozenset()) | types
        return [Match(start, end, types) for (start, end), types in places.items()]


def longest(matches: Iterable[Match]) -> list[Match]:
    """Keep matches of which no two share a character, in order: the longest, of equally long ones the leftmost."""
    kept: list[Match] = []
    taken: set[int] = set()
    for match in sorted(matches, key=lambda match: (match.start - match.end, match.start)):
        characters = range(match.start, match.end)
        # What is kept is no shorter: where the two overlap, it covers an end.
        if match.start not in taken and match.end - 1 not in taken:
            taken.update(characters)
            kept.append(match)
    return sorted(kept)


# --- names to sequences of words --------------------------------------------------------------------------------------


def compile_names(
    vocabularies: Iterable[Vocabulary], types: Sequence[str], options: DictionaryOptions
) -> tuple[Sequences, Sequences]:
    """Return the names to look for in any case (their words folded), and those only as written.

    Left out: what the stop-list holds, and names with fewer than two letters.
    """
    loose = options.inflections
    stopped_in_any_case, stopped_as_written = stop_list()
    in_any_case, as_written = {}, {}
    for vocabulary in vocabularies:
        place = frozenset([types.index(vocabulary.type)])
        for name in vocabulary.terms:
            num_letters = sum(letter.isalpha() for letter in name)
            if num_letters < 2:
                continue
            exact = num_letters < options.min_letters or is_abbreviation(name)
            for variant in variants(name, exact) if loose else (name,):
                if exact and written_key(variant, True) not in stopped_as_written:
                    key, kind = written_key(variant, loose), as_written
                elif not exact and folded_key(variant, True) not in stopped_in_any_case:
                    key, kind = folded_key(variant, loose), in_any_case
                else:
                    continue
                if key:
                    kind[key] = kind.get(key, frozenset()) | place
    return in_any_case, as_written


def folded_key(name: str, loose: bool) -> tuple[str, ...]:
    """Return the words of a name as they are looked for in any case."""
    return tuple(folded(word, loose) for word, _, _ in pieces(name, loose))


def written_key(name: str, loose: bool) -> tuple[str, ...]:
    """Return the words of a name as they are looked for as written."""
    return tuple(written(word) for word, _, _ in pieces(name, loose))


def is_abbreviation(name: str) -> bool:
    """Say whether a name is so short and so written that small letters would mean something else.

    >>> [is_abbreviation(name) for name in ("ALL", "HoFH", "CMT 1A", "CANVAS", "Flu", "OxyContin")]
    [True, True, True, True, False, False]
    """
    letters = [letter for letter in name if letter.isalpha()]
    num_capitals = sum(letter.isupper() for letter in letters)
    return num_capitals > 1 and len(letters) <= (MOST_CAPITALS if num_capitals == len(letters) else MOST_MIXED)


def variants(name: str, exact: bool) -> list[str]:
    """Return the name, and how else it is written: without commas and full stops; an abbreviation with a plural s.

    >>> variants("St. Louis encephalitis", False)
    ['St. Louis encephalitis', 'St Louis encephalitis']
    """
    plain = " ".join(name.replace(",", " ").replace(".", " ").split())
    plural = [f"{name}s"] if exact and name[-1].isupper() else []
    return list(dict.fromkeys([name, plain, *plural]))


@cache
def stop_list() -> tuple[frozenset[tuple[str, ...]], frozenset[tuple[str, ...]]]:
    """Read the keys that are not looked for in any case, and as written; a name in small letters stops both."""
    lines = files(__package__).joinpath("stop_list.txt").read_text("utf-8").splitlines()
    names = [name for line in lines if (name := line.partition("#")[0].strip())]
    in_any_case = frozenset(folded_key(name, True) for name in names if name.islower())
    return in_any_case, frozenset(written_key(name, True) for name in names)


def hash_of_names(names: tuple[Sequences, Sequences], types: Sequence[str], options: DictionaryOptions) -> str:
    """Hash all that decides what is found: names as they are looked for, types in order, rules and options."""
    content = {
        "rules": RULES,
        "types": list(types),
        "names": [sorted((list(key), sorted(value)) for key, value in sequences.items()) for sequences in names],
        "loose": options.inflections,
        "denied": [negation.RULES, sorted(negation.KINDS.items())] if options.skip_negated else None,
        "confidence": options.confidence,
    }
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


# --- sequences of words to automatons ---------------------------------------------------------------------------------


def _automaton(sequences: Sequences) -> tuple[ahocorasick.Automaton, dict[str, int]]:
    """Build the automaton over word numbers; return it and the numbers; 0 is a word of no name."""
    number: dict[str, int] = {}
    automaton = ahocorasick.Automaton(ahocorasick.STORE_ANY, ahocorasick.KEY_SEQUENCE)
    for words, types in sequences.items():
        automaton.add_word(tuple(number.setdefault(word, len(number) + 1) for word in words), (len(words), types))
    automaton.make_automaton()
    return automaton, number


def _numbering(automatons: Sequence[tuple[ahocorasick.Automaton, dict[str, int]]], loose: bool) -> Callable:
    """Return a function from a word of a note to its number in each automaton, which remembers."""
    (_, in_any_case), (_, as_written) = automatons

    @lru_cache(WORDS_REMEMBERED)
    def numbers(word: str) -> tuple[int, int]:
        return in_any_case.get(folded(word, loose), 0), as_written.get(written(word), 0)

    return numbers
