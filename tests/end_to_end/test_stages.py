"""A finished run: nothing is done twice, what changed is found, and no subject is where it should not be."""

import json
import math

import polars as pl
import pytest

from ckd_dist import record
from ckd_dist.models.fingerprint import fingerprint
from ckd_dist.schema import SPLITS
from ckd_dist.softlabels.read import read_labels
from ckd_dist.studies.disease import STUDY
from ckd_dist.studies.disease.stages import LABEL
from ckd_dist.study import Context, begin_jobs, finish_jobs
from tests.end_to_end.small import ckd, flip, go, hashes, ledger_of, passed, recipe_of, times

BEFORE_STUDENT = ("extract", "select", "prompt_teacher", "prompt_student", "train_teacher", "validate_teacher", "label")
SHARDS = "softlabels/*/shard-*.safetensors"
ROLES = ("teacher", "student")


def states(run, *overrides):
    return {state.name: state for state in ledger_of(run, *overrides).status()}


def test_every_stage_is_done_and_every_file_holds(finished):
    assert {state.state for state in states(finished).values()} == {"done"}
    assert record.verify(finished) == []
    assert ckd("verify", finished.root).code == 0


def test_a_second_run_writes_nothing_and_says_so(finished):
    before, written = hashes(finished), times(finished)
    said = go("pipeline", finished)
    assert said.code == 0
    assert passed(said.out) == list(STUDY.stages)
    assert hashes(finished) == before
    del written["recipe.json"]  # the driver's own note, the same again
    assert times(finished).items() >= written.items()


def test_another_schedule_of_the_student_redoes_student_and_report_only(copy):
    found = states(copy, "student.optim.epochs=2")
    assert [found[name].state for name in BEFORE_STUDENT] == ["done"] * len(BEFORE_STUDENT)
    assert found["distill"].why == "student.optim.epochs changed from 1.0 to 2.0"
    assert found["evaluate"].state == "stale"
    shown = ckd("status", copy.root, "student.optim.epochs=2").out
    assert "student.optim.epochs changed from 1.0 to 2.0" in shown

    before = times(copy)
    said = go("pipeline", copy, "student.optim.epochs=2")
    assert said.code == 0, said.err
    assert passed(said.out) == [*BEFORE_STUDENT, "experiment"]
    assert "experiment       not needed by this recipe" in said.out
    after = times(copy)
    changed = {name.split("/")[0] for name in after if after[name] != before.get(name)}
    records = {name for name in after if name.startswith("stages/") and after[name] != before[name]}
    written = {"student", "student_hard", "tensorboard", "predictions", "report"}
    assert changed <= {"recipe.json", "stages", "progress", *written}
    assert records == {"stages/distill.json", "stages/evaluate.json"}
    assert record.verify(copy) == []
    assert {state.state for state in states(copy).values()} == {"done"}  # the folder keeps the changed recipe


def test_an_edited_label_set_under_the_same_name_is_noticed(marked, own_labels):
    text = own_labels.read_text()
    try:
        own_labels.write_text(text.replace("Heart failure", "Weak heart"))
        found = states(marked)
    finally:
        own_labels.write_text(text)
    assert found["extract"].state == "done"
    assert "select.labels_files changed" in found["select"].why
    assert {state.state for state in states(marked).values()} == {"done"}


def test_a_flipped_bit_of_a_shard_is_found_by_verify_and_by_the_student(copy):
    shard = next(copy.root.glob(f"softlabels/{record.read(copy, 'label').numbers['train']}/shard-*.safetensors"))
    flip(shard)
    assert [shard.name in problem for problem in record.verify(copy)] == [True]
    said = ckd("verify", copy.root)
    assert said.code == 1 and shard.name in said.err
    said = go("distill", copy, "student.optim.epochs=2")
    assert said.code == 2
    assert shard.name in said.err and "altered" in said.err
    assert len(said.err.strip().splitlines()) == 1


def test_a_lost_shard_is_labelled_again_alone_and_to_the_same_bytes(copy):
    recipe = recipe_of(copy)
    before, written = hashes(copy), times(copy)
    plan = copy.softlabels / record.read(copy, "label").numbers["train"]
    lost = sorted(plan.glob("shard-*.safetensors"))[3]
    lost.unlink()
    copy.stage("label").unlink()
    stage = STUDY.stages["label"]
    context, missing = begin_jobs(STUDY, stage, Context(recipe, copy))
    assert len(missing) == 1
    worker = LABEL.worker(context, "cpu")
    for number in missing:
        worker.do(number)
    finish_jobs(stage, context)
    assert hashes(copy) == before
    other_shards = {str(file.relative_to(copy.root)) for file in copy.root.glob(SHARDS) if file != lost}
    assert {name: times(copy)[name] for name in other_shards} == {name: written[name] for name in other_shards}
    assert {state.state for state in states(copy).values()} == {"done"}


def test_another_teacher_than_the_soft_labels_is_refused_with_both_fingerprints(copy):
    before = fingerprint(copy.teacher)
    flip(copy.teacher / "adapter_model.safetensors")
    after = fingerprint(copy.teacher)
    assert before != after
    said = go("distill", copy, "student.optim.epochs=2")
    assert said.code == 2
    assert before[:16] in said.err and after[:16] in said.err


def test_other_label_columns_than_the_soft_labels_are_refused(copy):
    labels = json.loads(copy.labels.read_text())
    labels["names"][0] += " (renamed)"
    copy.labels.write_text(json.dumps(labels))
    said = go("distill", copy, "student.optim.epochs=2")
    assert said.code == 2
    assert "25 columns" in said.err and "label again" in said.err


def test_unlabelled_visits_get_soft_labels_and_teach_the_student(finished, recipe):
    samples = pl.read_parquet(finished.samples("train"), columns=["sample_id", "labels"])
    plan = record.read(finished, "label").numbers["train"]
    sample_id_N, _ = read_labels(finished.softlabels, plan, finished.label_names())
    assert sorted(sample_id_N) == samples["sample_id"].to_list()
    num_labelled = len(samples) - samples["labels"].null_count()
    batch = recipe.student.optim.batch_samples
    steps, steps_of_labelled = math.ceil(len(samples) / batch), math.ceil(num_labelled / batch)
    assert steps_of_labelled < steps
    assert record.read(finished, "distill").numbers["soft"]["step"] == steps  # of its one epoch


def subjects(run, split):
    """Subjects of a split, by every file that knows one."""
    known = pl.read_parquet(run.events / "metadata" / "subject_splits.parquet")
    samples = pl.read_parquet(run.samples(split), columns=["sample_id", "subject_id"])
    prompts = pl.concat([pl.read_parquet(run.prompts(split, role), columns=["sample_id"]) for role in ROLES])
    prompted = prompts.join(samples, on="sample_id", how="left")
    assert prompted["subject_id"].null_count() == 0, "a prompt of another split's sample"
    events = pl.read_parquet(run.events / "data" / split, columns=["subject_id"])
    return {
        "splits": set(known.filter(pl.col("split") == split)["subject_id"]),
        "events": set(events["subject_id"]),
        "samples": set(samples["subject_id"]),
        "prompts": set(prompted["subject_id"]),
    }


def test_no_subject_is_in_two_splits_in_any_file(finished):
    everywhere = {split: subjects(finished, split) for split in SPLITS}
    for split, known in everywhere.items():
        assert known["prompts"] and known["prompts"] <= known["samples"] <= known["events"] <= known["splits"]
        for other in SPLITS:
            if other != split:
                assert not set.union(*known.values()) & set.union(*everywhere[other].values())


def test_soft_labels_of_train_are_of_training_subjects_only(finished):
    plans = record.read(finished, "label").numbers
    for split in SPLITS:
        sample_id_N, _ = read_labels(finished.softlabels, plans[split], finished.label_names())
        assert set(sample_id_N) == set(pl.read_parquet(finished.samples(split))["sample_id"])


@pytest.mark.parametrize("how", ["altered", "emptied"])
def test_knowledge_and_vocabularies_do_not_depend_on_other_subjects(copy, how):
    before = hashes(copy)
    for split in ("tuning", "held_out"):
        samples = pl.read_parquet(copy.samples(split))
        if how == "emptied":
            samples = samples.clear()
        else:
            other = pl.col("labels").list.eval(1 - pl.element())
            drugs = pl.lit(["metformin", "heparin"]).alias("medications")
            samples = samples.with_columns(other, drugs).select(samples.columns)
        samples.write_parquet(copy.samples(split))
    for role in ROLES:
        copy.stage(f"prompt_{role}").unlink()
        said = go(f"prompt_{role}", copy)
        assert said.code == 0, said.err
    after = hashes(copy)
    changed = {name for name in before if after.get(name) != before[name]}
    assert {f"prompts/{SPLITS[2]}.{role}.parquet" for role in ROLES} <= changed, (
        "the held-out subjects really are others"
    )
    assert not [name for name in changed if name.startswith(("base/", "prompts/train", "prompts/knowledge"))]
