"""A user's mistake is one sentence and exit code 2; --help knows every field; looking writes nothing."""

import errno

import pytest

from ckd_dist import recipes
from ckd_dist.config import Recipe, walk
from ckd_dist.schema import Run
from launch import run as command_line

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


def test_help_of_the_pipeline_explains_every_field(capsys):
    code, out, _ = call(capsys, "pipeline", "--help")
    assert code == 0
    for name, _, _ in walk(Recipe()):
        assert f" {name} " in out


def test_help_of_a_stage_explains_its_own_fields(capsys):
    _, out, _ = call(capsys, "train-teacher", "--help")
    assert " teacher.lora.rank " in out
    assert " student.loss.temperature " not in out


def test_every_field_has_words_and_a_unit_or_meaning():
    bare = [name for name, _, info in walk(Recipe()) if not info.description]
    assert not bare


def test_a_dry_run_writes_nothing(tmp_path, capsys):
    code, out, _ = call(capsys, "pipeline", "--run", str(tmp_path / "run"), *TINY, "--dry-run")
    assert code == 0
    assert "100 made-up subjects" in out
    assert not (tmp_path / "run").exists()


def test_paths_of_a_recipe_are_absolute_because_workers_stand_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tables").mkdir()
    (tmp_path / "labels.yaml").touch()
    chosen = command_line.choose(Run(tmp_path), "tiny", "mimic3:tables", ["select.labels=labels.yaml"])
    assert chosen.extract.source == f"mimic3:{tmp_path}/tables"
    assert chosen.select.labels == f"{tmp_path}/labels.yaml"
    assert chosen.teacher.base == "tiny"


def test_without_a_recipe_the_run_folder_s_own_is_meant(tmp_path):
    recipe = recipes.load("tiny", ["student.optim.epochs=7"])
    recipes.save(recipe, Run(tmp_path).recipe)
    assert command_line.choose(Run(tmp_path), None, None, None) == recipe


def test_a_submitted_job_needs_an_absolute_run_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    code, _, err = call(capsys, "extract", "--run", "here", *TINY)
    assert code == 2
    assert "absolute" in err


def test_a_full_disk_is_a_failure_that_says_what_to_do():
    words, code = command_line.verdict(OSError(errno.ENOSPC, "No space left on device", "/run/shard"))
    assert code == 1
    assert "make room" in words and "/run/shard" in words


def test_verify_finds_a_flipped_byte(tmp_path, capsys):
    folder = str(tmp_path / "run")
    assert call(capsys, "extract", "--run", folder, *TINY)[0] == 0
    assert call(capsys, "verify", folder)[0] == 0
    file = next(Run(tmp_path / "run").events.rglob("*.parquet"))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    code, _, err = call(capsys, "verify", folder)
    assert code == 1
    assert file.name in err
    code, out, _ = call(capsys, "status", folder)
    assert code == 0
    assert "extract" in out and "done" in out
