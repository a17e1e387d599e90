"""When two spellings are one name: text to words, and a word to the form that its variants share.

Names and notes pass through the same two functions, and a name is found where the forms are equal.  A form need not be
English ("diseas"): it only has to be the same for all variants of a word, and another for every other word.

    carcinomas, carcinomata -> carcinoma      tumour -> tumor       Sjögren's, Sjogren's -> sjogren
    stenosis, stenoses      -> stenos         oedema -> edema       non-small, non small -> non, small

Suffix rules and no lemmatizer: `lemminflect` has stenoses -> stenos and leaves nevi, `inflect` reads lupus as a plural
and takes 2 s to import, `simplemma` (the best of them) has masses -> masse and diagnoses -> diagnose; none puts British
spellings beside American ones.  Left out: derived words (diabetic for diabetes) and word order.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

WORDS_REMEMBERED = 1 << 18  # names and notes repeat their words; a form is worked out once
PIECE = re.compile(r"\n\s*\n|[^\W_]+(?:[\u0300-\u036f]+[^\W_]*)*|[^\w\s]|_")  # a blank line, a word, a sign
HYPHENS = frozenset("-\u00ad\u2010\u2011\u2012\u2013")
APOSTROPHES = frozenset("'’`´ʼ")

BRITISH = [  # American on the right; every rule in turn
    (re.compile(r"[ao]e(?!s?$)"), "e"),  # haemorrhage, oedema; not toes, vertebrae
    (re.compile(r"(?<=..)our(?=$|s$|[aei])"), "or"),  # tumour, behavioural, coloured
    (re.compile(r"(?<=...)is(?=(e|ed|es|ing|ation)$)"), "iz"),  # localised, generalisation
    (re.compile(r"lys(?=(e|ed|ing)$)"), "lyz"),  # paralysed
    (re.compile(r"(?<=fib|ent)re(?=s?$)"), "er"),  # fibre, centre
    (re.compile(r"sulph"), "sulf"),
]
IRREGULAR = {  # among them plurals in -ae: a rule would make pneumonia of Streptococcus pneumoniae, typhus of typhi
    "appendices": "appendix",
    "aortae": "aorta",
    "axes": "axis",
    "bullae": "bulla",
    "bursae": "bursa",
    "calves": "calf",
    "cervices": "cervix",
    "cortices": "cortex",
    "feet": "foot",
    "fistulae": "fistula",
    "foramina": "foramen",
    "ganglia": "ganglion",
    "gases": "gas",
    "pelves": "pelvis",
    "petechiae": "petechia",
    "phalanges": "phalanx",
    "striae": "stria",
    "teeth": "tooth",
    "testes": "testis",
    "typhi": "typhi",
    "varices": "varix",
    "vertebrae": "vertebra",
}
PLURALS = [  # the first that fits
    (re.compile(r"(?<=.)itides$"), "itis"),  # arthritides
    (re.compile(r"(?<=..)ies$"), "y"),  # neuropathies
    (re.compile(r"(?<=....)(?:(?<=[sxz])|(?<=[cs]h))es$"), ""),  # masses, reflexes; with the next: stenoses, diseases
    (re.compile(r"(?<=...[sz])(is|e)$"), ""),  # stenosis, disease
    (re.compile(r"(?<=.)mata$"), "ma"),  # carcinomata
    (re.compile(r"(?<=...)i$"), "us"),  # thrombi
    (re.compile(r"(?<=...)um$"), "a"),  # diverticulum, diverticula
    (re.compile(r"(?<=..)(?<![sui])s$"), ""),  # tumors
]


def pieces(text: str, loose: bool) -> Iterator[tuple[str, int, int]]:
    """Yield words and signs of a text, with their first character and one past their last.

    loose: hyphens, apostrophes and a possessive s are passed over.

    >>> [word for word, _, _ in pieces("Crohn's, non-small", True)]
    ['Crohn', ',', 'non', 'small']
    """
    possessive = False
    for match in PIECE.finditer(text):
        word = match.group()
        if loose:
            if word in HYPHENS:
                continue
            if word in APOSTROPHES:
                possessive = True
                continue
            if possessive:
                possessive = False
                if word in "sS":
                    continue
        yield word, match.start(), match.end()


def written(word: str) -> str:
    """Return the word as it is written, composed characters for decomposed ones."""
    return unicodedata.normalize("NFC", word)


@lru_cache(WORDS_REMEMBERED)
def folded(word: str, loose: bool) -> str:
    """Return the form that variants of a word share: without case and accents; `loose`: singular and American too.

    >>> folded("Tumours", True), folded("Tumours", False)
    ('tumor', 'tumours')
    """
    word = word.casefold()
    if not word.isascii():
        word = "".join(letter for letter in unicodedata.normalize("NFKD", word) if not unicodedata.combining(letter))
    if not loose or len(word) < 4 or not word.isalpha():
        return word
    if word in IRREGULAR:
        return IRREGULAR[word]
    for pattern, american in BRITISH:
        word = pattern.sub(american, word)
    for pattern, singular in PLURALS:
        if pattern.search(word):
            return pattern.sub(singular, word)
    return word
