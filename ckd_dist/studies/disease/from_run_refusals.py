"""Refuse another run whose teacher cannot label this one, in a sentence, before anything starts.

The labels must be the same by name and in the same order: another order is refused, so no column can be swapped.
"""

from ckd_dist.ehr.labelset import load_label_set
from ckd_dist.record import verify
from ckd_dist.source import is_synthetic
from ckd_dist.studies.disease import STUDY, has_teacher
from ckd_dist.studies.disease.config import DiseaseRecipe, Extract
from ckd_dist.studies.disease.from_run import FIELD, other_run
from ckd_dist.studies.disease.runfolder import DiseaseRun
from ckd_dist.studies.disease.shared_patients import CHANCE, shared_visits

READ = {  # of the other run
    "select": ("samples/*.parquet",),
    "prompt_teacher": ("prompts/knowledge.json", "base/teacher/*"),
    "train_teacher": (),
}


def check_teacher_run(recipe: DiseaseRecipe, run: DiseaseRun) -> None:
    """Raise ValueError, one sentence, where the run that the recipe names cannot label this one."""
    if recipe.label.from_run is None:
        return
    other = other_run(recipe)
    where = f"{FIELD}: {other.run.root}"
    if other.run.root.resolve() == run.root.resolve():
        raise ValueError(f"{where} is this very run, whose own teacher labels where {FIELD} is left out")
    if not has_teacher(other.recipe):
        raise ValueError(f"{where} has no teacher of its own: name the run that trained the one it labels with")
    state = STUDY.ledger(other.recipe, other.run).state("train_teacher")
    if state.state != "done":
        raise ValueError(f"{where}: its train_teacher is {state.state} ({state.why}): run train_teacher there first")
    if problems := verify(other.run, READ):
        raise ValueError(f"{where}: {problems[0]}")
    _check_split(where, recipe.extract, other.recipe.extract)
    _check_labels(where, load_label_set(recipe.select.labels).names, other.run.label_names())
    most, wanted = recipe.select.history_visits, other.recipe.select.history_visits
    if most < wanted:
        raise ValueError(
            f"{where}: its teacher reads up to {wanted} earlier visits, this run's samples keep {most}: give "
            f"select.history_visits={wanted}"
        )


def check_held_out(recipe: DiseaseRecipe, run: DiseaseRun) -> None:
    """Raise ValueError where the other run's teacher learned from visits that this run holds out.

    Samples are selected by then; `check_teacher_run` looks before that, at what both recipes say.
    """
    if recipe.label.from_run is None:
        return
    other = other_run(recipe)
    share = shared_visits(run, ("held_out",), other.run, ("train", "tuning"))
    if share > CHANCE:
        raise ValueError(
            f"{FIELD}: {other.run.root}: its teacher learned from {share:.0%} of this run's held-out visits: split the "
            "patients as it does (extract.split_seed, train_fraction, tuning_fraction), or hold others out"
        )


def _check_split(where: str, mine: Extract, theirs: Extract) -> None:
    """Raise ValueError where both runs read the same tables and split the patients otherwise."""
    synthetic = is_synthetic(mine.source) and is_synthetic(theirs.source)
    # of one seed: the same patients, more or fewer
    same = mine.synthetic_seed == theirs.synthetic_seed if synthetic else mine.source == theirs.source
    for name in ("train_fraction", "tuning_fraction", "split_seed"):
        here, there = getattr(mine, name), getattr(theirs, name)
        if same and here != there:
            raise ValueError(
                f"{where}: its teacher learned from the same tables with extract.{name}={there:g}, here it is "
                f"{here:g}, so it may have read this run's held-out patients: give extract.{name}={there:g}"
            )


def _check_labels(where: str, names: list[str], theirs: list[str]) -> None:
    """Raise ValueError unless both runs have the same labels in the same order."""
    if list(names) == list(theirs):
        return
    lacking = [name for name in names if name not in theirs]
    unknown = [name for name in theirs if name not in names]
    if lacking or unknown:
        whose = f"its teacher does not score {lacking[0]!r}" if lacking else f"its teacher scores {unknown[0]!r}"
        raise ValueError(
            f"{where}: {whose}, so {len(lacking)} of this run's {len(names)} labels are not among its {len(theirs)} "
            f"and {len(unknown)} of its are not among this run's: give both the same label set (select.labels)"
        )
    raise ValueError(
        f"{where}: it has this run's {len(names)} labels in another order ({theirs[0]!r} first, here {names[0]!r}): "
        "put the label set (select.labels) into that run's order"
    )
