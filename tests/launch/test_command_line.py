"""A user's mistake is one sentence and exit code 2; --help knows every field; looking writes nothing."""

import errno
import json
import time

import pytest

from ckd_dist.config import walk
from ckd_dist.files import write
from ckd_dist.recipefile import load, save
from ckd_dist.runfolder import LAYOUT, RunFolder
from ckd_dist.studies import STUDIES
from launch import lock
from launch import run as command_line
from launch.choose import absolute, choose, find_recipe
from launch.run import stages_until
from launch.verdict import verdict

TINY = ["--recipe", "tiny", "--source", "synthetic:100"]


def call(capsys, *arguments):
    code = command_line.main(arguments)
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([*TINY, "teacher.lora.rnk=8"], "did you mean 'teacher.lora.rank'"),
        ([*TINY, "teacher.lora.rank=0"], "recipe field teacher.lora.rank"),
        ([*TINY, "teacher.lora.rank"], "not of the form field=value"),
        (["--recipe", "enormous"], "no recipe 'enormous'"),
        ([], "give --recipe"),
        (["--recipe", ""], "no recipe ''"),
        (["--recipe", "tiny", "--source", "mimic3:/no/such/folder"], "/no/such/folder"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(tmp_path, capsys, arguments, words):
    code, _, err = call(capsys, "extract", "--run", str(tmp_path / "run"), *arguments)
    assert code == 2
    assert words in err
    assert len(err.strip().splitlines()) == 1
    assert "Traceback" not in err


def test_an_unknown_command_or_option_is_refused(tmp_path, capsys):
    assert call(capsys, "distil", "--run", str(tmp_path))[0] == 2
    assert call(capsys, "distill", "--rum", str(tmp_path))[0] == 2


@pytest.mark.parametrize("command", ["status", "verify"])
def test_looking_at_no_run_folder_is_refused(tmp_path, capsys, command):
    code, _, err = call(capsys, command, str(tmp_path))
    assert code == 2
    assert "no run folder" in err


RECIPES = {name: study for study in STUDIES.values() for name in study.recipes}
COMMANDS = sorted({*(name for study in STUDIES.values() for name in study.stages), "pipeline"})
OTHERS = [*(command.name for study in STUDIES.values() for command in study.commands), "plan", "status", "verify"]


@pytest.mark.parametrize("recipe", RECIPES)
def test_help_shows_the_recipe_s_own_study_in_at_most_40_lines(capsys, recipe):
    study = RECIPES[recipe]
    for command in ("pipeline", *study.stages):
        code, out, _ = call(capsys, command, "--recipe", recipe, "--help")
        assert code == 0
        assert len(out.splitlines()) <= 40, out
        part = study.stages[command].part if command in study.stages else None
        others = {
            each.stages[command].help for each in STUDIES.values() if command in each.stages and each is not study
        }
        assert not [text for text in others if text.rstrip(".") in " ".join(out.split())]
        parts = {name for name, _, _ in walk(study.recipes[recipe]())}
        shown = {line.split()[0].removesuffix(".*") for line in out.splitlines() if line.strip()}
        own = {name.split(".")[0] for name in parts} if part is None else {part}
        assert all(any(each == name or each.startswith(f"{name}.") for each in shown) for name in own), out


@pytest.mark.parametrize("command", [None, *COMMANDS, *OTHERS, "fields", "recipes"])
def test_every_help_is_at_most_40_lines(capsys, command):
    code, out, _ = call(capsys, *([command] if command else []), "--help")
    assert code == 0
    assert len(out.splitlines()) <= 40, out


def test_help_of_a_run_folder_shows_the_recipe_that_it_keeps(tmp_path, capsys):
    save(STUDIES["ner"].recipes["ner_tiny"](), RunFolder(tmp_path).recipe)
    _, out, _ = call(capsys, "distill", "--run", str(tmp_path), "--help")
    assert "student.crf" in out


@pytest.mark.parametrize("recipe", RECIPES)
def test_fields_shows_every_field_with_the_recipe_s_own_value(capsys, recipe):
    code, out, _ = call(capsys, "fields", "--recipe", recipe)
    assert code == 0
    for name, _, _ in walk(RECIPES[recipe].recipes[recipe]()):
        assert f" {name} " in out


def test_fields_of_a_part(capsys):
    _, out, _ = call(capsys, "fields", "--recipe", "tiny", "teacher")
    assert " teacher.lora.rank " in out and " 8 " in out
    assert " student.loss.temperature " not in out
    code, _, err = call(capsys, "fields", "--recipe", "tiny", "teachers")
    assert code == 2 and "no field 'teachers'" in err and "teacher" in err


def test_recipes_lists_all_and_their_study(capsys):
    _, out, _ = call(capsys, "recipes")
    for name, study in RECIPES.items():
        assert any(line.split()[:2] == [name, study.name] for line in out.splitlines())


def test_a_hint_names_the_command_that_was_typed(capsys):
    assert "`python -m launch.run recipes` lists them" in call(capsys, "label", "--help")[1]
    assert "`python -m launch.run fields --recipe tiny label` shows" in call(capsys, "label", "--help", *TINY)[1]
    assert "Usage: python -m launch.run label" in call(capsys, "label", "--help")[1]


def test_version(capsys):
    assert call(capsys, "--version")[:2] == (0, "ckd_dist 0.1.0\n")


def test_every_field_of_every_study_has_a_meaning():
    for study in STUDIES.values():
        assert [name for name, _, info in walk(study.recipe()) if not info.description] == []


def test_a_command_of_another_study_says_whose_it_is(tmp_path, capsys):
    save(STUDIES["ner"].recipes["ner_tiny"](), RunFolder(tmp_path).recipe)
    code, _, err = call(capsys, "export", str(tmp_path), "--out", str(tmp_path / "out"))
    assert (code, len(err.splitlines())) == (2, 1)
    assert "export is a command of study disease" in err and "a run of ner" in err
    code, _, err = call(capsys, "extract", "--run", str(tmp_path))
    assert (code, len(err.splitlines())) == (2, 1)
    assert "extract is a stage of study disease" in err and "read, window_teacher" in err


def test_a_run_folder_of_another_study_is_not_overwritten(tmp_path, capsys):
    save(STUDIES["disease"].recipes["tiny"](), RunFolder(tmp_path).recipe)
    kept = RunFolder(tmp_path).recipe.read_bytes()
    code, _, err = call(capsys, "pipeline", "--run", str(tmp_path), "--recipe", "ner_tiny", "--local")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "is a run of study disease" in err and "give another --run" in err
    assert RunFolder(tmp_path).recipe.read_bytes() == kept
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.json"]


@pytest.mark.parametrize("layout", [None, 1, LAYOUT + 1])
def test_a_run_folder_of_another_layout_is_refused_in_a_sentence(tmp_path, capsys, layout):
    kept = {"study": "disease", "name": "tiny"} | ({"layout": layout} if layout else {})
    RunFolder(tmp_path).recipe.write_text(json.dumps(kept))
    for command in (["status", str(tmp_path)], ["verify", str(tmp_path)], ["extract", "--run", str(tmp_path), *TINY]):
        code, _, err = call(capsys, *command)
        assert (code, len(err.splitlines())) == (2, 1)
        assert "layout" in err and "another --run folder" in err
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.json"]


@pytest.mark.parametrize("kept", ["name: mine", "study: radiology"])
def test_a_recipe_file_says_its_study(tmp_path, capsys, kept):
    file = tmp_path / "mine.yaml"
    file.write_text(kept)
    code, _, err = call(capsys, "plan", "--run", str(tmp_path / "run"), "--recipe", str(file))
    assert code == 2 and "give study: disease or ner or concepts" in err


def test_a_dry_run_writes_nothing(tmp_path, capsys):
    code, out, _ = call(capsys, "pipeline", "--run", str(tmp_path / "run"), *TINY, "--dry-run")
    assert code == 0
    assert "100 synthetic subjects" in out
    assert not (tmp_path / "run").exists()


def test_pipeline_stops_after_the_stage_that_is_named(tmp_path, capsys):
    code, out, err = call(capsys, "pipeline", "--run", str(tmp_path), *TINY, "--local", "--until", "extract")
    assert code == 0, err
    assert "extract" in out and "select" not in out and "report" not in out
    assert [file.stem for file in RunFolder(tmp_path).stage("any").parent.iterdir()] == ["extract"]
    assert "until" not in RunFolder(tmp_path).recipe.read_text()  # the command's, not the recipe's


def test_of_earlier_stages_only_those_run_that_the_named_one_reads():
    disease = STUDIES["disease"]
    assert stages_until(disease, "train-teacher") == ["extract", "select", "prompt_teacher", "train_teacher"]
    assert stages_until(disease, "evaluate") == list(disease.stages)
    assert stages_until(disease, None) == list(disease.stages)


def test_an_unknown_last_stage_is_one_sentence_before_anything_is_written(tmp_path, capsys):
    code, _, err = call(capsys, "pipeline", "--run", str(tmp_path / "run"), *TINY, "--local", "--until", "teach")
    assert code == 2 and "--until teach: study disease has no such stage, it has extract, select" in err
    assert len(err.strip().splitlines()) == 1 and not (tmp_path / "run").exists()


def test_paths_of_a_recipe_are_absolute_because_workers_run_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tables").mkdir()
    (tmp_path / "labels.yaml").touch()
    chosen = choose(STUDIES, tmp_path, "tiny", "mimic3:tables", ["select.labels=labels.yaml"])[1].recipe
    assert chosen.extract.source == f"mimic3:{tmp_path}/tables"
    assert chosen.select.labels == f"{tmp_path}/labels.yaml"
    assert chosen.teacher.base == "tiny"


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("hf:corpus", "hf:{}/corpus"),
        ("hf:", "hf:"),
        ("A=mimic3:", "A=mimic3:"),
        ("hf:owner/name:corpus", "hf:owner/name:corpus"),  # a configuration that is called as a folder here
        ("hf:corpus/misspelt", "hf:{}/corpus/misspelt"),  # workers that stand elsewhere must not ask the hub
        ("hf:./misspelt", "hf:{}/misspelt"),
        ("hf:owner/name", "hf:owner/name"),
        ("iob:a=b:c", "iob:{}/a=b:c"),
        ("A=mimic3:corpus", "A=mimic3:{}/corpus"),
        ("A=iob:a=b:c", "A=iob:{}/a=b:c"),
        ("disease=do:corpus", "disease=do:{}/corpus"),
        ("synthetic:100", "synthetic:100"),
        ("http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000/v1/"),
        ("Which of these: " + "a long text " * 99, "Which of these: " + "a long text " * 99),
    ],
)
def test_a_value_s_place_begins_at_its_first_colon(tmp_path, monkeypatch, value, wanted):
    monkeypatch.chdir(tmp_path)
    for name in ("corpus", "a=b:c", "100"):
        (tmp_path / name).mkdir()
    assert absolute(value) == wanted.format(tmp_path)


def test_without_a_recipe_the_run_folder_s_own_is_meant(tmp_path):
    recipe = load(STUDIES["disease"].recipe, {}, ["student.optim.epochs=7"])
    save(recipe, RunFolder(tmp_path).recipe)
    study, context = choose(STUDIES, tmp_path)
    assert (study.name, context.recipe) == ("disease", recipe)


def test_a_submitted_job_needs_an_absolute_run_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    code, _, err = call(capsys, "extract", "--run", "here", *TINY)
    assert code == 2
    assert "absolute" in err


def test_a_full_disk_is_a_failure_that_says_what_to_do():
    words, code = verdict(OSError(errno.ENOSPC, "No space left on device", "/run/shard"))
    assert code == 1
    assert "make room" in words and "/run/shard" in words


def test_status_of_a_run_at_work_elsewhere_says_how_far_what_is_saved_and_which_faults_were_met(tmp_path, capsys):
    """A stage that trains, seen from a machine that only sees the folder; the recipe there says how often it saves."""
    folder, now = RunFolder(tmp_path / "run"), time.time()
    study, values = find_recipe(STUDIES, "tiny")
    minutes = "teacher.labels.save_minutes"
    save(load(study.recipe, values, ["extract.source=synthetic:100", f"{minutes}=30"]), folder.recipe)
    assert "at work" not in call(capsys, "status", str(folder.root))[1]
    write(lock.lock_file(folder), json.dumps({"pid": 7, "host": "elsewhere", "heartbeat": now}))
    points = [(600, 1, {}), (60, 54, {"saved": 50.0}), (2, 59, {"loss": 0.5})]
    lines = [json.dumps({"time": now - ago, "done": done, "total": 100, **more}) + "\n" for ago, done, more in points]
    write(folder.progress("train_teacher"), "".join(lines))
    write(lock.faults_file(lock.ray_folder(folder)), "".join(f"rank {n}: lost\n" for n in range(5)))
    code, out, _ = call(capsys, "status", str(folder.root))
    assert code == 0
    lock.lock_file(folder).unlink()
    left = call(capsys, "status", str(folder.root))[1].splitlines()[-1]
    assert " ".join(left.split()) == "train_teacher was left at 59 of 100, step 50 is saved"
    driver, far, saves, faults, *met = (line.split(maxsplit=1) for line in out.splitlines()[-7:])
    assert " ".join(driver) == "process 7 on elsewhere is at work"
    assert far[0] == "train_teacher" and far[1].startswith("59/100  59 %  10 s each")
    assert "saved: step 50, 1 min" in " ".join(saves) and "next save in 2" in " ".join(saves)
    assert faults[0] == "faults" and faults[1].startswith("5 so far, the last one ")
    assert [" ".join(line) for line in met] == [f"rank {n}: lost" for n in (2, 3, 4)]


def test_what_is_refused_for_want_of_room_changes_no_recipe_and_begins_nothing(tmp_path, capsys):
    folder = RunFolder(tmp_path / "run")
    assert call(capsys, "extract", "--run", str(folder.root), *TINY)[0] == 0
    before = folder.recipe.read_bytes()
    code, _, err = call(capsys, "pipeline", "--run", str(folder.root), *TINY, "teacher.workers.num=640")
    assert code == 2 and "teacher asks for 640 workers" in err
    assert folder.recipe.read_bytes() == before and not folder.stage("select").exists()


def test_verify_finds_a_flipped_byte(tmp_path, capsys):
    folder = str(tmp_path / "run")
    assert call(capsys, "extract", "--run", folder, *TINY)[0] == 0
    assert call(capsys, "verify", folder)[0] == 0
    file = next((tmp_path / "run" / "events").rglob("*.parquet"))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    code, _, err = call(capsys, "verify", folder)
    assert code == 1
    assert file.name in err
    code, out, _ = call(capsys, "status", folder)
    assert code == 0
    assert "extract" in out and "done" in out
