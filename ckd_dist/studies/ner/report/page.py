"""NerResults to metrics.json, report.md and report.html: the numbers are computed once and all three show the same."""

from pathlib import Path
from typing import Any

from ckd_dist.report.page import write_pages
from ckd_dist.studies.ner.report import plots
from ckd_dist.studies.ner.report.results import MATCHES, NerResults
from ckd_dist.studies.ner.report.tables import tables_of
from ckd_dist.studies.ner.report.wording import sentences_of

MOST_COLUMNS = 6  # types beside one another; more are listed below one another


def write_report(results: NerResults, folder: Path) -> dict[str, Any]:
    """Write the three files into `folder`; return what metrics.json holds.

    Raises ValueError where the parts of `results` do not fit together, before anything is written.
    """
    report = tables_of(results)
    return write_pages(
        folder,
        __package__,
        (results.provenance, report, sentences_of(report, results)),
        {"systems": plots.system_plot(report), "curve": plots.curve_plot(report)},
        matches=MATCHES,
        most_columns=MOST_COLUMNS,
        shown=results.titles(),
        answer_kinds=list(dict.fromkeys(what for counts in results.answers.values() for what in counts)),
    )
