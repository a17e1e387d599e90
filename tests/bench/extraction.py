"""Measure tables to prompts: seconds and memory of the stages on a synthetic hospital of MIMIC-III's size.

    python tests/bench/extraction.py [--subjects 46000] [--real-length]

46,000 subjects have about 59,000 admissions.  The tables are made outside the clock, in a process of their own; the
four stages (extract, select, prompt_teacher, prompt_student) run in one fresh process, by the tiny recipe (its two tiny
models are made within the prompt stages); importing them is outside the clock.

Synthetic records are shorter than real ones.  --real-length writes more prescriptions, after the tables and before the
clock: every admission gets as many drugs as bring its student text to a length drawn between the quartiles of real
records (280/437/573 word pieces), each a name of the catalogue with one of 180 strengths and forms, so that there are
about as many drug names as in MIMIC-III.  Budgets rise to 2,048 and 1,024 tokens so that little is cut.  What it leaves
as it is: the diagnoses, procedures and earlier visits of a record, and a vocabulary of 1,300 tokens.
"""

import argparse
import gzip
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from machine import describe

from ckd_dist.config import dump
from ckd_dist.hospital.tables import write_tables
from ckd_dist.recipefile import load
from ckd_dist.schema import SPLITS
from ckd_dist.studies.disease import STUDY
from ckd_dist.studies.disease.prompts.tokens import TokenTable
from ckd_dist.studies.disease.runfolder import DiseaseRun
from ckd_dist.study import Context, resolve, run_stage

MEAN_VISITS = 1.28
TARGET_SECONDS, TARGET_GB = 180, 4.0
STAGES = [STUDY.stages[name] for name in ("extract", "select", "prompt_teacher", "prompt_student")]
FORMS = ("tablet", "vial", "syringe")
REAL = [60, 280, 437, 573, 1000]  # word pieces at the quantiles 0, 0.25, 0.5, 0.75, 1
SHORT, PIECES_PER_DRUG = (
    165,
    6.0,
)  # a record as the hospital writes it; one more drug (both measured with --subjects 2000)


@dataclass(frozen=True)
class Measured:
    """What the stages took, and how long the records came out."""

    seconds: dict[str, float]  # by stage
    cpu_seconds: float  # of all stages and threads: what a busy machine does not change much
    peak_gb: float  # of the process, and of its largest child where it had any
    lengths: dict[str, np.ndarray]  # tokens of every prompt, by role


def make_tables(folder: Path, num_subjects: int, real_length: bool) -> dict[str, int]:
    """Write the hospital into `folder`; return the rows of each table."""
    num_rows = write_tables(folder, num_subjects, seed=0, mean_visits=MEAN_VISITS)
    if real_length:
        num_rows["PRESCRIPTIONS"] = prescribe_more(folder / "PRESCRIPTIONS.csv.gz")
    return num_rows


def prescribe_more(file: Path) -> int:
    """Add drugs to every admission until its record is as long as a real one; return the rows of the table then."""
    random = np.random.default_rng(0)
    table = pl.read_csv(file, infer_schema=False)
    visits = table.unique("HADM_ID", keep="first", maintain_order=True)
    target = np.interp(random.random(len(visits)), np.linspace(0, 1, len(REAL)), REAL)
    num_more = ((target - SHORT) / PIECES_PER_DRUG).clip(0).astype(int)
    names = table["DRUG"].unique().sort().to_numpy()
    names = np.array([f"{name} {mg} mg {form}" for name in names for mg in range(5, 305, 5) for form in FORMS])
    more = visits[np.arange(len(visits)).repeat(num_more)].with_columns(DRUG=random.choice(names, num_more.sum()))
    whole = pl.concat([table, more]).with_columns(ROW_ID=pl.int_range(1, pl.len() + 1))
    with gzip.open(file, "wb", compresslevel=1) as out:
        for part in whole.iter_slices(100_000):
            out.write(part.write_csv(include_header=out.tell() == 0).encode())
    return len(whole)


def run_stages(tables: Path, folder: Path, real_length: bool) -> Measured:
    """Run the stages; call it in a process that has done nothing else."""
    budgets = ["prompt.teacher_tokens=2048", "prompt.student_tokens=1024"] if real_length else []
    tiny, overrides = STUDY.recipes["tiny"](), [f"extract.source=mimic3:{tables}", *budgets]
    context, seconds = Context(load(type(tiny), dump(tiny), overrides), DiseaseRun(folder)), {}
    for stage in STAGES:
        resolve(stage.work)  # imports it
    cpu_start = time.process_time()
    for stage in STAGES:
        start = time.perf_counter()
        run_stage(STUDY, stage, context)
        seconds[stage.name] = time.perf_counter() - start
    cpu_seconds = time.process_time() - cpu_start
    lengths = {role: lengths_of(context.run, role) for role in ("teacher", "student")}
    return Measured(seconds, cpu_seconds, peak_gb(), lengths)


def lengths_of(run: DiseaseRun, role: str) -> np.ndarray:
    """Return the tokens of every prompt of all splits."""
    return np.concatenate([TokenTable.open(run.tokens(split, role)).lengths for split in SPLITS])


def peak_gb() -> float:
    """Return the most memory that this process held, plus the most that one of its children did, GB."""
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(resource.getrusage(whose).ru_maxrss for whose in who) * 1024 / 1e9


def in_fresh_process(function: Callable, *arguments: Any) -> Any:
    """Return what `function` returns in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subjects", type=int, default=46_000)
    parser.add_argument(
        "--real-length", action="store_true", help="records as long as real ones, by more prescriptions"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        tables, folder = Path(temporary) / "tables", Path(temporary) / "run"
        num_rows = in_fresh_process(make_tables, tables, args.subjects, args.real_length)
        measured = in_fresh_process(run_stages, tables, folder, args.real_length)
    print(describe())
    print(
        f"{num_rows['PATIENTS']:,} subjects, {num_rows['ADMISSIONS']:,} admissions, {sum(num_rows.values()):,} rows"
        + (", more prescriptions than the hospital writes" if args.real_length else "")
    )
    for role, lengths in measured.lengths.items():
        quartiles = np.quantile(lengths, [0.25, 0.5, 0.75]).astype(int).tolist()
        print(f"  {role}: {len(lengths):,} prompts of {lengths.mean():.0f} tokens, quartiles {quartiles}")
    for name, seconds in measured.seconds.items():
        print(f"  {name:<14} {seconds:7.1f} s")
    total = sum(measured.seconds.values())
    print(
        f"  {'total':<14} {total:7.1f} s, target {TARGET_SECONDS} s: {'met' if total <= TARGET_SECONDS else 'MISSED'}"
    )
    print(f"  {'CPU':<14} {measured.cpu_seconds:7.1f} s over all threads")
    is_small = measured.peak_gb <= TARGET_GB
    print(f"  {'peak':<14} {measured.peak_gb:7.2f} GB, target {TARGET_GB:.0f} GB: {'met' if is_small else 'MISSED'}")


if __name__ == "__main__":
    main()
