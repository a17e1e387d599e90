"""Jobs without Ray: a bad one does not hold back the others, whether or not it was tried in an earlier start."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from pydantic.dataclasses import dataclass

from ckd_dist.config import STRICT, how, what
from ckd_dist.files import write
from ckd_dist.runfolder import RunFolder
from ckd_dist.study import Callbacks, Context, Jobs, Outcome, Stage, Study
from launch import here
from launch.lock import JobsFailed

TOTAL = 12


@dataclass(frozen=True, config=STRICT)
class Part:
    bad: tuple[int, ...] = what((), "jobs that fail")


@dataclass(frozen=True, config=STRICT)
class Recipe:
    study: Literal["numbers"] = how("numbers", "name of the study")
    part: Part = what(Part(), "numbers to files")


def file_of(context: Context, number: int) -> Path:
    return context.run.root / f"{number}.txt"


class Doer:
    def __init__(self, context: Context, device: str) -> None:
        self.context = context

    def do(self, number: int) -> None:
        if number in self.context.recipe.part.bad:
            raise ValueError(f"job {number} is bad")
        write(file_of(self.context, number), "done")


def missing(context: Context) -> list[int]:
    return [number for number in range(TOTAL) if not file_of(context, number).is_file()]


JOBS = Jobs(missing, Doer, lambda context: Outcome([file_of(context, number) for number in range(TOTAL)]))
STAGE = Stage("count", f"{__name__}:JOBS", "Numbers to files.", part="part", runs="jobs")
STUDY = Study("numbers", "Numbers.", Recipe, {}, (STAGE,))


@pytest.mark.parametrize("bad", [(0, 1, 2, 3, 4), (0, 5, 11), (7, 8, 9, 10, 11), tuple(range(0, 12, 2))])
def test_all_good_jobs_are_done_and_the_bad_ones_named(bad, tmp_path):
    context = Context(Recipe(part=Part(bad=bad)), RunFolder(tmp_path))
    with pytest.raises(JobsFailed, match=f"jobs {', '.join(map(str, bad))} of {TOTAL} failed"):
        here.run_here(STUDY, STAGE, context)
    assert missing(context) == list(bad)


def test_what_failed_in_an_earlier_start_does_not_hold_back_what_was_not_tried(tmp_path):
    """The first five of twelve are bad; the earlier start was ended before it came to the others."""
    context = Context(Recipe(part=Part(bad=(0, 1, 2, 3, 4))), RunFolder(tmp_path))
    ended = replace(context, callbacks=Callbacks(should_stop=iter([False, False, True]).__next__))
    here.run_here(STUDY, STAGE, ended)
    assert len(missing(context)) >= TOTAL - 2
    with pytest.raises(JobsFailed, match="0, 1, 2, 3, 4 of"):
        here.run_here(STUDY, STAGE, context)
    assert missing(context) == [0, 1, 2, 3, 4]
