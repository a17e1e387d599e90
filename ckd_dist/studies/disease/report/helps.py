"""Say whether distilling helped, whatever came out; and lay the tables of experiments out as lines of text."""

import textwrap
from collections.abc import Sequence

from ckd_dist.report.wording import lower_first, number, percent, signed
from ckd_dist.studies.disease.report.advice import Advice
from ckd_dist.studies.disease.report.experiments import (
    COMPARED,
    LEAST_SEEDS,
    BudgetTable,
    Compared,
    ExperimentTables,
    VariantScores,
)

WIDTH, COMMAND = 99, 15  # columns of a terminal; those that the command's name takes of the first line
MOST_SEEDS = 3  # that fit a line


def helped(tables: ExperimentTables) -> str:
    """Say whether the distilled student is better than hard labels alone, than the best baseline, and than elsewhere's.

    At further budgets the best baseline of the same labels alone is named: where labels catch up.
    """
    if tables.reference is None:
        return "Nothing is said of distilling: the recipe's own student is not among the variants."
    if tables.unclaimed:
        return f"Whether distilling helps is not claimed here: the experiments have {tables.unclaimed}."
    remark = [tables.remark] if tables.remark else []
    return " ".join([*remark, *(_helped_at(tables, budget) for budget in tables.budgets)])


def _helped_at(tables: ExperimentTables, budget: BudgetTable) -> str:
    where, is_first = f"With {subjects(budget)}", budget is tables.budgets[0]
    hard, best, elsewhere = budget.variant("hard"), best_baseline(budget), budget.variant("elsewhere")
    others = [line for line in ((hard, best, elsewhere) if is_first else (best or hard,)) if line and line.minus]
    if not others:
        return f"{where} there is nothing to hold the {_reference(budget, tables)} against."
    against = ", ".join(
        f"{signed(line.minus['macro_auroc'].mean)} against {lower_first(line.title)} "
        f"({verdict_words(line.minus['macro_auroc'], tables.num_seeds)})"
        for line in others
    )
    if not is_first:
        return f"{where} {_verdict(hard, best)}: {against}."
    said = f"{where} {_verdict(hard, best)}: macro-AUROC of the {_reference(budget, tables)} is {against}."
    if elsewhere in others and elsewhere.minus["macro_auroc"].verdict == "worse":
        said += " The other hospital's regression, used unchanged, is better."
    return said


def _verdict(hard: VariantScores | None, best: VariantScores | None) -> str:
    """Say whether distilling helped: beside the same student without it, and the baselines of the same labels."""
    over_hard, over_best = (line and line.minus and line.minus["macro_auroc"].verdict for line in (hard, best))
    if over_hard == "worse":
        return "distilling did harm"
    if over_hard != "better":
        return "distilling is not shown to help"
    if best and over_best != "better":
        return "distilling helped the student, but it is not shown to beat a baseline of the same labels"
    return "distilling helped"


def _reference(budget: BudgetTable, tables: ExperimentTables) -> str:
    line = budget.variant(tables.reference or "")
    return lower_first(line.title) if line else "student"


def best_baseline(budget: BudgetTable) -> VariantScores | None:
    """Return the baseline of the same labels with the highest macro-AUROC."""
    baselines = [line for line in budget.variants if line.role == "baseline" and line.name != "elsewhere"]
    return max(baselines, key=lambda line: line.means["macro_auroc"], default=None)


def subjects(budget: BudgetTable) -> str:
    """Name a budget."""
    return "the recipe's labelled patients" if budget.subjects is None else f"{budget.subjects:,} labelled patients"


def verdict_words(found: Compared, num_seeds: int) -> str:
    """Say how clear a difference is, over all seeds."""
    if num_seeds < LEAST_SEEDS:
        return f"no claim: {num_seeds} of {LEAST_SEEDS} seeds"
    return "unclear" if found.verdict == "unclear" else f"{found.verdict} in all {num_seeds} seeds"


def as_text(tables: ExperimentTables) -> str:
    """Return the tables as aligned lines, with the workers' idle share at the end."""
    lines = textwrap.wrap(helped(tables), WIDTH, initial_indent=" " * COMMAND)
    lines[0] = lines[0].strip()
    for budget in tables.budgets:
        lines += [
            "",
            f"{subjects(budget)[:1].upper()}{subjects(budget)[1:]}; mean of {tables.num_seeds} seeds",
            *rows(budget, tables),
        ]
    lines += ["", *claims_text(tables)] if tables.checked else []
    lines += ["", *textwrap.wrap(" ".join(advice_lines(tables.advice)), WIDTH)] if tables.advice else []
    return "\n".join([*lines, "", f"workers idle {percent_of(tables.idle_share)} of the time"])


def claims_text(tables: ExperimentTables) -> list[str]:
    """Lay out what was to be shown, and what came, a seed each."""
    found = [f"What was to be shown in every seed, with {subjects(tables.budgets[0])}; differences clear of zero"]
    for each in tables.checked:
        found += [f"  {each.claim}", f"      {' '.join(each.values)}  {each.verdict}"]
    return found


def advice_lines(advice: Advice) -> Sequence[str]:
    """Give the advice on labels and, where the oracle is known, how much of the gap to it the student closes."""
    shares = ", ".join(
        f"{percent(share.value)} ({percent(share.low)} to {percent(share.high)}) at {budget:,}"
        for budget, share in zip(advice.budgets, advice.share_of_gap, strict=False)
    )
    gap = [f"Share of the gap from the best model of these labels to the oracle that it closes: {shares}."]
    return [advice.sentence(), *(gap if shares else [])]


def rows(budget: BudgetTable, tables: ExperimentTables) -> list[str]:
    """Return a budget's table as lines of the same width."""
    title = max(len(line.title) for line in budget.variants)
    head = f"{'':<{title}}  AUROC  AUPRC  log-loss   AUROC below reference, by seed"
    found = [head]
    for line in budget.variants:
        scores = [number(line.means[metric]) for metric in COMPARED]
        cells = f"{line.title:<{title}}  {scores[0]:>5}  {scores[1]:>5}  {scores[2]:>8}"
        if line.minus:
            gain = line.minus["macro_auroc"]
            cells += f"   {by_seed(gain)}  {gain.verdict if tables.claims else 'no claim'}"
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


def percent_of(share: float) -> str:
    """Return a small share with a digit behind the point."""
    return percent(share) if share >= 0.1 else f"{100 * share:.1f} %"


def expectations(tables: ExperimentTables) -> Sequence[str]:
    """Say of every control what is expected of it and what came, a sentence each."""
    said = []
    for budget in tables.budgets:
        for line in budget.variants:
            if line.role == "control" and line.minus:
                gain = line.minus["macro_auroc"]
                hard = budget.variant("hard")
                beside = (
                    f", {signed(line.means['macro_auroc'] - hard.means['macro_auroc'])} from hard labels"
                    if hard
                    else ""
                )
                said.append(
                    f"{line.title} ({subjects(budget)}): expected {line.expected}; macro-AUROC "
                    f"{number(line.means['macro_auroc'])}, {signed(-gain.mean)} from the reference{beside}."
                )
    return said
