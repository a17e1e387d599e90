"""The stages that write prompts: samples -> the teacher's prompts, samples -> the student's texts."""

from dataclasses import replace
from pathlib import Path

import polars as pl

from ckd_dist.config import values_of
from ckd_dist.ehr.events import read_codes
from ckd_dist.files import files_below
from ckd_dist.models.base import classifier_config, load_tokenizer
from ckd_dist.models.tiny import make_tiny_student, make_tiny_teacher
from ckd_dist.schema import SPLITS
from ckd_dist.studies.disease.config import DiseaseRecipe
from ckd_dist.studies.disease.experiment_checks import check_experiments
from ckd_dist.studies.disease.from_run import run_of, seen_of
from ckd_dist.studies.disease.from_run_refusals import check_held_out
from ckd_dist.studies.disease.prompts.knowledge import Knowledge
from ckd_dist.studies.disease.prompts.naming import naming
from ckd_dist.studies.disease.prompts.write import PromptOptions, Rendering, Role, texts_of, write_prompts
from ckd_dist.studies.disease.runfolder import DiseaseRun
from ckd_dist.studies.disease.samples import with_labels
from ckd_dist.studies.disease.seen import check_seen, read_samples, said_of, seen_by
from ckd_dist.studies.disease.temperature import check_temperature
from ckd_dist.studies.disease.validate_stage import check_judgeable
from ckd_dist.study import Context, Outcome

VOCABULARY_SAMPLES = 2000  # training samples that a tiny model's vocabulary is learned from
MAKERS = {"teacher": make_tiny_teacher, "student": make_tiny_student}


def prompt_teacher(context: Context) -> Outcome:
    """samples -> the teacher's prompts: fit knowledge on training subjects alone; write texts, tokens and spans.

    Another run's teacher reads with that run's knowledge; what is fitted here is then for the student alone.
    """
    settings, run = context.recipe.prompt, context.run
    check_held_out(context.recipe, run)
    check_temperature(context.recipe.label.temperature, context.recipe.label.import_from)
    if context.recipe.label.import_from is None and context.recipe.label.gate == "refuse":
        check_judgeable(with_labels(read_samples(run, "tuning", seen_by("student", context.recipe.student))).height)
    run.knowledge.unlink(missing_ok=True)
    if settings.efficacies:
        train = read_samples(run, "train", seen_of(context.recipe, "teacher"))
        run.knowledge.parent.mkdir(parents=True, exist_ok=True)
        Knowledge.fit(train, run.label_names(), settings.shrinkage, settings.min_support).save(run.knowledge)
    outcome = _write_role(context, "teacher")
    return replace(outcome, files=[*outcome.files, *([run.knowledge] if settings.efficacies else [])])


def prompt_student(context: Context) -> Outcome:
    """samples -> the student's texts: write them, their tokens and spans."""
    check_experiments(context.recipe, context.run)  # what cannot be done is refused before anything is trained
    return _write_role(context, "student")


def _write_role(context: Context, role: Role) -> Outcome:
    """Write the prompts of `role` for every split, and its base model where that is made on the spot."""
    run, of_role, made = context.run, run_of(role, context.recipe, context.run), []
    part, base = getattr(of_role.recipe, role), of_role.base(role)
    seen = seen_of(context.recipe, role)
    samples = {split: read_samples(run, split, seen) for split in SPLITS}
    counts = check_seen(samples, run.label_names(), seen, context.recipe.select.absent_labels)
    said, rendering = said_of(counts, seen), rendering_of(context.recipe, run, role)
    if part.base == "tiny" and of_role.run == run:  # another run's is there
        few = samples["train"].sample(min(len(samples["train"]), VOCABULARY_SAMPLES), seed=0)
        if context.recipe.teacher.folds > 1:  # answers would shape the pieces that their own fold's teacher reads in
            few = few.with_columns(labels=pl.lit(None, few.schema["labels"]))
        texts = texts_of(few, rendering.shareable() if role == "teacher" else rendering, role)
        vocabulary = MAKERS[role](run.base(role), texts, part.tiny, seed=0, public=[rendering.instruction])
        said.append(vocabulary.sentence())
        made = files_below(run.base(role))
    max_tokens = getattr(of_role.recipe.prompt, f"{role}_tokens")
    classifier_config(base, rendering.label_names, part.revision, max_tokens)  # refused before anything is trained
    tokenizer = load_tokenizer(base, part.revision)

    def files_of(split: str) -> tuple[Path, Path]:
        return run.prompts(split, role), run.tokens(split, role)

    numbers = write_prompts(samples, rendering, role, tokenizer, files_of, context.callbacks.track)
    files = [file for split in SPLITS for file in files_of(split)]
    numbers |= {"seen": counts} if counts else {}
    return Outcome([*files, *made], numbers, said="; ".join(said))


def rendering_of(recipe: DiseaseRecipe, run: DiseaseRun, role: Role) -> Rendering:
    """Return how this run's samples become text.

    The student's lists no treatment that may not leave with it, and none of the parts that are the teacher's alone.
    """
    of_role = run_of(role, recipe, run)
    prompt, options = of_role.recipe.prompt, values_of(of_role.recipe.prompt, PromptOptions)
    name_of, most = naming(read_codes(run.events), prompt.diagnosis_names), of_role.recipe.select.history_visits
    rendering = Rendering(run.label_names(), name_of, options, knowledge_of(recipe, run, role), history_visits=most)
    if role == "student":
        return replace(rendering.shareable(), left_out=options.teacher_only)
    return replace(rendering, of_another=options.teacher_only if options.teacher_permuted else ())


def knowledge_of(recipe: DiseaseRecipe, run: DiseaseRun, role: Role) -> Knowledge | None:
    """Read the knowledge that a role's texts list treatments of; None where they list none."""
    of_role = run_of(role, recipe, run)
    options = values_of(of_role.recipe.prompt, PromptOptions)
    return Knowledge.load(of_role.run.knowledge) if options.lists_efficacies(role) else None
