"""Read names of one type of entity from the files that terminologies are published as.

    disease=do:DIR            HumanDO.tsv, and doid_synonyms_en.tsv where it is there
    symptom=obo:FILE          any ontology that `pronto` reads: OBO, OBO graphs, OWL
    medication=drugbank:FILE  DrugBank's open vocabulary, commas or semicolons
    medication=rxnorm:DIR     RXNCONSO.RRF: ingredients and brands
    disease=umls:DIR          MRCONSO.RRF; MRSTY.RRF, where it is there, tells diseases, symptoms, medications apart
    disease=snomed:DIR        RF2 snapshot of English descriptions, anywhere below DIR
    disease=tsv:FILE          every tab-separated field of every line is a name

Every file may be gzipped.  Obsolete and suppressed entries are left out, and so are broad synonyms ("lung disease" for
pneumonia): a broad name is right only where the narrow thing is meant.  Names too general or too ambiguous to look for
are in stop_list.txt, with the reason.

OBO goes through `pronto` because its users' files are seldom as simple as SYMP: escapes, modifiers, xref lists, and
the same ontology as OWL or JSON, for 0.05 s of import.  Imports that an ontology names are not followed: nothing is
fetched.  Licensed content (RxNorm, UMLS, SNOMED CT) comes only from the user's own release files.
"""

import csv
import gzip
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

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


def read_terms(spec: str) -> Vocabulary:
    """Read the names that a spec, type=form:PATH, asks for; raises ValueError where there are none to be had."""
    kind, _, source = spec.partition("=")
    form, _, path = source.partition(":")
    if not (kind.strip() and path) or form not in FORMS:
        raise ValueError(f"vocabulary {spec!r}: write type=form:PATH, where form is one of {', '.join(FORMS)}")
    try:
        terms = dict.fromkeys(name for term in FORMS[form](Path(path), kind) if (name := " ".join(term.split())))
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
        raise ValueError(f"vocabulary {spec!r} cannot be read as UTF-8 text ({type(error).__name__})") from error
    if not terms:
        raise ValueError(f"vocabulary {spec!r} holds no name: is this the right file?")
    return Vocabulary(kind.strip(), tuple(terms))


# --- one reader a form ------------------------------------------------------------------------------------------------


def _disease_ontology(folder: Path, kind: str) -> Iterator[str]:
    labels = _only(folder, "HumanDO.tsv")
    yield from (row[0] for row in _columns(labels, ("label",), "\t"))
    if synonyms := _first_of(folder, "doid_synonyms_en.tsv"):
        for predicate, synonym in _columns(synonyms, ("predicate", "synonym"), "\t"):
            if "Broad" not in predicate:
                yield synonym


def _obo(file: Path, kind: str) -> Iterator[str]:
    import pronto  # here, so that other vocabularies do without it

    _check(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ontology = pronto.Ontology(file, import_depth=0)
    except (ValueError, SyntaxError, KeyError, TypeError) as error:
        raise ValueError(f"{file} is no ontology that pronto can read ({type(error).__name__})") from error
    for term in sorted(ontology.terms()):  # by id; its readers are threads, which end in any order
        if term.name and not term.obsolete:
            yield term.name
            yield from sorted(synonym.description for synonym in term.synonyms if synonym.scope != "BROAD")


def _drugbank(file: Path, kind: str) -> Iterator[str]:
    with _text(file) as lines:
        heads = [lines.readline(), lines.readline()]  # an export may have put a header of its own above the real one
    skip = next((i for i, head in enumerate(heads) if "Common name" in head), None)
    if skip is None:
        raise ValueError(f"{file} has no column 'Common name' in its first two lines: is it DrugBank's vocabulary?")
    delimiter = ";" if heads[skip].count(";") > heads[skip].count(",") else ","
    for name, synonyms in _columns(file, ("Common name", "Synonyms"), delimiter, skip):
        yield name
        yield from synonyms.split(" | ")


def _rxnorm(folder: Path, kind: str) -> Iterator[str]:
    for row in _rrf(_only(folder, "RXNCONSO.RRF")):
        if row[1] == "ENG" and row[16] == "N" and row[12] in RXNORM_TERMS:
            yield row[14]


def _umls(folder: Path, kind: str) -> Iterator[str]:
    concepts = None
    if kind in UMLS_TYPES and (types := _first_of(folder, "MRSTY.RRF")):
        concepts = {row[0] for row in _rrf(types, 7) if row[1] in UMLS_TYPES[kind]}
    for row in _rrf(_only(folder, "MRCONSO.RRF")):
        if row[1] == "ENG" and row[16] == "N" and (concepts is None or row[0] in concepts):
            yield row[14]


def _snomed(folder: Path, kind: str) -> Iterator[str]:
    files = sorted(folder.rglob("sct2_Description_*Snapshot*en*.txt*")) if folder.is_dir() else []
    if not files:
        raise ValueError(f"{folder} holds no sct2_Description_*Snapshot*en*.txt: give the folder of an RF2 release")
    tags = SNOMED_TAGS.get(kind)
    wanted = None if tags is None else {concept for concept, _, tag in _full_names(files) if tag in tags}
    yield from (name for concept, name, _ in _full_names(files) if wanted is None or concept in wanted)
    for file in files:
        for active, concept, language, sort, term in _columns(file, SNOMED_COLUMNS, "\t", quoted=False):
            if (active, language, sort) == ("1", "en", SNOMED_SYNONYM) and (wanted is None or concept in wanted):
                yield term


def _full_names(files: Sequence[Path]) -> Iterator[tuple[str, str, str]]:
    """Yield concept, name and tag of every active full name: "Asthma (disorder)" is Asthma, disorder."""
    for file in files:
        for active, concept, language, sort, term in _columns(file, SNOMED_COLUMNS, "\t", quoted=False):
            if (active, language, sort) == ("1", "en", SNOMED_FULL_NAME):
                parts = re.fullmatch(r"(.*) \(([^()]+)\)", term)
                yield concept, *(parts.groups() if parts else (term, ""))


def _tsv(file: Path, kind: str) -> Iterator[str]:
    with _text(file) as lines:
        for line in lines:
            yield from line.rstrip("\n").split("\t")


FORMS = {
    "do": _disease_ontology,
    "obo": _obo,
    "drugbank": _drugbank,
    "rxnorm": _rxnorm,
    "umls": _umls,
    "snomed": _snomed,
    "tsv": _tsv,
}

# --- files ------------------------------------------------------------------------------------------------------------


def _check(file: Path) -> None:
    if not file.is_file():
        raise ValueError(f"no file {file}")


def _text(file: Path) -> TextIO:
    """Open the file's text; its name decides whether it is gzipped."""
    _check(file)
    return (gzip.open if file.suffix == ".gz" else open)(file, "rt", encoding="utf-8", newline="")


def _first_of(folder: Path, name: str) -> Path | None:
    return next((file for file in (folder / name, folder / f"{name}.gz") if file.is_file()), None)


def _only(folder: Path, name: str) -> Path:
    if file := _first_of(folder, name):
        return file
    raise ValueError(f"{folder} holds neither {name} nor {name}.gz")


def _columns(
    file: Path, names: Sequence[str], delimiter: str, skip: int = 0, quoted: bool = True
) -> Iterator[list[str]]:
    """Yield these columns of a table with a header, which follows `skip` lines."""
    with _text(file) as lines:
        for _ in range(skip):
            lines.readline()
        rows = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE)
        head = next(rows, [])
        if absent := [name for name in names if name not in head]:
            raise ValueError(f"{file} has no column {absent[0]!r}: its header names {len(head)} others")
        places = [head.index(name) for name in names]
        for row in rows:
            if len(row) != len(head):
                raise ValueError(f"{file} line {rows.line_num + skip}: {len(row)} fields, its header has {len(head)}")
            yield [row[place] for place in places]


def _rrf(file: Path, num_fields: int = RRF_FIELDS) -> Iterator[list[str]]:
    """Yield the fields of every line; each ends in a bar, so there is an empty one after the last."""
    with _text(file) as lines:
        for number, line in enumerate(lines, 1):
            row = line.rstrip("\r\n").split("|")
            if len(row) != num_fields:
                raise ValueError(f"{file} line {number}: {len(row)} fields, a line of an RRF file has {num_fields}")
            yield row
