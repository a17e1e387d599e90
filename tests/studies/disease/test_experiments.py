"""Which experiments there are, in which order, and what each may read; permuted rows; tables by hand."""

from dataclasses import replace
from itertools import pairwise
from typing import get_args

import numpy as np
import pytest

from ckd_dist.config import Optim
from ckd_dist.models.losses import Mixing
from ckd_dist.report.bootstrap import resample
from ckd_dist.studies.disease.experiment_result import Result
from ckd_dist.studies.disease.experiments import (
    NO_LABELS,
    Experiment,
    ExperimentOptions,
    StudentOptions,
    list_experiments,
    plan_experiments,
    seen_with,
)
from ckd_dist.studies.disease.report.experiments import ExperimentTables, compare_variants, score_all
from ckd_dist.studies.disease.report.terminal import as_text
from ckd_dist.studies.disease.report.verdicts import helped
from ckd_dist.studies.disease.seen import Seen
from ckd_dist.studies.disease.variants import VARIANTS, Name, check_variants

EVERY = tuple(VARIANTS)
STUDENT = StudentOptions("base", None, 128, "float32", Optim(), Mixing(1.0, 1.0), 1.0, "none")
INPUTS = {"student": "s", "teacher": "t", "other run": "o"}
SUBJECTS = {"train": 1000, "tuning": 200}


def plans(options: ExperimentOptions, student: StudentOptions = STUDENT, inputs: dict = INPUTS) -> dict:
    found = plan_experiments(options, student, Seen("student"), SUBJECTS, inputs)
    return {plan.experiment: plan.digest for plan in found}


def test_every_name_has_a_variant_and_a_control_says_what_is_expected():
    assert list(VARIANTS) == list(get_args(Name))
    assert all(bool(variant.expected) == (variant.role == "control") for variant in VARIANTS.values())


def test_each_experiment_stands_once_the_longest_first_after_those_that_others_rest_on():
    found = list_experiments(ExperimentOptions(EVERY, (100, 300), 3), STUDENT)
    assert len(set(found)) == len(found)
    kinds = [each.variant for each in found]
    assert set(kinds) == set(EVERY) and kinds[:3] == ["hard"] * 3
    assert {each.budget for each in found if VARIANTS[each.variant].role == "control"} <= {100, NO_LABELS}
    efforts = [VARIANTS[kind].effort for kind in kinds[3:]]
    assert all(first >= second for first, second in pairwise(efforts))
    alone = list_experiments(ExperimentOptions(("own",), (100,), 1), STUDENT)
    assert [each.variant for each in alone] == ["hard", "own"]  # what it learns from is done with it


def test_what_is_said_of_a_variant_redoes_no_experiment(monkeypatch):
    options = ExperimentOptions(("permuted",), (100,), 1)
    before = plans(options)
    monkeypatch.setitem(VARIANTS, "permuted", replace(VARIANTS["permuted"], title="Turned", expected="nothing"))
    assert plans(options) == before
    monkeypatch.setitem(VARIANTS, "permuted", replace(VARIANTS["permuted"], mixing=Mixing(0.5, 1.0)))
    assert plans(options) != before


def test_a_budget_without_a_row_has_no_table():
    """Controls are trained at the first budget alone."""
    results = [Result(Experiment("own", 80, 0), "d", np.arange(4), np.full((4, 1), 0.3), 0.0, 1.0, 1)]
    scores = score_all(results, np.array([[0], [1], [0], [1]]), resample(np.arange(4), 20, 0))
    found = compare_variants(scores, [80, 160], 0.0, enough=False)
    assert [table.subjects for table in found.budgets] == [80] and "80 labelled patients" in as_text(found)


def test_where_labelled_visits_weigh_otherwise_every_budget_has_its_own_student():
    options = ExperimentOptions(("distilled", "permuted", "exact"), (100, 300), 1, controls="all")
    apart = plans(options, replace(STUDENT, unlabelled_weight=0.5))
    assert {(each.variant, each.budget) for each in apart} >= {("distilled", 100), ("distilled", 300), ("exact", 300)}
    assert NO_LABELS not in {each.budget for each in apart}


def test_what_depends_on_no_seed_is_done_once():
    options = ExperimentOptions(("elsewhere", "teacher", "oracle", "distilled", "copy_last"), (100,), 3)
    seeds = [(each.variant, each.seed) for each in plans(options)]
    assert len(seeds) == len(set(seeds)) == 3 + 2 * 3
    assert {name for name, seed in seeds if seed > 0} == {"distilled", "copy_last"}


def test_what_reads_no_label_is_done_once_for_all_budgets():
    options = ExperimentOptions(("distilled", "exact", "permuted", "labelled_only", "hard"), (100, 300), 2)
    budgets = {(each.variant, each.budget) for each in plans(options)}
    free = {("distilled", NO_LABELS), ("exact", NO_LABELS), ("permuted", NO_LABELS)}
    assert budgets == free | {(name, budget) for name in ("labelled_only", "hard") for budget in (100, 300)}
    softened = plans(options, replace(STUDENT, temperature="scalar"))  # fitted on the seen labels of tuning
    assert {each.variant for each in softened if each.budget == NO_LABELS} == {"exact"}
    mixed = plans(options, replace(STUDENT, mixing=Mixing(0.7, 2.0)))
    assert {each.budget for each in mixed} == {100, 300}


@pytest.mark.parametrize(("controls", "wanted"), [("first", {100}), ("all", {100, 300})])
def test_controls_are_trained_at_the_first_budget_or_at_all(controls, wanted):
    found = list_experiments(ExperimentOptions(("own", "hard"), (100, 300), 1, controls), STUDENT)
    assert {each.budget for each in found if each.variant == "own"} == wanted
    assert {each.budget for each in found if each.variant == "hard"} == {100, 300}


def test_a_digest_changes_with_what_is_read_and_with_nothing_else():
    options = ExperimentOptions(("distilled", "hard", "exact"), (100,), 2)
    before, after = plans(options), plans(options, inputs=INPUTS | {"teacher": "another"})
    assert {each.variant for each in before if before[each] != after[each]} == {"distilled"}
    assert not before.items() & plans(options, inputs=INPUTS | {"student": "other"}).items()
    assert plans(options, replace(STUDENT, base="moved")) == before
    more = plans(ExperimentOptions(("distilled", "hard", "exact", "permuted"), (100, 300), 3))
    assert before.items() <= more.items()  # another budget, seed or variant redoes nothing
    slower = plans(options, replace(STUDENT, optim=Optim(micro_tokens=64)))
    assert slower == before
    assert len(set(before.values())) == len(before)


def test_few_is_few_for_tuning_too_unless_the_recipe_says():
    own = Seen("student", seed=5)
    assert seen_with(own, 400, 2, 200) == Seen("student", 400, 100, seed=7)
    assert seen_with(own, 40, 0, 200).tuning == 20 and seen_with(own, 800, 0, 200).tuning is None
    assert seen_with(replace(own, tuning=0.5), 400, 0, 200).tuning == 0.5
    assert seen_with(replace(own, train=0.2), None, 1, 200) == Seen("student", 0.2, None, seed=6)


def test_more_labels_than_there_are_and_a_variant_without_what_it_needs_are_refused():
    with pytest.raises(ValueError, match=r"1001 labelled subjects are asked for, train has 1000"):
        plans(ExperimentOptions(("hard",), (100, 1001), 1))
    with pytest.raises(ValueError, match=r"'exact' needs the exact law, .* synthetic"):
        check_variants(("hard", "exact"), ("teacher",))
    check_variants(("hard", "exact"), ("law",))


# --- the tables ------------------------------------------------------------------------------------------------------


def tables(noises: dict[str, float], num_seeds: int, budget: int | None = 100) -> ExperimentTables:
    """Students that see the truth through more or less noise, on 300 visits of 150 patients."""
    random = np.random.default_rng(0)
    logit_NK = random.normal(-1, 1.5, (300, 4))
    label_NK = (random.random(logit_NK.shape) < 1 / (1 + np.exp(-logit_NK))).astype(int)
    results = []
    for seed in range(num_seeds):
        for name, noise in noises.items():
            seen_NK = logit_NK + np.random.default_rng([1, seed]).normal(0, noise, logit_NK.shape)
            own = NO_LABELS if name == "distilled" else budget
            probabilities_NK = 1 / (1 + np.exp(-seen_NK))
            results.append(Result(Experiment(name, own, seed), "d", np.arange(300), probabilities_NK, 0.0, 1.0, 1))
    draws = resample(np.arange(300) // 2, 200, 0)
    return compare_variants(score_all(results, label_NK, draws), [budget], 0.004, enough=True)


CLEAR = {"distilled": 0.2, "hard": 3.0, "permuted": 9.0, "logistic": 2.0}


def test_a_clear_gain_is_called_one_and_every_line_has_all_seeds():
    found = tables(CLEAR, 3)
    (table,) = found.budgets
    assert [line.name for line in table.variants] == ["distilled", "hard", "permuted", "logistic"]
    hard = table.variant("hard")
    assert len(hard.seeds["macro_auroc"]) == len(hard.minus["macro_auroc"].seeds) == 3
    assert {name: cell.verdict for name, cell in hard.minus.items()} == dict.fromkeys(hard.minus, "better")
    assert hard.minus["log_loss"].mean < 0 < hard.minus["macro_auroc"].mean
    assert table.variant("distilled").minus == {}
    assert "distilling helped:" in helped(found) and "better in all 3 seeds" in helped(found)


def test_fewer_seeds_than_a_claim_needs_claim_nothing():
    found = tables(CLEAR, 2)
    assert not found.may_claim and "not claimed here: the experiments have 2 of 3 seeds" in helped(found)
    assert {cell.verdict for line in found.budgets[0].variants for cell in line.minus.values()} == {"unclear"}


@pytest.mark.parametrize(
    ("noises", "said"),
    [
        ({"distilled": 3.0, "hard": 0.2}, "distilling did harm"),
        ({"distilled": 1.0, "hard": 1.0}, "distilling is not shown to help"),
        (
            {"distilled": 1.0, "hard": 4.0, "logistic": 0.2},
            "it is not shown to beat a baseline",
        ),
        ({"distilled": 1.0, "logistic": 4.0}, "distilling is not shown to help"),  # the same student is missing
        (
            {"distilled": 1.0, "hard": 4.0, "elsewhere": 0.2},
            "regression, used unchanged, is better",
        ),
        ({"hard": 4.0}, "the recipe's own student is not among the variants"),
        ({"calibrated": 1.0, "hard": 4.0}, "the recipe's own student is not among the variants"),
    ],
)
def test_the_sentence_says_what_came_out(noises, said):
    assert said in helped(tables(noises, 3))


def test_further_budgets_that_came_out_alike_are_one_sentence():
    found = tables({"distilled": 1.0, "hard": 4.0, "logistic": 0.2}, 3)
    further = [replace(found.budgets[0], subjects=number) for number in (100, 300, 1000)]
    said = helped(replace(found, budgets=further)).partition("With 300 and 1,000 labelled patients distilling helped")
    assert said[1] and said[2].count("against logistic regression") == 1 and said[2].count("−0.") == 2


def test_where_the_exact_law_teaches_it_is_said():
    assert "distilling (exact probabilities as soft labels) helped" in helped(tables({"exact": 1.0, "hard": 4.0}, 3))


def test_a_terminal_shows_the_table_aligned():
    lines = as_text(tables(CLEAR, 3)).splitlines()
    rows = [line for line in lines if line.startswith(("Hard labels", "Distilled", "Soft labels", "Logistic"))]
    assert len(rows) == 4 and all(len(line) < 100 for line in lines)
    assert len({line.index("0.") for line in rows}) == 1
    assert lines[-1] == "workers idle 0.4 % of the time"
    assert all(len(line) < 100 for line in as_text(tables(CLEAR, 5)).splitlines())


def test_log_loss_by_hand():
    labels_NK = np.array([[1, 0], [0, 1]] * 10)
    probabilities_NK = np.array([[0.5, 0.25], [0.5, 0.25]] * 10)
    draws = resample(np.arange(20), 100, 0)
    results = [Result(Experiment("hard", None, 0), "d", np.arange(20), probabilities_NK, 0.0, 1.0, 1)]
    found = compare_variants(score_all(results, labels_NK, draws), [None], 0.0, enough=True)
    expected = -(2 * np.log(0.5) + np.log(0.75) + np.log(0.25)) / 4
    assert found.budgets[0].variant("hard").means["log_loss"] == pytest.approx(expected)
