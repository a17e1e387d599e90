"""The third study from synthetic hospitals to its report, by the command line, without Ray; mistakes; records.

Under Ray, killed, at full length and on eICU: test_concepts_long.py.
"""

import json
import shutil
import stat

import numpy as np
import polars as pl
import pytest

from ckd_dist import record
from ckd_dist.ehr.splits import split_of
from ckd_dist.softlabels.plan import Plan
from ckd_dist.softlabels.read import read_labels
from ckd_dist.studies import open_dataset
from ckd_dist.studies.concepts import STUDY
from ckd_dist.studies.concepts.config import Sites
from ckd_dist.studies.concepts.result import Result
from ckd_dist.studies.concepts.runfolder import ConceptsRun
from ckd_dist.studies.concepts.synthetic import thesaurus
from tests.end_to_end.concepts import SYNTHETIC, TEACHER, findings, metrics, results, run_pipeline
from tests.end_to_end.small import ckd, files, hashes, ledger_of, passed, recipe_of, times, write_table
from tests.endpoints.server import serve, vectors

MARKS = (
    "xyzzycanaryosis",
    "qwopblorfitis",
    "zumbrakoma",
    "jekwiddle",
    "frabjousemia",
    "vorpalgia",
)  # no piece in common
SUBJECT = 770_000_000  # added to every subject's number: nothing else has nine digits that start so


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run.  Read it; copy it to change anything."""
    run = ConceptsRun(tmp_path_factory.mktemp("concepts") / "run")
    run_pipeline(run, SYNTHETIC, "grid.sizes=[30,5000]")
    return run


@pytest.fixture
def copy(finished, tmp_path):
    return ConceptsRun(shutil.copytree(finished.root, tmp_path / "copy"))


def test_the_run_opens_as_a_data_set_of_its_phrases_and_vectors(finished):
    splits = {split: open_dataset(finished.root, split) for split in ("train", "held_out")}
    [(name, plan)] = record.read(finished, "embed").numbers.items()
    row_N, vectors_ND = read_labels(finished.softlabels, plan, Plan.open(finished.softlabels, plan).names)
    phrases = sorted({*pl.read_parquet(finished.concepts)["text"], *thesaurus.phrases()})
    both = [row for dataset in splits.values() for row in dataset]
    assert sorted(row["sample_id"] for row in both) == list(range(len(phrases))) == sorted(row_N.tolist())
    for row in both:
        assert row["phrase"] == phrases[row["sample_id"]]
        np.testing.assert_array_equal(np.float32(row[f"vector {name}"]), vectors_ND[row_N == row["sample_id"]][0])
    with pytest.raises(ValueError, match="has no split 'tuning': give train or held_out"):
        open_dataset(finished.root, "tuning")

    foreign = set(splits["held_out"]["phrase"])
    assert foreign and foreign.isdisjoint(thesaurus.phrases()), "the recipe's own list may be learned from"


def states(said):
    """The first two columns of a table of stages."""
    rows = [line.split() for line in said.out.splitlines()]
    return {row[0]: row[1] for row in rows if row and row[0] in STUDY.stages}


def refused(said, *words):
    """Nothing but one sentence with these words; none of them Python's."""
    assert said.code == 2, said
    assert len(said.err.strip().splitlines()) == 1, said.err
    for word in words:
        assert word in said.err
    assert "Traceback" not in said.err + said.out and "fault of the program" not in said.err


def to_transfer(run, *overrides):
    """All stages but the report; what was said."""
    report = ""
    for name in list(STUDY.stages)[:-1]:
        said = ckd(name, "--run", run.root, "--local", *overrides)
        assert said.code == 0, said.err
        report += said.out
    return report


# --- the run --------------------------------------------------------------------------------------------------------


def test_the_run_ends_and_a_second_run_does_nothing(finished):
    assert {state.state for state in ledger_of(finished).status()} == {"done"}
    before, written = hashes(finished), times(finished)
    said = ckd("pipeline", "--run", finished.root, "--local")
    assert passed(said.out) == list(STUDY.stages)
    assert hashes(finished) == before
    assert {path for path, at in times(finished).items() if at != written[path]} <= {"recipe.json"}


def test_the_report_is_there_and_says_what_was_run(finished):
    report = metrics(finished)
    assert report["pairs"] == [["north", "south"], ["north", "north"]], "and the source's own model at home"
    assert set(report["embeddings"]) == {"tiny teacher", "student", "one-hot"}
    regimes = {score["regime"] for score in report["scores"]}
    assert regimes == set(recipe_of(finished).grid.regimes)
    assert {score["size"] for score in report["scores"]} == {None, 30}
    assert report["experiments"] == len(results(finished))
    for name in ("report.md", "report.html"):
        page = (finished.report / name).read_text()
        assert all(word in page for word in ("one-hot", "tiny teacher", "synthetic", "north → south", "oracle"))
        assert "<script" not in page and 'src="http' not in page, "it opens without a network"


def test_a_size_that_the_site_does_not_have_is_left_out_and_told(finished):
    num_train = next(split["cases"] for split in metrics(finished)["sites"][1]["splits"] if split["split"] == "train")
    assert not [experiment for experiment in results(finished) if experiment.size == 5000]
    for name in ("report.md", "report.html"):
        assert f"size 5000: south has {num_train} training cases" in (finished.report / name).read_text()


def test_every_table_is_keyed_and_no_model_holds_one(finished):
    """A model's file grows with its filters, not with the vocabulary: vectors lie in the table alone."""
    num_concepts = len(pl.read_parquet(finished.concepts))
    width = 32
    for experiment, result in results(finished).items():
        assert result.case_id_N.shape == result.probabilities_NK.shape[:1] > (0,)
        if experiment.embedding != "one-hot":
            held = finished.experiments / f"{experiment.name}.safetensors"
            assert held.stat().st_size < num_concepts * width * 4 + 4 * 100 * (width + 6)


def test_files_and_folders_are_their_owner_s_alone(finished):
    for path in [finished.root, *finished.root.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


# --- looking ---------------------------------------------------------------------------------------------------------


def test_status_verify_and_plan_say_that_all_is_done(finished):
    done = dict.fromkeys(STUDY.stages, "done")
    said = ckd("status", finished.root)
    assert said.code == 0 and states(said) == done
    said = ckd("verify", finished.root)
    assert said.code == 0 and "files hold what their stages wrote" in said.out
    said = ckd("plan", "--run", finished.root)
    assert said.code == 0 and states(said) == done
    assert f"{len(results(finished))} experiments" in said.out and "200 synthetic cases a site" in said.out


def test_verify_names_a_file_that_changed(copy):
    victim = sorted(copy.experiments.iterdir())[0]
    victim.write_bytes(victim.read_bytes()[:-1] + b"\0\0")
    said = ckd("verify", copy.root)
    assert said.code == 1 and victim.name in said.err


def test_a_dry_run_says_what_another_seed_costs_and_writes_nothing(finished, tmp_path):
    before = times(finished)
    said = ckd("pipeline", "--run", finished.root, "--dry-run", "grid.seeds=2")
    assert states(said) == dict.fromkeys(list(STUDY.stages)[:4], "done") | {"transfer": "stale", "evaluate": "stale"}
    assert f"{2 * len(results(finished))} experiments" in said.out and "grid.seeds" in said.out
    assert times(finished) == before
    said = ckd("pipeline", "--recipe", "concepts_tiny", "--run", tmp_path / "none", "--dry-run")
    assert set(states(said).values()) == {"missing"} and not (tmp_path / "none").exists()


def test_fields_of_the_study_are_shown_in_words():
    said = ckd("fields", "--recipe", "concepts_tiny")
    assert said.code == 0
    for word in ("sites.sources", "embed.models[].whiten", "embed.endpoints[].egress", "grid.pairs", "student.of"):
        assert word in said.out
    assert "typing" not in said.out and "Ellipsis" not in said.out


def test_another_seed_costs_its_own_experiments_alone(copy):
    before = times(copy)
    said = ckd("transfer", "--run", copy.root, "--local", "grid.seeds=2", "grid.steps_curve=1")
    assert said.code == 0, said.err
    after = times(copy)
    experiments = {path for path in after if path.startswith("experiments/")}
    old = {path for path in before if path.startswith("experiments/")}
    assert len(experiments) == 2 * len(old) and all(after[path] == before[path] for path in old)


def test_a_lost_experiment_and_a_lost_shard_are_made_again_and_alone(copy):
    """The same probabilities to the bit, the same vectors to the bit; nothing beside them is touched."""
    wanted = results(copy)
    experiment = next(
        experiment for experiment in wanted if (experiment.regime, experiment.embedding) == ("full", "tiny teacher")
    )
    lost = [
        copy.experiments / f"{experiment.name}.safetensors",
        sorted(copy.softlabels.glob("*/shard-*.safetensors"))[0],
    ]
    shard, before = lost[1].read_bytes(), times(copy)
    for file in lost:
        file.unlink()
    to_transfer(copy)
    assert lost[1].read_bytes() == shard
    assert np.array_equal(results(copy)[experiment].probabilities_NK, wanted[experiment].probabilities_NK)
    after = times(copy)
    again = {
        path for path in after if path.startswith(("experiments", "softlabels/")) and after[path] != before.get(path)
    }
    assert {path for path in again if path.endswith(".safetensors")} == {str(f.relative_to(copy.root)) for f in lost}


@pytest.mark.parametrize(
    ("override", "embeddings", "again"),
    [
        (
            f"embed.models=[{{{TEACHER}, whiten: 16}}]",
            {"tiny teacher", "student", "one-hot"},
            {"tiny teacher", "student"},
        ),
        ("embed.random=16", {"tiny teacher", "student", "one-hot", "random"}, {"random"}),
        ("embed.one_hot=false", {"tiny teacher", "student"}, set()),
    ],
)
def test_what_an_experiment_reads_decides_which_are_done_again(copy, override, embeddings, again):
    """Whitening and baselines are the experiments' doing: shards and student stand, and the report follows."""
    before = times(copy)
    to_transfer(copy, override)
    after = times(copy)
    kept = {path for path in before if path.startswith(("softlabels/", "student/")) and path.endswith(".safetensors")}
    assert len(kept) > 5 and all(after[path] == before[path] for path in kept)
    files_now = record.read(copy, "transfer").files
    paths = {path: Result.read(copy.root / path).experiment.embedding for path in files_now}
    assert set(paths.values()) == embeddings
    assert {paths[path] for path in paths if after[path] != before.get(path)} == again
    assert states(ckd("status", copy.root))["evaluate"] == "stale"


# --- mistakes --------------------------------------------------------------------------------------------------------

FAR = "embed.endpoints=[{name: far, url: 'https://api.example.com/v1'}]"


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("grid.pairs=['north->moon']", "'north->moon' is not SOURCE->TARGET or rest->TARGET of the sites north, south"),
        ("grid.pairs=['north=>south']", "is not SOURCE->TARGET"),
        ("sites.min_cases=500", "no site has 500 cases or more"),
        ("sites.keep=[east]", "sites.keep names east, but the sites are north, south"),
        ("student.of=giant teacher", "student.of names no embedding 'giant teacher': give one of tiny teacher"),
        (f"embed.models=[{{{TEACHER}, whiten: 33}}]", "whiten=33 asks for more directions than"),
        ("embed.models=[{name: random}]", "an embedding cannot be called 'random'"),
        ("embed.models=[{name: tiny teacher, base: /no/such/model}]", "/no/such/model"),
        (FAR, "'far' would send phrases to api.example.com, which is not this machine"),
        ("embed.phrases=/no/such/list.txt", "/no/such/list.txt"),
        ("sites.sources=['findings:/no/such/folder']", "/no/such/folder"),
        ("sites.sources=['eicu:/no/such/folder']", "/no/such/folder"),
        ("sites.sources=[]", "sites.sources is empty"),
        ("grid.regimes=[sharde]", "grid.regimes"),
    ],
)
def test_a_mistake_is_one_sentence_and_loses_nothing(finished, copy, override, sentence):
    before, written = hashes(copy), times(copy)
    said = ckd("pipeline", "--run", copy.root, "--local", override)
    refused(said, sentence)
    kept = ("tables/", "concepts/", "softlabels/", "student/", "embeddings/", "experiments/", "report/")
    after = hashes(copy)
    assert {path: digest for path, digest in before.items() if path.startswith(kept)}.items() <= after.items()
    assert record.verify(copy) == []
    if override.startswith(("grid", "student")):  # taken back, nothing is trained again
        said = ckd("pipeline", "--run", copy.root, "--local", "--recipe", finished.recipe)
        assert said.code == 0, said.err
        assert {path: at for path, at in times(copy).items() if path.startswith("experiments/")} == {
            path: at for path, at in written.items() if path.startswith("experiments/")
        }


@pytest.fixture
def tables(tmp_path):
    folder = tmp_path / "findings"
    return folder, findings(folder)


def read_again(folder, tmp_path, *overrides):
    run = ConceptsRun(tmp_path / "run")
    arguments = ("--recipe", "concepts_tiny", "--source", f"findings:{folder}", "--run", run.root, "--local")
    return run, ckd("read", *arguments, *overrides)


def test_a_wrong_state_is_counted_and_not_quoted(tables, tmp_path):
    folder, found = tables
    row = pl.int_range(pl.len()) == 3
    write_table(
        folder, "findings", found["findings"].with_columns(state=pl.when(row).then(pl.lit(MARKS[0])).otherwise("state"))
    )
    run, said = read_again(folder, tmp_path)
    refused(said, "1 of", "a state that is none of")
    assert MARKS[0] not in said.err + (run.root / "error.log").read_text()
    assert not run.stage("read").exists()
    write_table(folder, "findings", found["findings"])
    assert read_again(folder, tmp_path)[1].code == 0


def test_a_concept_that_the_list_lacks(tables, tmp_path):
    folder, found = tables
    write_table(folder, "concepts", found["concepts"].head(-1))
    refused(read_again(folder, tmp_path)[1], "rows have a concept that concepts.csv does not have")


def test_a_site_that_is_too_small_is_left_out_told_and_no_pair(tables, tmp_path):
    folder, found = tables
    row = pl.int_range(pl.len())
    write_table(
        folder, "cases", found["cases"].with_columns(site=pl.when(row < 40).then(pl.lit("hut")).otherwise("site"))
    )
    run, said = read_again(folder, tmp_path)
    assert said.code == 0, said.err
    flow = record.read(run, "read").numbers["flow"]
    assert ["site of fewer than 50 cases", 40, 360] in flow
    refused(ckd("pipeline", "--run", run.root, "--local", "grid.pairs=['hut->south']"), "of the sites north, south")


# --- records ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def marked(tmp_path_factory):
    """A finished run of two departments in each of which one person alone has a marked finding, of every split one."""
    folder = tmp_path_factory.mktemp("marked")
    found = findings(folder / "tables")
    number = pl.col("subject_id").cast(pl.Int64) + SUBJECT
    cases = found["cases"].with_columns(subject_id=number.cast(pl.String))
    fraction = Sites()
    split_N = split_of(
        cases["subject_id"].cast(pl.Int64).to_numpy(),
        train=fraction.train_fraction,
        tuning=fraction.tuning_fraction,
        seed=fraction.split_seed,
    )
    whose = cases.with_columns(split=pl.Series(split_N.tolist())).unique(["site", "split"], maintain_order=True)
    assert len(whose) == 6
    rare = whose.with_row_index("n").with_columns(concept=pl.format("X{}", "n"), state=pl.lit("present"))
    write_table(folder / "tables", "cases", cases)
    write_table(
        folder / "tables", "findings", pl.concat([found["findings"], rare.select("case_id", "concept", "state")])
    )
    texts = rare.select("concept", system=pl.lit("local"), text=pl.Series(MARKS))
    write_table(folder / "tables", "concepts", pl.concat([found["concepts"], texts]))
    run = ConceptsRun(folder / "run")
    return run, run_pipeline(run, f"findings:{folder / 'tables'}")


def holds_a_mark(text):
    return any(mark.encode() in text for mark in MARKS)


def test_the_mark_really_is_a_concept_of_single_persons(marked):
    run, _ = marked
    concepts = pl.read_parquet(run.concepts)
    rare = concepts.filter(pl.col("text").is_in(MARKS))["concept"]
    assert len(rare) == 6
    having = pl.read_parquet(run.cases).explode("concepts").filter(pl.col("concepts").is_in(rare.implode()))
    assert having.group_by("concepts").agg(pl.col("subject_id").n_unique())["subject_id"].to_list() == [1] * 6
    assert sorted(having.group_by("site", "split").len()["len"].to_list()) == [1] * 6


def test_no_word_of_a_single_person_and_no_number_leaves_the_concepts(marked):
    """Not the vocabulary of the small encoder either, which goes to other hospitals."""
    run, said = marked
    kinds = {file.relative_to(run.root).parts[0] for file in files(run.root)}
    assert {"base", "experiments", "embeddings", "progress", "report", "softlabels", "stages", "student"} <= kinds
    for file in files(run.root):
        if file.relative_to(run.root).parts[0] != "concepts":
            content = file.read_bytes().lower()
            assert not holds_a_mark(content), file
            if file.suffix in {".json", ".jsonl", ".md", ".html", ".log"} or "tfevents" in file.name:
                assert str(SUBJECT)[:4].encode() not in b" ".join(w for w in content.split() if w[:9].isdigit()), file
    assert not holds_a_mark((said.out + said.err).lower().encode())


@pytest.mark.parametrize("stage, file", [("embed", "concepts"), ("distill", "cases"), ("transfer", "cases")])
def test_a_stage_that_fails_quotes_no_record(marked, tmp_path, stage, file):
    run = ConceptsRun(shutil.copytree(marked[0].root, tmp_path / "copy"))
    path = run.root / "concepts" / f"{file}.parquet"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    run.stage(stage).unlink()
    said = ckd(stage, "--run", run.root, "--local")
    assert said.code != 0, "the fault was there"
    report = said.out + said.err + (run.root / "error.log").read_text()
    assert "Traceback" in report and "Traceback" not in said.out + said.err
    assert not holds_a_mark(report.lower().encode()) and str(SUBJECT)[:4] not in said.err


# --- a model that is asked -------------------------------------------------------------------------------------------


def test_an_endpoint_is_asked_once_and_its_answers_hold_no_phrase(copy):
    """A real server on loopback: every phrase once, and no more when shards, tables and experiments are lost."""

    def answer(body):
        return vectors([[float(len(phrase)), float(sum(phrase.encode()) % 97), 1.0] for phrase in body["input"]])

    with serve(answer) as server:
        asked = f"embed.endpoints=[{{name: served, url: '{server.url}', model: m, template: 'a finding: {{}}'}}]"
        said = ckd("pipeline", "--run", copy.root, "--local", asked)
        assert said.code == 0, said.err
        phrases = server.phrases()[1:]  # the first is asked to learn the width
        assert len(phrases) == len(set(phrases)) >= len(pl.read_parquet(copy.concepts)["text"].unique())
        assert all(phrase.startswith("a finding: ") for phrase in phrases)
        for name in ("embed", "tabulate"):
            copy.stage(name).unlink()
        shutil.rmtree(copy.softlabels)
        report = to_transfer(copy)
        assert server.phrases()[1:] == phrases
    assert "transfer         done already" in report, "the same tables to the bit"
    assert "served" in metrics(copy)["embeddings"]
    texts = pl.read_parquet(copy.concepts)["text"].str.to_lowercase().to_list()
    for file in files(copy.answers):
        assert not any(text.encode() in file.read_bytes().lower() for text in texts if len(text) > 8), file
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(copy.stage("embed").read_text())["numbers"]["served"]
