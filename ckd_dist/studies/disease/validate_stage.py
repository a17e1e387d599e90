"""The stage that judges a teacher: it predicts the labelled tuning pairs that its student's hospital sees.

Its logits are kept as shards like any soft labels, of a plan of their own that has these rows alone: so it is as quick
as the labels are few, runs wherever labelling runs, and a second look at the same teacher predicts nothing.
"""

from collections.abc import Mapping

import numpy as np
import polars as pl

from ckd_dist.config import values_of
from ckd_dist.softlabels.plan import Plan, make_plan
from ckd_dist.softlabels.plans import finish_all, open_all, still_missing
from ckd_dist.studies.disease.from_run import teachers_of
from ckd_dist.studies.disease.label import Labeler, Labelling, plan_labels
from ckd_dist.studies.disease.report.validation import Validation, sentence
from ckd_dist.studies.disease.samples import bits_of, with_labels
from ckd_dist.studies.disease.seen import read_samples, seen_by
from ckd_dist.studies.disease.soft_labels import read_in_order
from ckd_dist.studies.disease.temperature import fit
from ckd_dist.studies.disease.validate import expectation, validate
from ckd_dist.study import Context, Jobs, Outcome


def missing_validation(context: Context) -> list[int]:
    """Return the shards of the teacher's predictions that are not there yet."""
    return still_missing(context.run.softlabels, planned_validation(context), context.digest())


def validator(context: Context, device: str) -> Labeler:
    """teacher -> its predictions of labelled tuning pairs: return one worker with a whole teacher."""
    labelling, teachers = values_of(context.recipe.label, Labelling), teachers_of(context.recipe, context.run)
    planned = open_all(context.run.softlabels, context.digest())
    return Labeler(context.run, labelling, planned, teachers, device)


def finish_validation(context: Context) -> Outcome:
    """Judge the teacher beside what its student could expect without it, and fit its temperature."""
    recipe, run, kind = context.recipe, context.run, context.recipe.label.temperature
    plans, seen = planned_validation(context), seen_by("student", recipe.student)
    files = finish_all(run.softlabels, plans)
    train, tuning = (read_samples(run, split, seen) for split in ("train", "tuning"))
    rows, logits_NK = with_labels(tuning), read_in_order(run, plans.values())
    found = validate(logits_NK, expectation(train, tuning), rows, kind)
    run.temperature.unlink(missing_ok=True)
    said = [sentence(found)]
    if kind != "none":
        fitted = fit(logits_NK, bits_of(rows, "labels", logits_NK.shape[1]), kind)
        fitted.save(run.temperature, run.label_names())
        files, said = [*files, run.temperature], [*said, fitted.sentence()]
    return Outcome(files, found.numbers(), said="; ".join(said))


VALIDATE = Jobs(missing_validation, validator, finish_validation)


def planned_validation(context: Context) -> dict[str, Plan]:
    """Return the plans of what the teacher predicts before it labels: the labelled tuning pairs that are seen."""
    recipe, run = context.recipe, context.run
    plans = plan_labels(run, values_of(recipe.label, Labelling), teachers_of(recipe, run))
    return plan_validation(plans, with_labels(read_samples(run, "tuning", seen_by("student", recipe.student))))


def plan_validation(plans: Mapping[str, Plan], labelled: pl.DataFrame) -> dict[str, Plan]:
    """Plan the prediction of labelled tuning pairs, by the name of the plan that labels them; none without a pair.

    plans: of all that the teacher labels.  labelled: samples of tuning that have labels.
    """
    wanted = labelled["sample_id"].to_numpy()
    chosen = {}
    for name, plan in plans.items():
        ids = np.intersect1d(plan.sample_id_N, wanted)
        if plan.split == "tuning" and len(ids):
            settings = {"shard_rows": plan.shard_rows, "order_seed": plan.order_seed, "dtype": plan.dtype}
            chosen[name] = make_plan(ids, plan.source, split="tuning", **settings)
    return chosen


def check_gate(found: Validation, gate: str) -> None:
    """Raise ValueError where `gate` is "refuse" and the teacher is not clearly better than the expectation."""
    if gate == "refuse" and not found.passes:
        raise ValueError(
            f"{sentence(found)}; label.gate=refuse stops before a label is made: give the teacher more labels or other "
            "patients, or set label.gate=say to go on with this one; what is done is kept"
        )


def check_judgeable(num_pairs: int) -> None:
    """Raise ValueError where the gate would refuse any teacher: it has no labelled tuning pair to judge it by."""
    if not num_pairs:
        check_gate(Validation(0, 0, {}, None, "none"), "refuse")
