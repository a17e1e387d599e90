"""Smaller sets of labels lie within larger, and flipping a label that is hidden changes no byte of what is made."""

import json
import shutil

import numpy as np
import polars as pl
import pytest

from ckd_dist import schema
from ckd_dist.files import hash_file, replacing
from ckd_dist.record import finish, read
from ckd_dist.studies.disease.experiment_result import Result
from ckd_dist.studies.disease.runfolder import DiseaseRun
from ckd_dist.studies.disease.seen import ALL, Seen, check_seen, hide, said_of
from ckd_dist.studies.disease.task import DiseaseTask
from tests.end_to_end.small import ckd
from tests.studies.disease.prompts.samples import LABELS, sample
from tests.studies.disease.smallest import ARGUMENTS


def visits(num_subjects: int = 60) -> pl.DataFrame:
    """Three visits a subject, the last without a next one; a third of the subjects have no label at all."""
    return pl.DataFrame(
        [
            sample(
                sample_id=3 * who + n,
                subject_id=who,
                labels=None if n == 2 or who % 3 == 0 else [(who + n + k) % 2 for k in range(5)],
            )
            for who in range(num_subjects)
            for n in range(3)
        ],
        schema=schema.SAMPLES,
    )


def subjects_of(frame: pl.DataFrame) -> set[int]:
    return set(frame.filter(pl.col("labels").is_not_null())["subject_id"].to_list())


@pytest.mark.parametrize("split", ["train", "tuning"])
def test_smaller_sets_lie_within_larger_and_no_visit_goes(split):
    frame, before = visits(), set()
    for num in (1, 5, 0.5, 39, None):
        shown = hide(frame, split, Seen("student", **{split: num}))
        seen = subjects_of(shown)
        assert len(seen) == {0.5: 20, None: 40}.get(num, num) and before <= seen
        assert shown.drop("labels").equals(frame.drop("labels"))
        kept = shown["labels"].is_not_null()
        assert kept.to_list() == [
            who in seen and bits is not None for who, bits in frame["subject_id", "labels"].rows()
        ]
        assert shown.filter(kept)["labels"].equals(frame.filter(kept)["labels"])
        before = seen


def test_a_subject_s_place_does_not_depend_on_who_else_is_there():
    frame, seen = visits(), Seen("student", train=20)
    chosen = subjects_of(hide(frame, "train", seen))
    fewer = frame.filter(pl.col("subject_id").is_in(chosen) | (pl.col("subject_id") % 2 == 0))
    assert subjects_of(hide(fewer, "train", seen)) == chosen


def test_teacher_and_student_of_one_seed_are_nested_and_another_seed_is_another_draw():
    frame = visits()
    few, many, other = (
        subjects_of(hide(frame, "train", seen))
        for seen in (Seen("student", train=10), Seen("teacher", train=20), Seen("student", train=20, seed=1))
    )
    assert few < many and many != other


def test_held_out_is_never_hidden_and_never_flipped():
    frame = visits()
    assert hide(frame, "held_out", Seen("student", train=1, tuning=1, noise=0.5)).equals(frame)


def test_noise_flips_its_share_of_seen_labels_in_train_alone_whoever_else_is_seen():
    frame = visits(600)
    noisy = hide(frame, "train", Seen("student", noise=0.2))
    assert noisy["labels"].is_null().equals(frame["labels"].is_null())
    bits, flipped = (np.array(each["labels"].drop_nulls().to_list()) for each in (frame, noisy))
    share_K = (bits != flipped).mean(axis=0)
    assert (abs(share_K - 0.2) < 0.06).all() and abs(share_K.mean() - 0.2) < 0.03  # 800 visits: 4 and 5 deviations
    few = hide(frame, "train", Seen("student", train=30, noise=0.2))
    kept = few["labels"].is_not_null()
    assert kept.sum() > 0 and few.filter(kept)["labels"].equals(noisy.filter(kept)["labels"])
    assert not hide(frame, "train", Seen("student", noise=0.2, seed=1)).equals(noisy)
    assert hide(frame, "tuning", Seen("student", noise=0.2)).equals(frame)


@pytest.mark.parametrize(
    ("most", "words"),
    [
        (41, "student.labelled.train=41 asks for more subjects than the 40 of train that have a labelled visit"),
        (0, "student.labelled.train=0 hides the labels of all 40 subjects of train from the student: give at least 1"),
        (0.01, "student.labelled.train=0.01 hides the labels of all 40 subjects of train"),
        (2.5, "student.labelled.train=2.5 is neither a whole number of subjects nor a share below 1"),
    ],
)
def test_what_cannot_be_seen_is_refused_in_one_sentence(most, words):
    with pytest.raises(ValueError) as refusal:
        hide(visits(), "train", Seen("student", train=most))
    assert words in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_label_that_only_others_have_is_refused_or_allowed():
    frame = visits().with_columns(
        labels=pl.when(pl.col("labels").is_not_null()).then(
            pl.concat_list(pl.lit(1), (pl.col("subject_id") == 1).cast(pl.Int64), *[pl.lit(0)] * 3).cast(
                pl.List(pl.Int8)
            )
        )
    )
    seen = next(
        s
        for s in (Seen("teacher", train=3, seed=i) for i in range(99))
        if 1 not in subjects_of(hide(frame, "train", s))
    )
    shown = {"train": hide(frame, "train", seen), "tuning": frame, "held_out": frame}
    with pytest.raises(ValueError, match=r"4 of 5 labels never occur among those that the teacher sees in train") as no:
        check_seen(shown, LABELS, seen, "refuse")
    assert repr(LABELS[1]) in str(no.value) and "teacher.labelled.train" in str(no.value)
    assert check_seen(shown, LABELS, seen, "allow") == {"train": {"subjects": 3, "visits": 6}}
    everything = dict.fromkeys(("train", "tuning", "held_out"), frame)
    assert check_seen(everything, LABELS, ALL, "refuse") == {}  # stage select has said what it says of all labels
    assert said_of({}, ALL) == []


def test_unlabelled_weight_weighs_rows_without_a_seen_label():
    """A loss of weighted rows is the sum of each row's own, times its weight; a step's weight says the same."""
    pytest.importorskip("torch")
    import torch

    from ckd_dist.models.losses import Mixing
    from tests.studies.disease.test_task import HARD, KNOWN, SOFT, Rows

    def of(weight):
        return DiseaseTask(Rows([4, 2, 7, 1]), 0, HARD, KNOWN, SOFT, Mixing(0.7, 2.0), weight)

    logits = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    rows = range(4)
    alone = [float(of(1.0).loss(logits[[i]], of(1.0).collate([i]))) for i in rows]
    for weight in (0.0, 0.25, 1.0, 3.0):
        assert of(weight).weights.tolist() == [1, 1, weight, 1]
        loss = float(of(weight).loss(logits, of(weight).collate(list(rows))))
        assert loss == pytest.approx(sum(a * w for a, w in zip(alone, of(weight).weights, strict=True)), rel=1e-5)


# --- row 41: what is hidden is read by nobody -----------------------------------------------------------------------

HIDDEN = [f"{role}.labelled.{most}" for role in ("student", "teacher") for most in ("train=25", "tuning=6")]
TEACHER_ONLY = ["prompt.teacher_only=[efficacies,drugs]", "prompt.question=short", "prompt.min_support=2"]
LEARNERS = ("distilled", "hard", "labelled_only", "calibrated", "own", "own_crossfit", "logistic", "trees", "copy_last")
EXPERIMENTS = [f"experiments.variants={json.dumps(LEARNERS)}", "experiments.seeds=1"]
MADE = ("base", "prompts", "teacher", "softlabels", "student", "student_hard", "predictions")
RESULTS = (
    "*.safetensors",
    "*.parquet",
    "knowledge.json",
    "calibration.json",
    "tokenizer.json",
)  # others name their run


def flip_hidden(run: DiseaseRun, seen: Seen) -> int:
    """Flip every label that is hidden, in the samples that stage select wrote; return in how many visits."""
    finished, flipped = read(run, "select"), 0
    for split in ("train", "tuning"):
        frame = pl.read_parquet(run.samples(split))
        hidden = frame["labels"].is_not_null() & hide(frame, split, seen)["labels"].is_null()
        other = pl.col("labels").list.eval((1 - pl.element()).cast(pl.Int8))
        with replacing(run.samples(split)) as temporary:
            frame.with_columns(labels=pl.when(hidden).then(other).otherwise("labels")).write_parquet(temporary)
        finished.files[str(run.samples(split).relative_to(run.root))] = hash_file(run.samples(split))
        flipped += int(hidden.sum())
    finish(run, finished)
    return flipped


def made(run: DiseaseRun) -> dict[str, str]:
    """Hash all weights, shards, tables, knowledge, calibrations and vocabularies that came after select, by path."""
    files = (file for folder in MADE for kind in RESULTS for file in (run.root / folder).rglob(kind))
    return {str(file.relative_to(run.root)): hash_file(file) for file in files}


@pytest.fixture(scope="module")
def twins(tmp_path_factory) -> tuple[DiseaseRun, DiseaseRun]:
    """The same pipeline twice; in the second run every label is flipped that nobody may see."""
    one, other = (DiseaseRun(tmp_path_factory.mktemp("twins") / name) for name in ("one", "other"))
    pipeline = ["pipeline", *ARGUMENTS, *HIDDEN, *TEACHER_ONLY, *EXPERIMENTS, "--local", "--run"]
    assert ckd(*pipeline, one.root, "--until", "select").code == 0
    assert {file.stem for file in one.stage("any").parent.iterdir()} == {"extract", "select"}
    shutil.copytree(one.root, other.root)
    assert flip_hidden(other, Seen("student", train=25, tuning=6)) > 20
    for run in (one, other):
        said = ckd(*pipeline, run.root)
        assert said.code == 0, said.err
        for role in ("student", "teacher"):
            assert f"the {role} sees the labels of 25 subjects of train" in said.out
    return one, other


@pytest.mark.slow
def test_flipping_hidden_labels_changes_no_byte_of_what_any_stage_makes(twins):
    """Weights, shards, prompts, knowledge, calibrations, predictions and every score of the report are the same."""
    first, second = map(made, twins)
    assert first.keys() == second.keys() and len(first) > 30
    assert [path for path in first if first[path] != second[path]] == []
    scores = [json.loads((run.report / "metrics.json").read_text()) for run in twins]
    for each in scores:
        del each["experiments"]["idle_share"]  # a time
    assert [key for key in scores[0] if scores[0][key] != scores[1].get(key)] in (["timings"], ["timings", "summary"])
    assert any("sees the labels of 25 subjects of train" in note for note in scores[0]["notes"])


@pytest.mark.slow
def test_no_experiment_learns_from_a_hidden_label(twins):
    first, second = ({file.name: Result.read(file) for file in run.experiments.iterdir()} for run in twins)
    assert first.keys() == second.keys() and {each.experiment.variant for each in first.values()} == set(LEARNERS)
    for name, result in first.items():
        assert np.array_equal(result.probabilities_NK, second[name].probabilities_NK), name


@pytest.mark.slow
def test_what_only_the_teacher_reads_is_not_in_the_student_s_folder_or_texts(twins, tmp_path):
    run, _ = twins
    drugs = pl.read_parquet(run.samples("train"))["medications"].explode().drop_nulls().value_counts(sort=True)
    canary = drugs["medications"][0]
    read_by = {
        role: pl.read_parquet(run.prompts("train", role))["text"].str.join("\n")[0] for role in ("teacher", "student")
    }
    assert canary in read_by["teacher"] and "Treatments that were often" in read_by["teacher"]
    assert canary not in read_by["student"] and "Treatments that were often" not in read_by["student"]
    assert "medication" not in read_by["student"] and "Determine that" not in read_by["teacher"]
    assert run.knowledge.is_file() and not (run.student / "knowledge.json").exists()
    said = ckd("predict", "--model", run.student, "--source", "synthetic:20", "--out", tmp_path / "new")
    assert said.code == 0, said.err
