"""Say in sentences what the experiments show: whether distilling helped, whatever came out."""

from collections.abc import Sequence
from itertools import groupby

from ckd_dist.report.compare import LEAST_SEEDS
from ckd_dist.report.wording import listed, lower_first, number, percent, signed
from ckd_dist.studies.disease.report.advice import Advice
from ckd_dist.studies.disease.report.experiments import (
    BudgetTable,
    Compared,
    ExperimentTables,
    VariantScores,
)


def helped(tables: ExperimentTables) -> str:
    """Say whether the distilled student is better than hard labels alone, than the best baseline, and than elsewhere's.

    At further budgets the best baseline of the same labels alone is named: where labels catch up.
    """
    if tables.reference is None:
        return "Nothing is said of distilling: the recipe's own student is not among the variants."
    first, *further = tables.budgets
    said = [_helped_first(tables, first), *_helped_further(tables, further)]
    if tables.unclaimed:
        said = [f"Whether distilling helps is not claimed here: the experiments have {tables.unclaimed}."]
    return " ".join([*([tables.remark] if tables.remark else []), *said])


def _helped_first(tables: ExperimentTables, budget: BudgetTable) -> str:
    hard, best, elsewhere = budget.variant("hard"), best_baseline(budget), budget.variant("elsewhere")
    others = [line for line in (hard, best, elsewhere) if line and line.minus]
    where, reference = f"With {subjects(budget)}", _reference(budget, tables)
    if not others:
        return f"{where} there is nothing to hold the {reference} against."
    against = ", ".join(f"{signed(line.minus['macro_auroc'].mean)} {_against(line, tables)}" for line in others)
    said = f"{where} {_verdict(tables, budget)}: macro-AUROC of the {reference} is {against}."
    if elsewhere in others and elsewhere.minus["macro_auroc"].verdict == "worse":
        said += " The other hospital's regression, used unchanged, is better."
    return said


def _helped_further(tables: ExperimentTables, budgets: Sequence[BudgetTable]) -> list[str]:
    """Say it of further budgets, in one sentence of those that follow each other and differ in numbers alone."""
    found = [(budget, best_baseline(budget) or budget.variant("hard")) for budget in budgets]
    found = [(budget, line) for budget, line in found if line and line.minus]
    said = []
    for (verdict, against), group in groupby(
        found, lambda each: (_verdict(tables, each[0]), _against(each[1], tables))
    ):
        alike = list(group)
        gains = ", ".join(signed(line.minus["macro_auroc"].mean) for _, line in alike)
        numbers = listed([f"{budget.subjects:,}" for budget, _ in alike])
        said.append(f"With {numbers} labelled patients {verdict}: {gains} {against}.")
    return said


def _against(line: VariantScores, tables: ExperimentTables) -> str:
    return f"against {lower_first(line.title)} ({verdict_words(line.minus['macro_auroc'], tables.num_seeds)})"


def _verdict(tables: ExperimentTables, budget: BudgetTable) -> str:
    """Say whether distilling helped: beside the same student without it, and the baselines of the same labels."""
    hard, best = budget.variant("hard"), best_baseline(budget)
    over_hard, over_best = (line and line.minus and line.minus["macro_auroc"].verdict for line in (hard, best))
    what = "distilling" if tables.reference == "distilled" else f"distilling ({_reference(budget, tables)})"
    if over_hard == "worse":
        return f"{what} did harm"
    if over_hard != "better":
        return f"{what} is not shown to help"
    if best and over_best != "better":
        return f"{what} helped the student, but it is not shown to beat a baseline of the same labels"
    return f"{what} helped"


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


def seeds_in_words(tables: ExperimentTables) -> str:
    """Say what the numbers of a table are."""
    return "one seed" if tables.num_seeds == 1 else f"mean of {tables.num_seeds} seeds"


def verdict_words(found: Compared, num_seeds: int) -> str:
    """Say how clear a difference is, over all seeds."""
    if num_seeds < LEAST_SEEDS:
        return f"no claim: {num_seeds} of {LEAST_SEEDS} seeds"
    return "unclear" if found.verdict == "unclear" else f"{found.verdict} in all {num_seeds} seeds"


def advice_lines(advice: Advice) -> Sequence[str]:
    """Give the advice on labels and, where the oracle is known, how much of the gap to it the student closes."""
    shares = ", ".join(
        f"{percent(share.value)} ({percent(share.low)} to {percent(share.high)}) at {budget:,}"
        for budget, share in zip(advice.budgets, advice.share_of_gap, strict=False)
    )
    gap = [f"Share of the gap from the best model of these labels to the oracle that it closes: {shares}."]
    return [advice.sentence(), *(gap if shares else [])]


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
