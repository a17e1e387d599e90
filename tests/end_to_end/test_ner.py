"""The second study from synthetic notes to its report, by the command line, without Ray; and what users do next."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from transformers import AutoModelForTokenClassification, AutoTokenizer, pipeline

from ckd_dist import record
from ckd_dist.notes.document import Document
from ckd_dist.notes.note import Mention, decode, encode
from ckd_dist.notes.read import read_corpus
from ckd_dist.notes.splits import split_corpus
from ckd_dist.schema import FEWEST_SUBJECTS, SPLITS
from ckd_dist.softlabels.plan import Plan
from ckd_dist.softlabels.read import read_labels
from ckd_dist.studies import open_dataset
from ckd_dist.studies.ner import STUDY
from ckd_dist.studies.ner.predict import find_entities
from ckd_dist.studies.ner.recipes import RECIPES
from ckd_dist.studies.ner.runfolder import NerRun
from ckd_dist.studies.ner.store import read_notes
from tests.end_to_end.small import ckd, files, hashes, ledger_of, passed, times

CANARY = "xyzzycanaryitis"  # twenty times, of one subject
SURNAME = "qwertzuiop"  # of ten subjects, one fewer than may be told of
SMALL = [
    *(f"{part}.tiny.{shape}" for part in ("teacher", "student") for shape in ("hidden=32", "layers=1", "heads=2")),
    "teacher.optim.epochs=1",
    "student.optim.epochs=2",
    "student.gold_sizes=[0]",
    "label.shard_rows=32",
    "evaluate.bootstrap_draws=100",
    "evaluate.timing_documents=2",
]
RECORDS = ("notes", "tables", "entities", "answers")  # the folders that hold text of notes


def run_pipeline(run, *arguments):
    said = ckd("pipeline", "--recipe", "ner_tiny", "--run", run.root, "--local", *SMALL, *arguments)
    assert said.code == 0, said.err
    return said


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run.  Read it; copy it to change anything."""
    run = NerRun(tmp_path_factory.mktemp("ner") / "run")
    run_pipeline(run, "--source", "synthetic:60")
    return run


@pytest.fixture
def copy(finished, tmp_path):
    return NerRun(shutil.copytree(finished.root, tmp_path / "copy"))


def test_the_run_ends_and_a_second_run_does_nothing(finished):
    assert {state.state for state in ledger_of(finished).status()} == {"done"}
    before = hashes(finished)
    said = ckd("pipeline", "--run", finished.root, "--local")
    assert passed(said.out) == list(STUDY.stages)
    assert hashes(finished) == before
    assert ckd("verify", finished.root).code == 0


def test_every_labeler_is_scored_beside_the_students(finished):
    scored = json.loads((finished.report / "metrics.json").read_text())
    names = [system["name"] for system in scored["systems"]]
    assert names == ["ontology", "local lists", "teacher", "combination", "student", "human"]
    assert {line["system"] for line in scored["costs"]} == {"ontology", "local lists", "teacher", "student"}
    assert [point["gold_notes"] for point in scored["curve"] if point["arm"] == "distilled"] == [0, 60]


def test_no_patient_and_no_text_lies_in_two_splits(finished):
    stored = {split: read_notes(finished.notes(split)) for split in SPLITS}
    for what in (lambda s: s.subjects, lambda s: [note.text for note in s.notes]):
        seen = [set(what(stored[split])) for split in SPLITS]
        assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])


def test_gold_of_every_note_is_the_planted_characters(finished):
    written = {
        line["name"]: line for line in map(json.loads, (finished.tables / "notes.jsonl").read_text().splitlines())
    }
    for split in SPLITS:
        stored = read_notes(finished.notes(split))
        for name, note in zip(stored.names, stored.notes, strict=True):
            planted = {(m["start"], m["end"], m["type"]) for m in written[name]["mentions"]}
            assert {tuple(mention) for mention in note.mentions} == planted


def test_the_student_annotates_new_notes(finished, tmp_path):
    """Text in, entities out: JSON lines and brat say the same, and so does Hugging Face's own pipeline."""
    source = tmp_path / "notes"
    source.mkdir()
    stored = read_notes(finished.notes("held_out"))
    for name, note in zip(stored.names[:6], stored.notes[:6], strict=True):
        (source / f"{name.replace('/', '_')}.txt").write_text(note.text, newline="")
    said = ckd("annotate", "--model", finished.student, "--notes", source, "--out", tmp_path / "out")
    assert said.code == 0, said.err
    assert "6 notes" in said.out and "words a second" in said.out
    lines = [json.loads(line) for line in (tmp_path / "out" / "entities.jsonl").read_text().splitlines()]
    assert len(lines) == 6
    for line in lines:
        for entity in line["entities"]:
            assert line["text"][entity["start"] : entity["end"]] == entity["text"] and 0 < entity["score"] <= 1
    in_brat = {document.name: set(document.mentions) for document in read_corpus(f"brat:{tmp_path}/out/brat").documents}
    in_json = {line["name"]: {Mention(e["start"], e["end"], e["type"]) for e in line["entities"]} for line in lines}
    assert in_brat == in_json
    assert (tmp_path / "out" / "entities.html").is_file()


def test_the_folder_runs_in_hugging_faces_pipeline(finished):
    """Its entities begin and end with words; how near it comes to annotate: tests/studies/ner/test_pipeline_call.py."""
    find = pipeline("token-classification", model=str(finished.student), aggregation_strategy="first")
    note = read_notes(finished.notes("held_out")).notes[0]
    for entity in find(note.text[: note.end_U[60]]):
        assert entity["entity_group"] in {"disease", "medication", "symptom"}
        assert entity["start"] in note.start_U and entity["end"] in note.end_U


def test_the_saved_tagger_gives_the_logits_that_were_exported(finished):
    """Plain transformers, every word alone at its first sub-word, against `annotate`'s own windows."""
    model, tokenizer = (
        kind.from_pretrained(finished.student) for kind in (AutoModelForTokenClassification, AutoTokenizer)
    )
    stored = read_notes(finished.notes("held_out"))
    note = min((n for n in stored.notes if len(n) > 5), key=len)
    words, types = note.words(), json.loads(finished.tags.read_text())["types"]
    encoded = tokenizer(words, is_split_into_words=True, return_tensors="pt")
    if encoded.input_ids.shape[1] <= 128:  # one window
        tags = model(**encoded).logits[0].argmax(1).numpy()
        first = [encoded.word_ids().index(word) for word in range(len(words))]
        ours = [entity.mention for entity in next(find_entities(finished.student, [note]))]
        assert ours == decode(note, tags[first], types) or not _follows(tags[first])


def _follows(tags):
    before = np.concatenate([[0], tags[:-1]])
    inside = (tags > 0) & (tags % 2 == 0)
    return not (inside & (before != tags) & (before != tags - 1)).any()


def test_a_lost_shard_is_made_again_and_alone(copy):
    """The same tags to the bit; no other shard of any labeler is touched."""
    plans = json.loads(copy.stage("label").read_text())["numbers"]["plans"]
    lost = sorted((copy.softlabels / plans["train"]["ontology"]).glob("shard-*.safetensors"))[0]
    content, before = lost.read_bytes(), times(copy)
    lost.unlink()
    said = ckd("label", "--run", copy.root, "--local")
    assert said.code == 0, said.err
    assert lost.read_bytes() == content
    after = times(copy)
    written = {path for path in before if path.endswith(".safetensors") and after[path] != before[path]}
    assert written == {str(lost.relative_to(copy.root))}


@pytest.mark.parametrize(
    ("override", "redone"),
    [
        ("student.base=/models/bert", {"window_student", "distill", "evaluate"}),
        ("student.max_tokens=96", {"window_student", "distill", "evaluate"}),
        ("student.crf=true", {"distill", "evaluate"}),
        ("teacher.max_tokens=256", {"window_teacher", "train_teacher", "label", "combine", "distill", "evaluate"}),
    ],
)
def test_another_student_keeps_the_teacher_and_its_tags(finished, override, redone):
    found = {state.name for state in ledger_of(finished, override).status() if state.state != "done"}
    assert found == redone


def test_another_vocabulary_redoes_labels_and_not_windows(copy):
    said = ckd("status", copy.root, "label.ontologies=[{name: ontology, vocabularies: ['disease=synthetic:problems']}]")
    state = {line.split()[0]: line.split()[1] for line in said.out.splitlines() if len(line.split()) > 1}
    assert {state[name] for name in ("read", "window_teacher", "window_student", "train_teacher")} == {"done"}
    assert (state["label"], state["combine"], state["distill"]) == ("stale",) * 3


@pytest.mark.parametrize("way", ["read", "combine"])
def test_a_field_of_how_redoes_nothing(copy, way):
    said = ckd("status", copy.root, "label.micro_tokens=99", "student.workers.num=1", "teacher.optim.micro_tokens=512")
    assert "stale" not in said.out


def test_a_label_model_and_a_crf_run_through_too(copy):
    """No gold for the combination; transitions beside the weights, put back when notes are read."""
    said = ckd(
        "pipeline", "--run", copy.root, "--local", "combine.by=model", "student.crf=true", "student.gold_sizes=[]"
    )
    assert said.code == 0, said.err
    assert "windows" not in said.out or "train_teacher    done already" in said.out
    scored = json.loads((copy.report / "metrics.json").read_text())
    assert scored["choices"] == [] and "curve" in scored
    assert (copy.student / "crf.safetensors").is_file()
    out = copy.root / "out"
    with_crf = ckd("annotate", "--model", copy.student, "--notes", f"jsonl:{copy.tables / 'notes.jsonl'}", "--out", out)
    assert with_crf.code == 0, with_crf.err
    entities = (out / "entities.jsonl").read_bytes()
    (copy.student / "crf.safetensors").unlink()
    said = ckd("annotate", "--model", copy.student, "--notes", f"jsonl:{copy.tables / 'notes.jsonl'}", "--out", out)
    assert said.code == 2 and (out / "entities.jsonl").read_bytes() == entities


# --- mistakes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("label.ontologies=[{name: a},{name: a}]", "two labelers are called 'a'"),
        ("label.ontologies=[{name: student}]", "cannot be called 'student'"),
        ("label.ontologies=[{name: x, vocabularies: ['disease=tsv:/nowhere/x.tsv']}]", "x.tsv"),
        ("label.endpoints=[{name: far, url: 'https://api.example.com/v1'}]", "egress"),
        ("student.max_tokens=40", "window of 40"),
        ("combine.by=guess", "combine.by"),
    ],
)
def test_a_mistake_is_one_sentence_and_loses_nothing(copy, override, sentence):
    before = {path: digest for path, digest in hashes(copy).items() if path.startswith(("softlabels", "student"))}
    said = ckd("pipeline", "--run", copy.root, "--local", override, "student.context_tokens=19")
    assert said.code == 2, said.out
    assert sentence in said.err and len(said.err.strip().splitlines()) == 1
    after = hashes(copy)
    assert all(after[path] == digest for path, digest in before.items())


def test_a_stage_of_the_other_study_is_refused_by_name(copy):
    said = ckd("prompt_teacher", "--run", copy.root, "--local")
    assert said.code == 2 and "prompt_teacher is a stage of study disease" in said.err


def test_annotate_says_what_it_wants(finished, tmp_path):
    assert ckd("annotate", "--notes", tmp_path).code == 2
    assert "no tagger of this project" in ckd(
        "annotate", "--model", finished.teacher, "--notes", f"jsonl:{finished.tables}", "--out", tmp_path / "out"
    ).err  # fmt: skip


# --- records -----------------------------------------------------------------------------------------------------


def test_no_word_of_a_note_leaves_the_notes(tmp_path):
    """A planted word, in every note of one patient, is found where notes are kept and nowhere else."""
    lines = []
    notes = RECIPES["ner_tiny"]().notes
    subjects = [Document(f"note{number}", f"text {number}", None, str(number)) for number in range(40)]
    splits = split_corpus(subjects, notes.train_fraction, notes.tuning_fraction, notes.split_seed)
    one, *few = [number for number, split in enumerate(splits) if split == "train"][:FEWEST_SUBJECTS]
    for number in range(40):
        text = f"Patient with diabetes and {CANARY}. Was given aspirin." + f" {CANARY}, {CANARY}." * 10
        mentions = [
            {"start": 13, "end": 21, "type": "disease"},
            {"start": 26, "end": 26 + len(CANARY), "type": "disease"},
        ]
        text = text if number == one else text.replace(CANARY, "a mild headache and gout"[: number % 12 + 8])
        text += f" Seen by {SURNAME}, {SURNAME}." * 5 * (number in few)
        lines.append(
            {"name": f"note{number}", "subject": str(number), "text": text, "mentions": mentions[: 1 + (number == one)]}
        )
    corpus = tmp_path / "notes.jsonl"
    corpus.write_text("".join(json.dumps(line) + "\n" for line in lines))
    names = tmp_path / "names.tsv"
    names.write_text("diabetes\naspirin\n")
    run = NerRun(tmp_path / "run")
    run_pipeline(
        run, "--source", f"jsonl:{corpus}", f"label.ontologies=[{{name: names, vocabularies: ['disease=tsv:{names}']}}]"
    )
    where = [read_notes(run.notes(split)) for split in SPLITS]
    for word in (CANARY, SURNAME):  # learned from, and often
        assert "".join(note.text for note in where[0].notes).count(word) > 15
    for file in files(run.root):
        if file.relative_to(run.root).parts[0] not in RECORDS:
            for word in (CANARY, SURNAME):
                assert word.encode() not in file.read_bytes().lower(), file
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert pl.read_parquet(run.notes("train"))["text"].len() > 0


# --- a language model that is asked ----------------------------------------------------------------------------


def test_a_language_model_labels_and_is_never_asked_twice(copy):
    """A real server on loopback.  Its answers, tokens and price come into the report; a second run asks nothing."""
    from tests.endpoints.server import completion, serve

    def answer(body):
        """Says that the first word of every line is a disease, and invents one."""
        lines = [line.partition(" ")[2] for line in body["messages"][-1]["content"].splitlines() if line[:1] == "["]
        first = {n: re.search(r"(?<!\S)[A-Za-z]+(?!\S)", line) for n, line in enumerate(lines, 1)}
        stated = [{"line": n, "text": word[0], "type": "disease"} for n, word in first.items() if word]
        return completion(json.dumps({"entities": [*stated, {"line": 1, "text": "plague", "type": "disease"}]}))

    with serve(answer) as server:
        asked = f"{{name: llm, url: '{server.url}', model: m, usd_per_million_input: 2, usd_per_million_output: 8}}"
        said = ckd("pipeline", "--run", copy.root, "--local", f"label.endpoints=[{asked}]")
        assert said.code == 0, said.err
        num_asked = len(server.bodies)
        assert num_asked > 0
        scored = json.loads((copy.report / "metrics.json").read_text())
        for name in ("label", "combine", "evaluate"):
            copy.stage(name).unlink()
        shutil.rmtree(copy.softlabels)
        assert ckd("pipeline", "--run", copy.root, "--local").code == 0
        assert len(server.bodies) == num_asked
    again = json.loads((copy.report / "metrics.json").read_text())
    for report in (scored, again):
        assert report["answers"]["llm"]["invented"] == num_asked
        cost = next(line for line in report["costs"] if line["system"] == "llm")
        num_notes = report["answers"]["llm"]["notes"]
        assert cost["input_tokens"] == pytest.approx(100 * num_asked / num_notes * 1000)
        assert cost["usd"] == pytest.approx((100 * 2 + 20 * 8) / 1e6 * num_asked / num_notes * 1000)


def test_a_language_model_that_apologizes_is_refused_and_a_mended_one_is_asked_again(copy):
    """Its silence would teach the student that no word is an entity (notes_concepts N3)."""
    from tests.endpoints.server import completion, serve

    said_by_server = ["Sorry, I cannot help."]
    with serve(lambda _: completion(said_by_server[-1])) as server:
        asked = f"label.endpoints=[{{name: llm, url: '{server.url}', model: m}}]"
        said = ckd("label", "--run", copy.root, "--local", asked)
        assert said.code == 1 and len(said.err.strip().splitlines()) == 1
        assert "answers of m hold no list of entities" in said.err and "run the label stage again" in said.err
        assert "failed, all others are done" in said.err
        num_asked = len(server.bodies)
        said_by_server.append('{"entities": []}')
        said = ckd("label", "--run", copy.root, "--local")
        assert said.code == 0, said.err
        assert "names of disease" in said.out and "llm: " in said.out and "unread" not in said.out
        assert len(server.bodies) > num_asked


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_run_on_two_ray_workers_and_zero3(tmp_path):
    """What `make demo-ner` does, at its smallest, with an adapter."""
    run = NerRun(tmp_path / "run")
    lora = ["teacher.tuning=lora", "teacher.sharding=zero3_lora"]  # the other tests here train all of it
    command = [sys.executable, "-m", "launch.run", "pipeline", "--recipe", "ner_tiny", "--run", str(run.root), *lora]
    done = subprocess.run(
        [*command, "--source", "synthetic:60", *SMALL], env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ranks = {int(file.parent.name.split("-w")[1].split("-")[0]) for file in run.root.rglob("COMMITTED")}
    assert ranks == {2}, "every checkpoint is one of two ranks"
    assert {state.state for state in ledger_of(run).status()} == {"done"}
    assert json.loads((run.report / "metrics.json").read_text())["primary"] == "student"
    assert (run.teacher / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize("split", SPLITS)
def test_the_run_opens_as_a_data_set_of_its_notes_and_combined_tags(finished, split):
    dataset, stored, types = open_dataset(finished.root, split), read_notes(finished.notes(split)), finished.types()
    made = record.read(finished, "combine").numbers["plans"][split]
    plan = Plan.open(finished.softlabels, made)
    sample_id_N, logits_UK = read_labels(finished.softlabels, plan, finished.tag_columns())
    soft = dict(zip(sample_id_N.tolist(), np.split(logits_UK, plan.offsets_N1[1:-1]), strict=True))
    assert dataset.features["ner_tags"].feature.names == finished.tag_columns()
    assert list(dataset["sample_id"]) == stored.sample_id_N.tolist() and list(dataset["name"]) == stored.names
    assert list(dataset["subject"]) == stored.subjects and list(dataset["text"]) == [n.text for n in stored.notes]
    for row, note in zip(dataset, stored.notes, strict=True):
        assert row["tokens"] == note.words() and row["word_start"] == note.start_U.tolist()
        assert tuple(Mention(**mention) for mention in row["mentions"]) == note.mentions
        assert row["ner_tags"] == encode(note, note.mentions, types)[0].tolist()
        np.testing.assert_array_equal(np.float32(row["soft_labels"]), soft[row["sample_id"]])


def test_the_data_set_is_a_source_again(finished, tmp_path):
    said = ckd("dataset", "--run", finished.root, "--out", tmp_path / "out")
    assert said.code == 0, said.err
    corpus = read_corpus(f"hf:{tmp_path / 'out'}")
    wanted = [(split, read_notes(finished.notes(split))) for split in SPLITS]
    assert [(d.split, d.name, d.subject, d.text, d.mentions) for d in corpus.documents] == [
        (split, name, subject, note.text, note.mentions)
        for split, stored in wanted
        for name, subject, note in zip(stored.names, stored.subjects, stored.notes, strict=True)
    ]
