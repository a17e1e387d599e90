"""Write results as metrics.json, report.md and report.html: the numbers are computed once, for all three."""

from pathlib import Path
from typing import Any

from ckd_dist.report.compare import LEAST_SEEDS
from ckd_dist.report.metrics import LOWER_IS_BETTER, METRIC_TITLES
from ckd_dist.report.page import write_pages
from ckd_dist.studies.disease.report import plots
from ckd_dist.studies.disease.report.experiments import EXPERIMENT_METRICS
from ckd_dist.studies.disease.report.measure import COMPARED, GAP_METRICS, GROUP_METRICS, measure
from ckd_dist.studies.disease.report.results import Results
from ckd_dist.studies.disease.report.validation import sentence
from ckd_dist.studies.disease.report.verdicts import advice_lines, expectations, seeds_in_words, subjects, verdict_words
from ckd_dist.studies.disease.report.wording import sentences_of

MAIN_METRICS = ("macro_auroc", "macro_auprc", "micro_f1", "macro_f1", "log_loss", "brier", "ece")

VALIDATED = {name: METRIC_TITLES[name] for name in ("log_loss", "brier", "ece", "macro_auroc")}


def write_report(results: Results, folder: Path) -> dict[str, Any]:
    """Write the three files into `folder`; return what metrics.json holds.

    Raises ValueError where the parts of `results` do not fit together, before anything is written.
    """
    report = measure(results)
    return write_pages(
        folder,
        __package__,
        (results.provenance, report, sentences_of(report)),
        plots.drawings(report),
        by_name=report.by_name,
        metric_titles=METRIC_TITLES,
        main_metrics=MAIN_METRICS,
        compared=COMPARED,
        gap_metrics=GAP_METRICS,
        group_metrics=GROUP_METRICS,
        lower_is_better=LOWER_IS_BETTER,
        validated=VALIDATED,
        teaching=sentence(report.validation) if report.validation else "",
        experiment_metrics=EXPERIMENT_METRICS,
        least_seeds=LEAST_SEEDS,
        expected=expectations(report.experiments) if report.experiments else (),
        advised=advice_lines(report.experiments.advice) if report.experiments and report.experiments.advice else (),
        subjects=subjects,
        verdict_words=verdict_words,
        seeds_in_words=seeds_in_words,
    )
