"""A stage reads no other file than it declares: alone with those it runs, and to the same bytes."""

import importlib
import shutil
from fnmatch import fnmatch

import pytest

from ckd_dist import record
from ckd_dist.engine.group import join
from ckd_dist.studies import STUDIES
from ckd_dist.study import Context, begin_jobs, finish_jobs, resolve, run_stage
from tests.end_to_end.small import ckd, hashes, recipe_of


def is_timeless(path):
    """Reports and results of experiments say when they were made."""
    return path.endswith((".safetensors", ".parquet")) and not path.startswith("experiments/")


@pytest.fixture(scope="module", params=STUDIES)
def finished(request, tmp_path_factory):
    """A finished run of a study."""
    study = STUDIES[request.param]
    run = study.run_folder(tmp_path_factory.mktemp(request.param) / "run")
    said = ckd(
        "pipeline",
        "--run",
        run.root,
        "--local",
        *importlib.import_module(f"tests.studies.{request.param}.smallest").ARGUMENTS,
    )
    assert said.code == 0, said.err
    return study, run


def test_every_stage_runs_with_the_files_that_it_declares_and_no_other(finished, tmp_path):
    study, run = finished
    recipe, before = recipe_of(run), hashes(run)
    for stage in (each for each in study.all_stages if each.needed(recipe)):
        alone = study.run_folder(tmp_path / stage.name)
        for path in declared(study, stage, recipe, run):
            (alone.root / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(run.root / path, alone.root / path)
        work(study, stage, Context(recipe, alone))
        made = {path: sha for path, sha in record.read(alone, stage.name).files.items() if is_timeless(path)}
        assert {path: before[path] for path in made} == made, stage.name


def declared(study, stage, recipe, run):
    """Paths of the files that a stage says it reads, and the records of the stages that wrote them."""
    for earlier, patterns in stage.reads.items():
        if study.stages[earlier].needed(recipe):
            yield f"stages/{earlier}.json"
            files = record.read(run, earlier).files
            yield from (
                path for path in files if not patterns or any(fnmatch(path, each.lstrip("!")) for each in patterns)
            )


def work(study, stage, context):
    """Do a stage in this process, as the driver does, whatever the stages before it would say."""
    if stage.runs == "jobs":
        context, missing = begin_jobs(study, stage, context)
        worker = resolve(stage.work).worker(context, "cpu")
        for number in missing:
            worker.do(number)
        return finish_jobs(stage, context)
    if stage.runs == "ranks":
        join(context.world)
    run_stage(study, stage, context)
