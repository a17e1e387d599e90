"""How a stage is run exactly once: passed where it is done, recorded from what it began with."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest
import torch
from pydantic.dataclasses import dataclass

from ckd_dist import record
from ckd_dist.config import STRICT, how, what
from ckd_dist.files import write
from ckd_dist.runfolder import RunFolder
from ckd_dist.study import Context, Jobs, Outcome, Stage, Study, begin_jobs, finish_jobs, run_stage
from ckd_dist.world import World
from launch import here
from tests.engine.fakes import run_ranks


@dataclass(frozen=True, config=STRICT)
class Part:
    source: str = what("", "file that is read")
    factor: int = what(1, "factor of its length")
    speed: int = how(1, "speed")


@dataclass(frozen=True, config=STRICT)
class Recipe:
    study: Literal["lengths"] = how("lengths", "name of the study")
    part: Part = what(Part(), "file to its length")


DONE = []  # what `measure` was called with


def measure(context: Context) -> Outcome | None:
    """Write how long the source is, then let it change, as a source may while a stage runs."""
    DONE.append(context.digest())
    source, out = Path(context.recipe.part.source), context.run.root / "length.txt"
    if context.callbacks.should_stop():
        return None
    write(out, str(len(source.read_text()) * context.recipe.part.factor))
    source.write_text(source.read_text() + "!")
    return Outcome([out], {"factor": context.recipe.part.factor}, {"seconds": len(DONE)}, "3 letters")


class Doer:
    def __init__(self, context: Context, device: str) -> None:
        self.file = context.run.root / f"{context.digest()}.txt"

    def do(self, number: int) -> None:
        write(self.file, "done")


def file_of(context: Context) -> Path:
    return context.run.root / f"{context.digest()}.txt"


JOBS = Jobs(lambda c: [] if file_of(c).is_file() else [0], Doer, lambda c: Outcome([file_of(c)]))
STUDY = Study(
    "lengths",
    "Lengths of files.",
    Recipe,
    {"lengths": Recipe},
    (
        Stage("measure", f"{__name__}:measure", "File to its length.", part="part", sources=("part.source",)),
        Stage("jobs", f"{__name__}:JOBS", "Length to jobs.", part="part", runs="jobs", reads={"measure": ()}),
    ),
)
MEASURE, JOB = STUDY.all_stages


@pytest.fixture
def context(tmp_path):
    DONE.clear()
    source = tmp_path / "source.txt"
    source.write_text("abc")
    return Context(Recipe(part=Part(source=str(source))), RunFolder(tmp_path / "run"))


def changed(context, **values):
    return replace(context, recipe=Recipe(part=replace(context.recipe.part, **values)))


def test_a_record_says_what_the_stage_began_with(context):
    """Its source changed while it ran: the output is of the old bytes, so it is stale at once."""
    run_stage(STUDY, MEASURE, context)
    state = STUDY.ledger(context.recipe, context.run).state("measure")
    assert (state.state, "part.source_files changed" in state.why) == ("stale", True)
    assert record.read(context.run, "measure").numbers == {"factor": 1}
    assert record.read(context.run, "measure").costs == {"seconds": 1}
    assert record.read(context.run, "measure").said == "3 letters"


def test_a_stage_that_is_done_is_passed(context):
    run_stage(STUDY, MEASURE, context)
    Path(context.recipe.part.source).write_text("abc")
    run_stage(STUDY, MEASURE, context)
    run_stage(STUDY, MEASURE, changed(context, speed=9))
    assert len(DONE) == 1
    run_stage(STUDY, MEASURE, changed(context, factor=2))
    assert len(DONE) == 2 and DONE[0] != DONE[1]


def test_a_stage_that_was_asked_to_stop_or_failed_has_no_record(context):
    run_stage(STUDY, MEASURE, context)
    stopping = replace(context, callbacks=replace(context.callbacks, should_stop=lambda: True))
    run_stage(STUDY, MEASURE, stopping)
    assert record.read(context.run, "measure") is None
    Path(context.recipe.part.source).unlink()
    with pytest.raises(FileNotFoundError):
        run_stage(STUDY, MEASURE, context)
    assert record.read(context.run, "measure") is None


def test_a_digest_is_of_fields_inputs_and_what_is_added(context):
    full = replace(context, fields={"a.b": 1, "c": 2}, inputs={"before": "x"})
    assert full.digest() == replace(context, fields={"c": 2, "a.b": 1}, inputs={"before": "x"}).digest()
    assert full.digest(without=["a"]) == replace(full, fields={"c": 2}).digest()
    others = [full.digest("soft"), full.digest(without=["c"]), replace(full, inputs={}).digest()]
    assert len({full.digest(), *others}) == 4


def test_all_parts_of_a_stage_of_jobs_know_what_it_depends_on(context):
    run_stage(STUDY, MEASURE, context)
    begun, missing = begin_jobs(STUDY, JOB, context)
    JOBS.worker(begun, "cpu").do(*missing)
    finish_jobs(JOB, begun)
    (file,) = record.read(context.run, "jobs").files
    assert file == f"{begun.digest()}.txt"
    assert begin_jobs(STUDY, JOB, changed(context, factor=3))[1] == [0], "another field, another job"


def test_another_process_than_the_leader_forgets_no_record(context):
    """Under torchrun it may come to the jobs when the leader has already finished them."""
    run_stage(STUDY, MEASURE, context)
    begun, missing = begin_jobs(STUDY, JOB, context)
    JOBS.worker(begun, "cpu").do(*missing)
    finish_jobs(JOB, begun)
    before = record.read(context.run, "jobs")
    here._do_jobs(STUDY, JOB, replace(context, world=World(rank=1, num_ranks=2)))
    assert record.read(context.run, "jobs") == before


def test_a_finished_stage_is_left_by_every_rank(context, monkeypatch):
    """No rank waits in a process group for a leader that has found nothing to do."""
    run_stage(STUDY, MEASURE, context)
    Path(context.recipe.part.source).write_text("abc")
    monkeypatch.setattr("ckd_dist.engine.group.join", lambda world: pytest.fail("it would wait"))
    here.run_here(STUDY, replace(MEASURE, runs="ranks"), replace(context, world=World(rank=1, num_ranks=2)))


def at_ranks(world, folder, done_on):
    """The stage on ranks of which those of `done_on` see a disk where it is done, and each its own source.

    Which digests it was done with, and whether there is a record at the end.
    """
    limit = timedelta(seconds=5)
    torch.distributed.init_process_group("gloo", rank=world.rank, world_size=world.num_ranks, timeout=limit)
    disk = Path(folder, str(world.rank))
    disk.mkdir()
    (source := disk / "source.txt").write_text("abc" * (1 + world.rank))
    context = Context(Recipe(part=Part(source=str(source))), RunFolder(disk / "run"))
    if world.rank in done_on:
        run_stage(STUDY, MEASURE, context)
        source.write_text("abc" * (1 + world.rank))
        DONE.clear()
    run_stage(STUDY, MEASURE, replace(context, world=world))
    return DONE, record.read(context.run, "measure") is not None


@pytest.mark.parametrize("done_on", [(), (0,), (1,)])
def test_the_leader_says_whether_a_stage_is_done_and_from_what(tmp_path, done_on):
    """Another node's cache of the file system may be older, or newer: no rank waits for one that has left."""
    (by_leader, recorded), (by_other, _) = run_ranks(2, at_ranks, str(tmp_path), done_on)
    assert recorded and by_leader == by_other and len(by_leader) == (0 if 0 in done_on else 1)


def test_a_stage_that_the_recipe_does_without_is_input_no_more(context):
    """Its reader is stale, although no field that shapes it has changed."""
    at_leisure = replace(MEASURE, needed=lambda recipe: recipe.part.speed == 1)
    study = replace(STUDY, all_stages=(at_leisure, JOB))
    run_stage(study, at_leisure, context)
    Path(context.recipe.part.source).write_text("abc")
    begun, missing = begin_jobs(study, JOB, context)
    JOBS.worker(begun, "cpu").do(*missing)
    finish_jobs(JOB, begun)
    assert study.ledger(context.recipe, context.run).is_done("jobs")
    state = study.ledger(changed(context, speed=2).recipe, context.run).state("jobs")
    assert (state.state, "measure, which this recipe does without" in state.why) == ("stale", True)
