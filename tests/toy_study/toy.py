"""A whole study in one small file: independent workers square numbers, two ranks add them up in a report."""

from typing import Literal

import torch
from pydantic.dataclasses import dataclass

from ckd_dist.config import STRICT, Workers, how, what
from ckd_dist.files import write
from ckd_dist.study import Context, Jobs, Outcome, Stage, Study


@dataclass(frozen=True, config=STRICT)
class Squares:
    last: int = what(6, "largest number that is squared", ge=1)
    workers: Workers = how(Workers(), "independent workers")


@dataclass(frozen=True, config=STRICT)
class Report:
    weight: float = what(1.0, "factor of the sum")
    workers: Workers = how(Workers(num=2), "ranks")


@dataclass(frozen=True, config=STRICT)
class ToyRecipe:
    """The smallest recipe there is."""

    study: Literal["toy"] = how("toy", "which study")
    squares: Squares = what(Squares(), "numbers to squares")
    report: Report = what(Report(), "squares to their sum")


def files_of(context: Context) -> list:
    return [context.run.root / "squares" / f"{n + 1}.txt" for n in range(context.recipe.squares.last)]


class Squarer:
    def __init__(self, context: Context, device: str) -> None:
        self.files = files_of(context)

    def do(self, number: int) -> None:
        write(self.files[number], str((number + 1) ** 2))


def missing(context: Context) -> list[int]:
    return [number for number, file in enumerate(files_of(context)) if not file.is_file()]


SQUARE = Jobs(missing, Squarer, lambda context: Outcome(files_of(context)))


def report(context: Context) -> Outcome | None:
    mine = files_of(context)[context.world.rank :: context.world.num_ranks]
    total = context.world.total(torch.tensor(sum(int(file.read_text()) for file in mine)))  # a collective
    if context.world.is_leader:
        sentence = f"The sum is {context.recipe.report.weight * total:g}."
        write(context.run.report / "report.html", sentence)
    return Outcome([context.run.report / "report.html"], {"ranks": context.world.num_ranks})


STUDY = Study(
    "toy",
    "Sums of squares.",
    ToyRecipe,
    {"toy": ToyRecipe},
    (
        Stage("square", f"{__name__}:SQUARE", "Numbers to squares.", part="squares", runs="jobs"),
        Stage("report", f"{__name__}:report", "Squares to report.", part="report", runs="ranks", reads={"square": ()}),
    ),
)
