"""Lay the tables of experiments out as lines of text, for a terminal."""

import textwrap

from ckd_dist.report.wording import number, percent, signed
from ckd_dist.studies.disease.report.experiments import EXPERIMENT_METRICS, BudgetTable, Compared, ExperimentTables
from ckd_dist.studies.disease.report.verdicts import advice_lines, helped, seeds_in_words, subjects

WIDTH = 99  # columns of a terminal
MOST_SEEDS = 3  # that fit a line


def as_text(tables: ExperimentTables) -> str:
    """Return the tables as aligned lines, with the workers' idle share at the end."""
    lines = textwrap.wrap(helped(tables), WIDTH)
    for budget in tables.budgets:
        lines += [
            "",
            f"{subjects(budget)[:1].upper()}{subjects(budget)[1:]}; {seeds_in_words(tables)}",
            *rows(budget, tables),
        ]
    lines += ["", *claims_text(tables)] if tables.checked else []
    lines += ["", *textwrap.wrap(" ".join(advice_lines(tables.advice)), WIDTH)] if tables.advice else []
    return "\n".join([*lines, "", f"workers idle {percent_of(tables.idle_share)} of the time"])


def rows(budget: BudgetTable, tables: ExperimentTables) -> list[str]:
    """Return a budget's table as lines of the same width."""
    title = max(len(line.title) for line in budget.variants)
    head = f"{'':<{title}}  AUROC  AUPRC  log-loss   AUROC below reference, by seed"
    found = [head]
    for line in budget.variants:
        scores = [number(line.means[metric]) for metric in EXPERIMENT_METRICS]
        cells = f"{line.title:<{title}}  {scores[0]:>5}  {scores[1]:>5}  {scores[2]:>8}"
        if line.minus:
            gain = line.minus["macro_auroc"]
            cells += f"   {by_seed(gain)}  {gain.verdict if tables.may_claim else 'no claim'}"
        elif line.name == tables.reference:
            cells += "   reference"
        found.append(cells)
    return found


def by_seed(found: Compared) -> str:
    """Return the difference of every seed, or the least and the most of many."""
    values = [each.value for each in found.seeds]
    if len(values) > MOST_SEEDS:
        return f"{signed(min(values))} to {signed(max(values))}"
    return " ".join(signed(value) for value in values)


def claims_text(tables: ExperimentTables) -> list[str]:
    """Lay out what was to be shown, and what came, a seed each."""
    found = [f"What was to be shown in every seed, with {subjects(tables.budgets[0])}; differences clear of zero"]
    for each in tables.checked:
        found += [f"  {each.claim}", f"      {' '.join(each.values)}  {each.verdict}"]
    return found


def percent_of(share: float) -> str:
    """Return a small share with a digit behind the point."""
    return percent(share) if share >= 0.1 else f"{100 * share:.1f} %"
