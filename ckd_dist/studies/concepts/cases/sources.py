"""Read every source into cases and concepts, whatever its form, and join them into one table of sites."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import polars as pl

from ckd_dist.ehr import codes
from ckd_dist.ehr.events import read_codes, read_events
from ckd_dist.ehr.extract import SOURCES, extract
from ckd_dist.ehr.sources import num_subjects
from ckd_dist.ehr.splits import split_of
from ckd_dist.files import files_below
from ckd_dist.progress import Track
from ckd_dist.schema import SPLITS
from ckd_dist.studies.concepts.cases.built import Built, join_sources
from ckd_dist.studies.concepts.cases.findings import read_findings
from ckd_dist.studies.concepts.cases.outcomes import build_cases
from ckd_dist.studies.concepts.config import Sites
from ckd_dist.studies.concepts.runfolder import ConceptsRun
from ckd_dist.studies.concepts.synthetic.sites import write_sites

LABELS = "phenotypes25"  # of the next visit


def read_sources(settings: Sites, run: ConceptsRun, track: Track) -> tuple[Built, list[Path]]:
    """Read the cases of all sources as one; return them, and the files that were written on the way."""
    if not settings.sources:
        raise ValueError("sites.sources is empty: give --source eicu:DIR, findings:DIR, A=mimic3:DIR,B=mimic4:DIR, ...")
    _check_each_once(settings.sources)
    built, files = [], []
    for place, source in enumerate(settings.sources):
        name, _, where = source.rpartition("=")
        kind, _, path = where.partition(":")
        if kind == "synthetic":
            write_sites(run.tables, num_subjects(where), settings.synthetic_seed)
            built.append(read_findings(run.tables, settings, name=name or None))
            files += files_below(run.tables)
        elif kind == "findings":
            built.append(read_findings(Path(path).expanduser(), settings, name=name or None))
        elif kind not in SOURCES:
            known = ", ".join(f"{each}:DIR" for each in SOURCES)
            raise ValueError(f"source {source!r} is none of {known}, findings:DIR, synthetic:N")
        else:
            built.append(_from_events(settings, run.site_events(place), name or None, where))
            files += files_below(run.site_events(place))
        track(place + 1, len(settings.sources))
    return join_sources(built, settings), files


def _check_each_once(sources: tuple[str, ...]) -> None:
    """Refuse a source that is given twice; two synthetic ones are the same patients, whatever their numbers."""
    places = [source.rpartition("=")[2] for source in sources]
    kinds = ["synthetic" if place.startswith("synthetic:") else place for place in places]
    for place, kind in zip(places, kinds, strict=True):
        if kinds.count(kind) > 1:
            raise ValueError(f"source {place!r} is given twice, and its cases would count twice: give each source once")


def _from_events(settings: Sites, folder: Path, name: str | None, where: str) -> Built:
    """Read a hospital's tables, as events first."""
    splits = partial(split_of, train=settings.train_fraction, tuning=settings.tuning_fraction, seed=settings.split_seed)
    extract(where, folder, splits, settings.memory_gb)
    events = pl.concat([read_events(folder, split) for split in SPLITS if _has(folder, split)])
    labels = codes.load_label_set(LABELS) if settings.outcome == "next_visit" else None
    return build_cases(events, _titles(folder), settings, source=where, name=name, label_set=labels)


def _has(folder: Path, split: str) -> bool:
    return any((folder / "data" / split).glob("*.parquet"))


def _titles(folder: Path) -> Mapping[str, str]:
    """Read what the source's codes are called."""
    described = read_codes(folder).drop_nulls()
    return dict(zip(described["code"], described["description"], strict=True))
