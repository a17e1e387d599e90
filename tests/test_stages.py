"""Stage records: done, stale and why, verified.  Twelve-line stages stand in for the real ones."""

import dataclasses

import pytest

from ckd_dist import recipes, stages
from ckd_dist.schema import Run


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path)


def do(recipe, run, name, text="content"):
    """A stage that writes one file."""
    stages.begin(recipe, run, name)
    file = run.root / name / "out.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    stages.finish(recipe, run, name, [file])


def states(recipe, run):
    return {state.name: state.state for state in stages.status(recipe, run)}


def test_a_finished_road_is_done_and_whole(run):
    recipe = recipes.tiny()
    for name in stages.DISEASE:
        do(recipe, run, name)
    assert set(states(recipe, run).values()) == {"done"}
    assert stages.verify(run) == []


def test_a_changed_field_redoes_its_stage_and_what_follows(run):
    recipe = recipes.tiny()
    for name in stages.DISEASE:
        do(recipe, run, name)
    changed = recipes.load("tiny", ["student.optim.epochs=7"])
    assert states(changed, run) == {
        **dict.fromkeys(["extract", "select", "prompt", "train_teacher", "label"], "done"),
        "distill": "stale",
        "evaluate": "stale",
    }
    assert "student.optim.epochs changed from 3.0 to 7.0" in stages.state(changed, run, "distill").why


def test_more_workers_change_nothing(run):
    recipe = recipes.tiny()
    for name in stages.DISEASE:
        do(recipe, run, name)
    more = dataclasses.replace(recipe, student=dataclasses.replace(recipe.student, workers=recipes.Workers(num=7)))
    assert set(states(more, run).values()) == {"done"}


def test_same_bytes_again_redo_nothing_after(run):
    recipe = recipes.tiny()
    for name in stages.DISEASE:
        do(recipe, run, name)
    do(recipe, run, "select", "content")
    assert set(states(recipe, run).values()) == {"done"}
    do(recipe, run, "select", "other content")
    assert states(recipe, run)["prompt"] == "stale"


def test_a_crash_inside_a_stage_leaves_it_missing(run):
    recipe = recipes.tiny()
    do(recipe, run, "extract")
    stages.begin(recipes.tiny(), run, "extract")
    assert states(recipe, run)["extract"] == "missing"


def test_a_stage_wants_what_it_reads(run):
    with pytest.raises(ValueError, match="run extract first"):
        stages.begin(recipes.tiny(), run, "select")


def test_verify_names_the_changed_and_the_missing_file(run):
    recipe = recipes.tiny()
    do(recipe, run, "extract")
    do(recipe, run, "select")
    (run.root / "extract" / "out.txt").write_text("contenu")
    (run.root / "select" / "out.txt").unlink()
    problems = stages.verify(run)
    assert len(problems) == 2
    assert "extract/out.txt" in problems[0] and "bytes changed" in problems[0]
    assert "select/out.txt" in problems[1] and "gone" in problems[1]


def test_new_tables_under_an_old_path_are_noticed(run, tmp_path):
    folder = tmp_path / "mimic"
    folder.mkdir()
    (folder / "ADMISSIONS.csv").write_text("a")
    recipe = recipes.load("tiny", [f"extract.source=mimic3:{folder}"])
    do(recipe, run, "extract")
    assert states(recipe, run)["extract"] == "done"
    (folder / "ADMISSIONS.csv").write_text("ab")
    assert states(recipe, run)["extract"] == "stale"
    (folder / "ADMISSIONS.csv").unlink()
    folder.rmdir()
    assert states(recipe, run)["extract"] == "done"


def test_imported_soft_labels_need_no_teacher(run):
    recipe = recipes.load("tiny", ["label.import_from=soft.json"])
    for name in ("extract", "select", "prompt"):
        do(recipe, run, name)
    assert states(recipe, run)["train_teacher"] == "done"
    do(recipe, run, "label")
    assert states(recipe, run)["label"] == "done"
