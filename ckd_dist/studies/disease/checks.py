"""Refuse a recipe that cannot be run, or could never show what it asks for, before anything is written.

Not when it is loaded: what a finished run shows must stay readable, whatever is refused later (study.Study.check).
"""

from ckd_dist.report.compare import LEAST_SEEDS
from ckd_dist.studies.disease import STUDY
from ckd_dist.studies.disease.config import DiseaseRecipe, Experiments, Labelled
from ckd_dist.studies.disease.experiment_checks import check_experiments, what_is_there
from ckd_dist.studies.disease.from_run_refusals import check_held_out, check_teacher_run
from ckd_dist.studies.disease.runfolder import DiseaseRun
from ckd_dist.studies.disease.variants import VARIANTS, check_variants


def check_run(recipe: DiseaseRecipe, run: DiseaseRun) -> None:
    """Raise ValueError, one sentence, where the recipe cannot be run on what is there.

    What is about samples is looked at here where they are there, and in any case by the stages that it is about.
    """
    check_asked(recipe.experiments)
    check_variants(recipe.experiments.variants, what_is_there(recipe))
    check_texts(recipe)
    if recipe.label.import_from and recipe.label.gate == "refuse":
        raise ValueError(
            "label.gate=refuse is set where label.import_from is, which leaves no teacher to judge: drop one of them"
        )
    check_teacher_run(recipe, run)
    if STUDY.ledger(recipe, run).is_done("select"):
        check_held_out(recipe, run)
        check_experiments(recipe, run)


def check_asked(asked: Experiments) -> None:
    """Raise ValueError where experiments are asked for twice, or a claim could never be reached."""
    for name in ("variants", "budgets"):
        values = getattr(asked, name)
        if len(set(values)) < len(values):
            raise ValueError(f"experiments.{name}={list(values)} names one twice: name each once")
    if not asked.claims:
        return
    if asked.seeds < LEAST_SEEDS:
        raise ValueError(
            f"experiments.claims need at least {LEAST_SEEDS} seeds, and experiments.seeds={asked.seeds}: raise it, or "
            "give experiments.claims=[]"
        )
    done = {*asked.variants, *("hard" for name in asked.variants if VARIANTS[name].soft == "own")}
    bounded = {name for claim in asked.claims for name in (claim.first, claim.second) if name}
    if lacking := bounded - done:
        raise ValueError(
            f"experiments.claims are about {min(lacking)!r}, which is not among experiments.variants: add it, or give "
            "experiments.claims=[]"
        )


def check_texts(recipe: DiseaseRecipe) -> None:
    """Raise ValueError where the student's texts rest on labels that are hidden from it or from an experiment."""
    prompt, own, asked = recipe.prompt, recipe.student.labelled, recipe.experiments
    if not prompt.efficacies or "efficacies" in prompt.teacher_only:
        return
    remedy = "give prompt.efficacies=0 or prompt.teacher_only=[efficacies]"
    # beside another run's teacher they are fitted on what the student sees
    if recipe.label.from_run is None and not sees_all_of(own, recipe.teacher.labelled):
        raise ValueError(
            "student.labelled hides labels on which the treatments that the student's texts name are fitted, because "
            f"the teacher sees them: {remedy}, or let teacher.labelled be the same"
        )
    hides = own.train is not None or own.noise > 0
    if asked.variants and (asked.budgets or (hides and asked.seeds > 1)):
        raise ValueError(
            "experiments: the student's texts name treatments that were fitted on labels which some budgets or seeds "
            f"hide: {remedy}"
        )


def sees_all_of(own: Labelled, other: Labelled) -> bool:
    """Say whether whoever sees `own` of train sees all that `other` does: all, the same, or more in the same order."""
    if own.train is None and own.noise == 0:
        return True
    if (own.train, own.seed, own.noise) == (other.train, other.seed, other.noise):
        return True
    if own.noise or other.noise or own.seed != other.seed or own.train is None or other.train is None:
        return False
    return other.train <= own.train and (other.train < 1) == (own.train < 1)
