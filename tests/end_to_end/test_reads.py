"""Every study at its smallest: a stage reads no other file than it declares, and `plan` announces what comes.

Alone with the files that it declares a stage runs, and to the same bytes.
"""

import importlib
import re
import shutil
from fnmatch import fnmatch

import pytest

from ckd_dist import progress, record
from ckd_dist.engine.group import join
from ckd_dist.softlabels.plan import Plan
from ckd_dist.studies import STUDIES
from ckd_dist.study import Context, begin_jobs, finish_jobs, resolve, run_stage
from launch.choose import choose
from launch.driver import plan
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


def test_plan_announces_what_came(finished):
    """Steps of every training phase, and what was labelled in how many shards."""
    study, run = finished
    sizes = {line.name: line.size for line in plan(*choose(STUDIES, run.root, None, None, []))}
    {"disease": compare_disease, "ner": compare_ner, "concepts": compare_concepts}[study.name](sizes, run)


def compare_disease(sizes, run):
    assert announced(sizes["train_teacher"], "steps") == [sum(steps_made(run, "train_teacher"))]
    assert announced(sizes["distill"], "steps") == steps_made(run, "distill")  # of the student, and of its baseline
    labelled = plans_of(run, record.read(run, "label").numbers.values())
    assert announced(sizes["label"], "samples") == [sum(each.num_rows for each in labelled)]
    assert announced(sizes["label"], "shards") == [num_shard_files(run, labelled)]


def compare_ner(sizes, run):
    (teacher,), students = steps_made(run, "train_teacher"), steps_made(run, "distill")
    assert announced(sizes["train_teacher"], "steps") == pytest.approx([teacher], abs=1)  # "about"
    assert announced(sizes["distill"], "steps") == students[:1]
    assert announced(sizes["distill"], "students") == [len(students)]
    assert students == pytest.approx(students[:1] * len(students), abs=1)  # "of about as many steps each"
    by_split = [plans_of(run, each.values()) for each in record.read(run, "label").numbers["plans"].values()]
    num_labelers, num_notes = announced(sizes["label"], "labelers"), announced(sizes["label"], "notes each")
    assert num_labelers == [max(len(each) for each in by_split)]
    assert num_notes == [sum(each[0].num_rows for each in by_split)]


def compare_concepts(sizes, run):
    (steps,) = steps_made(run, "distill")
    (most,) = announced(sizes["distill"], "steps")
    assert most * 0.5 < steps <= most  # of all phrases, of which it learns those that the source says
    plans = plans_of(run, record.read(run, "embed").numbers.values())
    assert announced(sizes["embed"], "embeddings?") == [len(plans)]
    assert announced(sizes["embed"], "phrases") == [plans[0].num_rows]
    assert announced(sizes["transfer"], "experiments") == steps_made(run, "transfer")


def announced(size, what):
    """The numbers of `what` in a stage's size."""
    return [int(number.replace(",", "")) for number in re.findall(rf"([\d,]+) {what}\b", size)]


def steps_made(run, stage):
    """How many steps each phase of a finished stage had, as its progress says."""
    points, _ = progress.read(run.progress(stage))
    return [point.total for point in points if point.done == point.total and "saved" not in point.numbers]


def plans_of(run, hashes):
    return [Plan.open(run.softlabels, each) for each in hashes]


def num_shard_files(run, plans):
    return sum(1 for each in plans for _ in each.folder(run.softlabels).glob("shard-*.safetensors"))
