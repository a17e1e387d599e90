"""Every source goes through every study that names it, to the report."""

import csv
import gzip
import json

import numpy as np
import polars as pl
import pytest
from datasets import Dataset

from ckd_dist.ehr.extract import extract
from ckd_dist.hospital.tables import write_tables
from ckd_dist.source import title_of
from ckd_dist.studies.concepts.cases import sources as concepts
from ckd_dist.studies.concepts.synthetic.sites import write_sites
from ckd_dist.studies.disease.runfolder import DiseaseRun
from ckd_dist.studies.ner import sources as ner
from ckd_dist.studies.ner.synthetic.notes import notes, write_synthetic_notes
from tests.data import DATA
from tests.end_to_end.small import SMALL, ckd
from tests.studies.concepts.smallest import ARGUMENTS as SMALLEST_CONCEPTS
from tests.studies.ner.smallest import ARGUMENTS as SMALLEST_NER

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TO_MIMIC4 = {  # how MIMIC-IV calls what MIMIC-III has
    "startdate": "starttime",
    "icd9_code": "icd_code",
}


def mimic3(folder):
    write_tables(folder, 150, seed=1)
    return folder


def mimic4(folder):
    """A synthetic hospital, its tables as MIMIC-IV has them."""
    for file in mimic3(folder / "three").glob("*.csv.gz"):
        table = pl.read_csv(file, infer_schema=False).rename(str.lower)
        table = table.rename({old: new for old, new in TO_MIMIC4.items() if old in table.columns})
        if "icd_code" in table.columns:
            table = table.with_columns(icd_version=pl.lit("9"))
        if "dob" in table.columns:
            table = table.with_columns(anchor_year=pl.col("dob").str.head(4), anchor_age=pl.lit("0"))
        (folder / "hosp").mkdir(exist_ok=True)
        with gzip.open(folder / "hosp" / file.name.lower(), "wb") as out:
            out.write(table.write_csv().encode())
    return folder


def meds(folder):
    extract(f"mimic3:{mimic3(folder / 'tables')}", folder / "meds", _splits, memory_gb=1.0)
    return folder / "meds"


def _splits(subject_N):
    return np.array(["train", "train", "tuning", "held_out"])[subject_N % 4]


def eicu(folder):
    if not (DATA / "eicu_demo").is_dir():
        pytest.skip("open data is not here: eicu_demo (set CKD_DATA)")
    return DATA / "eicu_demo"


TABLES = {"mimic3": mimic3, "mimic4": mimic4, "eicu": eicu, "meds": meds}


def pipeline(run, source, *arguments):
    """Run a study on a source to the end; return its metrics."""
    said = ckd("pipeline", *arguments, "--source", source, "--run", run, "--local")
    assert said.code == 0, said.err
    return json.loads((run / "report" / "metrics.json").read_text())


@pytest.mark.parametrize("kind", [*TABLES, "synthetic"])
def test_disease(kind, tmp_path):
    source = f"{kind}:{'150' if kind == 'synthetic' else TABLES[kind](tmp_path / 'data')}"
    pipeline(tmp_path / "run", source, "--recipe", "tiny", *SMALL, "extract.train_fraction=0.5")
    assert ckd("status", tmp_path / "run").code == 0 and DiseaseRun(tmp_path / "run").student.is_dir()


@pytest.mark.parametrize("kind", concepts.SOURCES)
def test_concepts(kind, tmp_path):
    arguments = [*SMALLEST_CONCEPTS]
    if kind == "synthetic":
        source = "synthetic:80"
    elif kind == "findings":
        write_sites(tmp_path / "data", 80, seed=1)
        source = f"findings:{tmp_path / 'data'}"
    else:
        place = TABLES[kind](tmp_path / "data")
        again = TABLES[kind](tmp_path / "again") if kind != "eicu" else place
        source = f"A={kind}:{place},B={kind}:{again}"
        if kind == "eicu":
            source, arguments = f"eicu:{place}", [*arguments, "sites.by=region"]
    metrics = pipeline(tmp_path / "run", source, *arguments)
    assert title_of(f"{kind}:7", concepts.SOURCES) in json.dumps(metrics)


def made_notes(folder):
    folder.mkdir(parents=True)
    return [note | {"text": note["text"].replace("\n", " ")} for note in notes(40, seed=0)]


def jsonl(folder):
    lines = [json.dumps(note) for note in made_notes(folder)]
    (folder / "notes.jsonl").write_text("\n".join(lines) + "\n")


def hf(folder):
    rows = [{name: note[name] for name in ("name", "text", "mentions")} for note in made_notes(folder)]
    Dataset.from_list(rows).save_to_disk(folder)


def brat(folder):
    for note in made_notes(folder):
        name, lines = note["name"].replace("/", "_"), []
        for number, each in enumerate(note["mentions"], 1):
            said = note["text"][each["start"] : each["end"]]
            lines.append(f"T{number}\t{each['type']} {each['start']} {each['end']}\t{said}\n")
        (folder / f"{name}.txt").write_text(note["text"])
        (folder / f"{name}.ann").write_text("".join(lines))


def pubtator(folder):
    blocks = []
    for number, note in enumerate(made_notes(folder), 1):
        rows = [f"{number}|t|A note\n{number}|a|{note['text']}\n"]
        for each in note["mentions"]:
            start, end = each["start"] + len("A note "), each["end"] + len("A note ")
            rows.append(f"{number}\t{start}\t{end}\t{note['text'][each['start'] : each['end']]}\t{each['type']}\tx\n")
        blocks.append("".join(rows))
    (folder / "corpus.txt").write_text("\n".join(blocks))


def iob(folder):
    lines = []
    for note in made_notes(folder):
        lines.append("-DOCSTART-\tO\n\n")
        place = 0
        for word in note["text"].split():
            place = note["text"].index(word, place)
            tag = "O"
            for each in note["mentions"]:
                if each["start"] <= place < each["end"]:
                    tag = ("B-" if place == each["start"] else "I-") + each["type"]
            lines.append(f"{word}\t{tag}\n")
            place += len(word)
        lines.append("\n")
    (folder / "corpus.tsv").write_text("".join(lines))


def text(folder):
    for note in made_notes(folder):
        (folder / f"{note['name'].replace('/', '_')}.txt").write_text(note["text"])


def table_of_notes(file, key, folder):
    rows = [[number, number, note["text"]] for number, note in enumerate(made_notes(folder), 1)]
    with (folder / file).open("w", newline="") as out:
        csv.writer(out, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n").writerows(
            [[key, "subject_id", "text"], *rows]
        )


CORPORA = {
    "brat": brat,
    "iob": iob,
    "pubtator": pubtator,
    "jsonl": jsonl,
    "hf": hf,
    "text": text,
    "mimic3": lambda folder: table_of_notes("NOTEEVENTS.csv", "row_id", folder),
    "mimic4": lambda folder: table_of_notes("discharge.csv", "note_id", folder),
}
BARE = ("text", "mimic3", "mimic4")  # nobody annotated them, so there is a student and nothing to score it by


@pytest.mark.parametrize("kind", ner.SOURCES)
def test_ner(kind, tmp_path):
    if kind == "synthetic":
        source, names = "synthetic:40", []
    else:
        CORPORA[kind](tmp_path / "data")
        write_synthetic_notes(tmp_path / "names", 1, seed=0)
        file = tmp_path / "names" / "vocabulary" / "disease.tsv"
        source = f"{kind}:{tmp_path / 'data'}"
        names = [f"label.ontologies=[{{name: names, vocabularies: ['disease=tsv:{file}']}}]"]
    if kind not in BARE:
        metrics = pipeline(tmp_path / "run", source, *SMALLEST_NER, *names)
        assert title_of(f"{kind}:7", ner.SOURCES).partition(" of 7")[0] in json.dumps(metrics)
        return
    by_dictionary = ["label.teacher=false", "student.gold_sizes=[1]", "combine.by=model"]
    where = ["--source", source, "--run", tmp_path / "run", "--local"]
    said = ckd("pipeline", *SMALLEST_NER, *names, *by_dictionary, *where)
    assert said.code == 0 and "no student of human labels alone" in said.out
    assert "no held-out note is annotated, so there is no report" in said.out
    assert (tmp_path / "run" / "student" / "model.safetensors").is_file()
