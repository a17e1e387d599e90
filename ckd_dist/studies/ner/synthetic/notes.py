"""Discharge notes of the synthetic hospital, their entities, and vocabularies that hold some of the names.

    visits (hospital/visits.py) -> content of a note -> pieces (prose.py): text, or a name with its type
        -> the whole text, and the place of every name

A place is where the piece was put, so the gold is exact.  The law that a labeler has to find: what a visit has decides
which diseases, symptoms and drugs its note names (diseases.py, symptoms.py, medications.py; sentences.py: what is
written around the names); one name in 20 is misspelled, half of the notes break their lines at 70 columns, and every
name counts, denied or a relative's.  No dictionary will do.  Of the mentions of its type a vocabulary has the name of

    disease 66 %    symptom 65 %    medication 55 %    problems 11 % (of diseases)    formulary 19 % (of medications)

and of all that it finds, word for word and the longest first, this share is right, because the same words mean
something else ("MS: alert and oriented", "albumin 3.1 g/dL") or are part of a longer name:

    disease 81 %    symptom 84 %    medication 85 %    problems 50 %                  formulary 89 %

Nor will memory: 60 notes hold the names of 72 % (disease), 79 % (symptom) and 80 % (medication) of others' mentions.

Subjects have a seed of their own within chunks of fixed size, so a subject's notes do not depend on how many there are.
1,000 subjects, 1,700 notes of 190 words and 29 entities take a second.  Left out: sections that a hospital's note has
besides (examination, results), de-identification marks, and entities with a gap in them.
"""

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ckd_dist.files import replacing, write
from ckd_dist.hospital.catalogue import OTHER_DRUGS, PHENOTYPES
from ckd_dist.hospital.records import FIRST_SUBJECT
from ckd_dist.hospital.visits import Subjects, simulate, years
from ckd_dist.studies.ner.synthetic.diseases import DISEASES, OTHER_DISEASES
from ckd_dist.studies.ner.synthetic.medications import HOME_DRUGS
from ckd_dist.studies.ner.synthetic.prose import Named, Piece, Problem, Stay, write_note
from ckd_dist.studies.ner.synthetic.symptoms import SYMPTOMS_OF
from ckd_dist.studies.ner.synthetic.vocabulary import vocabularies

CHUNK = 500  # subjects whose visits share a seed
MEAN_VISITS = 2.0
MOST_NOTES = 3  # of a subject
COLUMNS = 70  # of a line, where lines are broken
MOST_TREATED, MOST_PAST = 4, 5  # diseases that a note names


def write_synthetic_notes(folder: Path, num_subjects: int, seed: int) -> dict[str, int]:
    """Write folder/notes.jsonl and folder/vocabulary/*.tsv; return how many lines each has, by name.

    A line of notes.jsonl: {"name", "subject", "text", "mentions": [{"start", "end", "type"}]}, offsets in characters.
    A line of a vocabulary: names of one thing, tab-separated.  The same arguments give the same bytes.
    Raises ValueError where there is no subject.
    """
    if num_subjects < 1:
        raise ValueError(f"a synthetic hospital needs at least one subject, got {num_subjects}")
    num_lines = {}
    for name, lines in vocabularies().items():
        num_lines[name] = len(lines)
        write(folder / "vocabulary" / f"{name}.tsv", "".join("\t".join(names) + "\n" for names in lines))
    num_lines["notes"] = 0
    with replacing(folder / "notes.jsonl") as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for note in notes(num_subjects, seed):
            file.write(json.dumps(note, ensure_ascii=False) + "\n")
            num_lines["notes"] += 1
    return num_lines


def notes(num_subjects: int, seed: int) -> Iterator[dict]:
    """Yield every note, as a line of notes.jsonl holds it, by subject and then time."""
    for first in range(0, num_subjects, CHUNK):
        subjects = simulate(CHUNK, MEAN_VISITS, np.random.default_rng([seed, first]))
        bounds_S1 = np.searchsorted(subjects.visits.subject_V, np.arange(CHUNK + 1))
        for row in range(min(CHUNK, num_subjects - first)):
            subject = FIRST_SUBJECT + first + row
            rng = random.Random(f"{seed}/{subject}")
            visits = range(bounds_S1[row], bounds_S1[row + 1])[:MOST_NOTES]
            for number, stay in enumerate(_stays(subjects, row, visits, rng), 1):
                text, mentions = assemble(write_note(stay, rng))
                spans = [{"start": start, "end": end, "type": kind} for start, end, kind in mentions]
                text = broken(text) if rng.random() < 0.5 else text
                yield {"name": f"{subject}-{number}", "subject": str(subject), "text": text, "mentions": spans}


def assemble(pieces: Sequence[Piece]) -> tuple[str, list[tuple[int, int, str]]]:
    """Return the text, and first character, one past the last and type of every entity.

    >>> assemble(["No ", Named("symptom", "cough"), "."])
    ('No cough.', [(3, 8, 'symptom')])
    """
    text, mentions = "", []
    for piece in pieces:
        if isinstance(piece, Named):
            mentions.append((len(text), len(text) + len(piece.text), piece.type))
            text += piece.text
        else:
            text += piece
    return text, mentions


def broken(text: str) -> str:
    """Return the text with line breaks for blanks, so that lines have 70 columns; no character moves.

    >>> broken("word " * 20)[60:72]
    'word word\\nwo'
    """
    lines = []
    for line in text.split("\n"):
        while len(line) > COLUMNS and (blank := line.rfind(" ", 1, COLUMNS + 1)) > 0:
            lines.append(line[:blank])
            line = line[blank + 1 :]
        lines.append(line)
    return "\n".join(lines)


def _stays(subjects: Subjects, row: int, visits: Sequence[int], rng: random.Random) -> Iterator[Stay]:
    """Yield the content of a note for each visit; a subject keeps its kind of a disease, and takes home what it got."""
    record = subjects.visits
    kind_of = {p.name: rng.choice(DISEASES[p.name]) for p in PHENOTYPES}
    elsewhere = [names for share, names in OTHER_DISEASES if rng.random() < share]
    always = rng.sample(HOME_DRUGS, rng.randint(1, 3))
    home: list[str] | None = None
    for visit in visits:
        present, lasting, taken = [], [], list(always)
        for k in np.flatnonzero(record.present_VK[visit]):
            phenotype = PHENOTYPES[k]
            drugs = [phenotype.effective[record.drug_VK[visit, k]][0]] if record.drug_VK[visit, k] >= 0 else []
            drugs += [phenotype.decoy] if record.decoy_VK[visit, k] else []
            present.append(Problem(kind_of[phenotype.name], SYMPTOMS_OF[phenotype.name], tuple(drugs)))
            if phenotype.chronic:
                lasting.append(kind_of[phenotype.name])
                taken += drugs
        yield Stay(
            age=int(years(subjects.birth_S[row], record.admitted_V[visit])),
            female=bool(subjects.female_S[row]),
            died=bool(record.died_V[visit]),
            present=rng.sample(present, min(len(present), MOST_TREATED)),
            past=rng.sample(lasting + elsewhere, min(len(lasting + elsewhere), MOST_PAST)),
            home=taken if home is None else home,
            usual=[drug for drug, share in OTHER_DRUGS if rng.random() < share],
        )
        home = taken
