"""Read every source into cases and concepts, whatever its form, and join them into one table of sites."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import polars as pl

from ckd_dist.ehr.events import read_codes, read_events
from ckd_dist.ehr.extract import extract
from ckd_dist.ehr.kept import account_of
from ckd_dist.ehr.labelset import load_label_set
from ckd_dist.ehr.sources import REAL
from ckd_dist.ehr.staging import Report
from ckd_dist.files import files_below
from ckd_dist.progress import Track
from ckd_dist.schema import SPLITS
from ckd_dist.source import SYNTHETIC, Source, find_source, is_synthetic, split_source
from ckd_dist.studies.concepts.cases.built import Built, JoinOptions, join_sources, split_subjects
from ckd_dist.studies.concepts.cases.findings import read_findings
from ckd_dist.studies.concepts.cases.kept import check_joined
from ckd_dist.studies.concepts.cases.options import CaseOptions
from ckd_dist.studies.concepts.cases.outcomes import build_cases
from ckd_dist.studies.concepts.runfolder import ConceptsRun
from ckd_dist.studies.concepts.synthetic.sites import write_sites

LABELS = "phenotypes25"  # of the next visit

WriteEvents = Callable[[str], tuple[Path, Report]]  # of a source -> folder of its events, and what became of its rows


@dataclass(frozen=True)
class Sources:
    """What is read, and what reading takes."""

    sources: tuple[str, ...]
    synthetic_seed: int
    memory_gb: float  # at most


def read_sources(
    settings: Sources, cases: CaseOptions, joining: JoinOptions, run: ConceptsRun, track: Track
) -> tuple[Built, list[Path]]:
    """Read the cases of all sources as one; return them, and the files that were written on the way."""
    if not settings.sources:
        raise ValueError("sites.sources is empty: give --source eicu:DIR, findings:DIR, A=mimic3:DIR,B=mimic4:DIR, ...")
    _check_each_once(settings.sources)
    found = [find_source(without_name(source), SOURCES) for source in settings.sources]  # before any is read
    built, files = [], []
    for number, (source, (kind, place)) in enumerate(zip(settings.sources, found, strict=True)):
        folder = Path(place).expanduser()
        if kind.make:
            folder = run.tables
            kind.make(folder, int(place), settings.synthetic_seed)
            files += files_below(folder)
        write = partial(_write_events, run.site_events(number), joining, settings.memory_gb)
        found_cases, written = kind.read(source, folder, cases, write)
        built.append(found_cases)
        files += written
        track(number + 1, len(settings.sources))
    joined = join_sources(built, joining)
    with_events = not all(without_name(source).startswith("findings:") for source in settings.sources)
    check_joined(joined, cases.codes if with_events else ())
    return joined, files


def without_name(source: str) -> str:
    """Return a source without the name that its site is given.

    >>> without_name("A=mimic3:/data/mimic")
    'mimic3:/data/mimic'
    """
    _, kind, place = split_source(source)
    return kind + place


def _name_of(source: str) -> str | None:
    return split_source(source)[0].removesuffix("=") or None


def _check_each_once(sources: tuple[str, ...]) -> None:
    """Refuse a source that is given twice; two synthetic ones are the same patients, whatever their numbers."""
    places = [without_name(source) for source in sources]
    kinds = [SYNTHETIC if is_synthetic(place) else place for place in places]
    for place, kind in zip(places, kinds, strict=True):
        if kinds.count(kind) > 1:
            raise ValueError(f"source {place!r} is given twice, and its cases would count twice: give each source once")


def _write_events(events: Path, joining: JoinOptions, memory_gb: float, where: str) -> tuple[Path, Report]:
    """Write a hospital's tables as events, subjects split as all sources' are; return the folder and the report."""
    return events, extract(where, events, partial(split_subjects, options=joining), memory_gb)


def _from_findings(source: str, folder: Path, options: CaseOptions, _: WriteEvents) -> tuple[Built, list[Path]]:
    """Read tables that name cases and findings themselves; no events are written."""
    return read_findings(folder, options, name=_name_of(source)), []


def _from_events(source: str, folder: Path, options: CaseOptions, write: WriteEvents) -> tuple[Built, list[Path]]:
    """Read a hospital's tables, as events first.  write: writes them."""
    where, name = without_name(source), _name_of(source)
    events, report = write(where)
    frame = pl.concat([read_events(events, split) for split in SPLITS if _has(events, split)])
    labels = load_label_set(LABELS) if options.outcome == "next_visit" else None
    cases = build_cases(frame, _titles(events), options, source=where, name=name, label_set=labels)
    read = account_of(report)
    unnamed = _unnamed_drugs(report, options.by, name)
    cases = replace(cases, lost=cases.lost | read.lost, remarks=tuple(read.remarks), unnamed_drugs=unnamed)
    return cases, files_below(events)


def _unnamed_drugs(report: Report, by: str, name: str | None) -> dict[str, list[int]]:
    """Return site -> orders without a drug's name, all orders; none where the source does not count them."""
    places = report.get("unnamed_drugs", {})
    if name is None:
        return places.get(by, {})
    return {name: [sum(numbers) for numbers in zip(*places["hospital"].values(), strict=True)]} if places else {}


def _has(folder: Path, split: str) -> bool:
    return any((folder / "data" / split).glob("*.parquet"))


def _titles(folder: Path) -> Mapping[str, str]:
    """Read what the source's codes are called."""
    described = read_codes(folder).drop_nulls()
    return dict(zip(described["code"], described["description"], strict=True))


SOURCES = {kind: Source(_from_events, each.title) for kind, each in REAL.items()} | {
    "findings": Source(_from_findings, "tables of findings"),
    SYNTHETIC: Source(_from_findings, "two synthetic emergency departments", "N", make=write_sites),
}
