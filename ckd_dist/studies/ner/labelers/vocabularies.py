"""Read names of one type of entity from the files that terminologies are published as.

    disease=do:DIR            HumanDO.tsv, and doid_synonyms_en.tsv where it is there
    symptom=obo:FILE          any ontology that `pronto` reads: OBO, OBO graphs, OWL
    medication=drugbank:FILE  DrugBank's open vocabulary, commas or semicolons
    medication=rxnorm:DIR     RXNCONSO.RRF: ingredients and brands
    disease=umls:DIR          MRCONSO.RRF; MRSTY.RRF, where it is there, tells diseases, symptoms, medications apart
    disease=snomed:DIR        RF2 snapshot of English descriptions and of concepts, anywhere below DIR
    disease=tsv:FILE          every tab-separated field of every line is a name, but for codes (word_lists.py)

DIR may be the folder of the files, one above or below it, or a file in it (release_files.py); files may be gzipped.
Obsolete and suppressed entries are left out, and so are broad synonyms ("lung disease" for pneumonia): a broad name is
right only where the narrow thing is meant.  In RF2 the names of a retired concept stay active, so the concept's own row
decides.  What is left out is counted.  Names too general or too ambiguous to look for are in stop_list.txt, with the
reason.  A vocabulary without a name, with next to none of its rows, or with codes in place of names is refused.

OBO goes through `pronto` because its users' files are seldom as simple as SYMP: escapes, modifiers, xref lists, and
the same ontology as OWL or JSON, for 0.05 s of import.  Imports that an ontology names are not followed: nothing is
fetched.  Licensed content (RxNorm, UMLS, SNOMED CT) comes only from the user's own release files.
"""

import io
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ckd_dist.mistakes import raise_fault
from ckd_dist.studies.ner.labelers.release_files import (
    bar_fields,
    columns,
    find_file,
    need_file,
    need_text,
    open_text,
)
from ckd_dist.studies.ner.labelers.word_lists import looks_like_code, read_words

RRF_FIELDS = 19  # 18 columns and what follows the last bar
RXNORM_TERMS = {"IN", "PIN", "MIN", "BN"}  # ingredient, its salt, several of them, brand; not strengths and forms
UMLS_TYPES = {  # semantic types of each of our types; other types take all names
    "disease": {"T019", "T020", "T037", "T046", "T047", "T048", "T049", "T190", "T191"},
    "symptom": {"T184"},
    "medication": {"T121", "T195", "T200"},
}
SNOMED_TAGS = {  # what a fully specified name ends in; other types take all names
    "disease": {"disorder"},
    "symptom": {"finding"},
    "medication": {"product", "medicinal product", "medicinal product form", "clinical drug", "substance"},
}
NEXT_TO_NONE = 1000  # rows of which a vocabulary must yield a name
MOST_CODES = 0.9  # share of names that may look like codes
SNOMED_FULL_NAME, SNOMED_SYNONYM = "900000000000003001", "900000000000013009"
SNOMED_COLUMNS = ("active", "conceptId", "languageCode", "typeId", "term")


@dataclass(frozen=True)
class Vocabulary:
    """Names of one type of entity: each once, as written, in the order of the file.

    left_out: why -> how many entries.  remarks: what else is to be known of them.
    """

    type: str
    terms: tuple[str, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


@dataclass
class Tally:
    """What a reader left out of a vocabulary, by reason, and what it could not know."""

    num_rows: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    remarks: list[str] = field(default_factory=list)


def read_terms(spec: str) -> Vocabulary:
    """Read the names that a spec, type=form:PATH, asks for; raises ValueError where there are none to be had."""
    kind, _, source = spec.partition("=")
    form, _, path = source.partition(":")
    kind = kind.strip()
    if not (kind and path) or form not in FORMS:
        raise ValueError(f"vocabulary {spec!r}: write type=form:PATH, where form is one of {', '.join(FORMS)}")
    tally = Tally()
    read = FORMS[form](Path(path).expanduser(), kind, tally)
    terms = list(dict.fromkeys(name for term in read if (name := " ".join(term.split()))))
    if not terms:
        raise ValueError(f"vocabulary {spec!r} holds no name: is this the right file?")
    if len(terms) * NEXT_TO_NONE < tally.num_rows:
        raise ValueError(
            f"vocabulary {spec!r} yields {len(terms)} names of {tally.num_rows:,} rows: is it whole, and of {kind}?"
        )
    num_codes = sum(map(looks_like_code, terms))
    if num_codes > MOST_CODES * len(terms):
        raise ValueError(
            f"vocabulary {spec!r}: {num_codes:,} of {len(terms):,} names look like codes, which stand in no note: give "
            "the names"
        )
    return Vocabulary(kind, tuple(terms), dict(tally.left_out), tuple(tally.remarks))


# --- one reader a form ------------------------------------------------------------------------------------------------


def _disease_ontology(folder: Path, kind: str, tally: Tally) -> Iterator[str]:
    labels = need_file(folder, "HumanDO.tsv")
    yield from (row[0] for row in columns(labels, ("label",), "\t"))
    if synonyms := find_file(labels.parent, "doid_synonyms_en.tsv"):
        for predicate, synonym in columns(synonyms, ("predicate", "synonym"), "\t"):
            if "Broad" not in predicate:
                yield synonym
            else:
                tally.left_out["broad synonyms"] += 1


def _obo(path: Path, kind: str, tally: Tally) -> Iterator[str]:
    import pronto  # here, so that other vocabularies do without it

    file = need_text(path, ("*.obo", "*.owl", "*.json"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ontology = pronto.Ontology(_as_utf8(file), import_depth=0)
    except Exception as error:  # its parsers raise many kinds
        raise_fault(error, file)
        raise ValueError(
            f"{file} is no ontology that pronto can read ({type(error).__name__}): give OBO, OBO graphs or OWL in "
            "RDF/XML, as UTF-8"
        ) from error
    for term in sorted(ontology.terms()):  # by id; its readers are threads, which end in any order
        if term.name and not term.obsolete:
            yield term.name
            yield from sorted(synonym.description for synonym in term.synonyms if synonym.scope != "BROAD")
        tally.left_out["obsolete terms"] += term.obsolete
        tally.left_out["broad synonyms"] += sum(synonym.scope == "BROAD" for synonym in term.synonyms)


def _as_utf8(file: Path) -> Path | io.BytesIO:
    """Return what pronto can read: the file, or its text without a byte order mark."""
    with file.open("rb") as opened:
        if opened.read(3)[:2] not in (b"\xef\xbb", b"\xff\xfe", b"\xfe\xff"):
            return file
    with open_text(file) as text:
        return io.BytesIO(text.read().encode())


def _drugbank(path: Path, kind: str, tally: Tally) -> Iterator[str]:
    file = need_text(path, ("*.csv",))
    with open_text(file) as lines:
        heads = [lines.readline(), lines.readline()]  # an export may have put a header of its own above the real one
    skip = next((i for i, head in enumerate(heads) if "Common name" in head), None)
    if skip is None:
        raise ValueError(f"{file} has no column 'Common name' in its first two lines: is it DrugBank's vocabulary?")
    delimiter = ";" if heads[skip].count(";") > heads[skip].count(",") else ","
    for name, synonyms in columns(file, ("Common name", "Synonyms"), delimiter, skip):
        yield name
        yield from synonyms.split(" | ")


def _rxnorm(folder: Path, kind: str, tally: Tally) -> Iterator[str]:
    for row in _in_english(need_file(folder, "RXNCONSO.RRF"), tally):
        if row[12] in RXNORM_TERMS:
            yield row[14]


def _umls(folder: Path, kind: str, tally: Tally) -> Iterator[str]:
    names, concepts = need_file(folder, "MRCONSO.RRF"), None
    types = find_file(names.parent, "MRSTY.RRF") if kind in UMLS_TYPES else None
    if types:
        concepts = {row[0] for row in bar_fields(types, 7) if row[1] in UMLS_TYPES[kind]}
    elif kind in UMLS_TYPES:
        tally.remarks.append(f"no MRSTY.RRF beside {names.name}, so names of all its types count as {kind}")
    for row in _in_english(names, tally):
        if concepts is None or row[0] in concepts:
            yield row[14]


def _in_english(file: Path, tally: Tally) -> Iterator[list[str]]:
    """Yield the English rows of an RRF file of names that are not suppressed."""
    for row in bar_fields(file, RRF_FIELDS):
        tally.num_rows += 1
        if row[1] == "ENG" and row[16] == "N":
            yield row
        tally.left_out["suppressed names"] += row[1] == "ENG" and row[16] != "N"


def _snomed(path: Path, kind: str, tally: Tally) -> Iterator[str]:
    folder = path.parent if path.is_file() else path
    files = sorted(folder.rglob("sct2_Description_*Snapshot*en*.txt*")) if folder.is_dir() else []
    if not files:
        raise ValueError(f"{folder} holds no sct2_Description_*Snapshot*en*.txt: give the folder of an RF2 release")
    releases = Counter(re.sub(r"_\d{8}\.", "_DATE.", file.name.removesuffix(".gz")) for file in files)
    if twice := [name for name, number in releases.items() if number > 1]:
        raise ValueError(f"{folder} holds {releases[twice[0]]} files {twice[0]}: give the folder of one release")
    active = _active_concepts(folder, tally)
    tags = SNOMED_TAGS.get(kind)
    wanted = active
    if tags is not None:
        wanted = {concept for concept, _, tag in _full_names(files) if tag in tags and _in(concept, active)}
    for concept, name, tag in _full_names(files):
        tally.num_rows += 1
        if _in(concept, wanted):
            yield name
        elif not _in(concept, active) and (tags is None or tag in tags):
            tally.left_out["inactive concepts"] += 1
    for file in files:
        for state, concept, language, sort, term in columns(file, SNOMED_COLUMNS, "\t", quoted=False):
            if (language, sort) != ("en", SNOMED_SYNONYM) or not _in(concept, wanted):
                continue
            if state == "1":
                yield term
            tally.left_out["inactive names"] += state != "1"


def _in(concept: str, concepts: set[str] | None) -> bool:
    return concepts is None or concept in concepts


def _active_concepts(folder: Path, tally: Tally) -> set[str] | None:
    """Return the concepts whose newest row is active; None where the release has no file of concepts."""
    files = sorted(folder.rglob("sct2_Concept_*Snapshot*.txt*")) or sorted(
        folder.resolve().parent.glob("sct2_Concept_*Snapshot*.txt*")
    )
    if not files:
        tally.remarks.append("no sct2_Concept_*Snapshot*.txt, so names of inactive concepts are among them")
        return None
    newest: dict[str, tuple[str, str]] = {}
    for file in files:
        for concept, time, state in columns(file, ("id", "effectiveTime", "active"), "\t", quoted=False):
            newest[concept] = max(newest.get(concept, ("", "")), (time, state))
    return {concept for concept, (_, state) in newest.items() if state == "1"}


def _full_names(files: Sequence[Path]) -> Iterator[tuple[str, str, str]]:
    """Yield concept, name and tag of every active full name: "Asthma (disorder)" is Asthma, disorder."""
    for file in files:
        for active, concept, language, sort, term in columns(file, SNOMED_COLUMNS, "\t", quoted=False):
            if (active, language, sort) == ("1", "en", SNOMED_FULL_NAME):
                parts = re.fullmatch(r"(.*) \(([^()]+)\)", term)
                yield concept, *(parts.groups() if parts else (term, ""))


def _tsv(path: Path, kind: str, tally: Tally) -> Iterator[str]:
    yield from read_words(need_text(path, ("*.tsv", "*.txt", "*.csv")), kind, tally.left_out)


FORMS = {
    "do": _disease_ontology,
    "obo": _obo,
    "drugbank": _drugbank,
    "rxnorm": _rxnorm,
    "umls": _umls,
    "snomed": _snomed,
    "tsv": _tsv,
}
