"""The small encoder: which phrases it may learn, and that no other shapes it."""

from dataclasses import replace

import numpy as np
import polars as pl

from ckd_dist.config import values_of
from ckd_dist.engine.loop import Phase
from ckd_dist.models.base import Start
from ckd_dist.models.card import Card
from ckd_dist.studies.concepts.cases.cases import read_cases
from ckd_dist.studies.concepts.distill import EncoderTraining, TeacherVectors, learned_rows, read_vectors, train_encoder
from ckd_dist.studies.concepts.embed import phrases_of
from ckd_dist.studies.concepts.tabulate import agreement
from ckd_dist.studies.concepts.task import SpaceWeights
from ckd_dist.world import World
from tests.studies.concepts.small import SMALL, STUDENT, plan_of

PAIRS = SMALL.grid.pairs


def test_a_student_learns_the_phrases_of_the_source_and_of_the_recipes_list(run, tmp_path):
    cases, phrases = read_cases(run), phrases_of(run, None)
    of_site = {
        site: cases.concepts.filter(pl.Series(cases.seen_V(cases.rows([site], "train"))))["text"]
        for site in cases.sites
    }
    learned = {phrases[row] for row in learned_rows(run, PAIRS, phrases, None)}
    assert learned == set(of_site["north"])
    foreign = sorted(set(of_site["south"]) - learned)
    assert len(foreign) > 10
    listed = tmp_path / "listed.txt"
    listed.write_text(f"{foreign[0]}\n\n  a phrase of nobody  \n")
    more = phrases_of(run, str(listed))
    assert set(more) - set(phrases) == {"a phrase of nobody"}
    learned_more = {more[row] for row in learned_rows(run, PAIRS, more, str(listed))}
    assert learned_more - learned == {foreign[0], "a phrase of nobody"}


def test_vectors_of_phrases_that_only_the_target_has_do_not_shape_the_student(run, tmp_path):
    phrases = phrases_of(run, None)
    learned = learned_rows(run, PAIRS, phrases, None)
    vectors_ND = read_vectors(run, plan_of(run))
    foreign_N = ~np.isin(np.arange(len(phrases)), learned)
    other_ND, hurt_ND = (np.where(rows[:, None], vectors_ND[:, ::-1], vectors_ND) for rows in (foreign_N, ~foreign_N))
    one, two, three = (
        weights_of_student(str(run.base(STUDENT)), tmp_path / str(place), TeacherVectors(phrases, vectors, learned))
        for place, vectors in enumerate((vectors_ND, other_ND, hurt_ND))
    )
    assert one == two != three


def weights_of_student(base: str, folder, teacher: TeacherVectors) -> dict[str, bytes]:
    """Weights of a student of these vectors, by file."""
    optim = replace(SMALL.student.optim, epochs=1)
    card = Card(data="phrases", patients=False, cohort="none", labels="vectors")
    weights = values_of(SMALL.student.loss, SpaceWeights)
    training = EncoderTraining("ddp", "float32", SMALL.student.held_out_fraction, SMALL.student.loss.anchors, weights)
    start = Start(base, None, SMALL.student.max_tokens)
    train_encoder(training, start, teacher, Phase(optim, folder, "digest", "cosine"), World(0, 1), card)
    files = sorted(path for path in folder.rglob("*.safetensors") if "step_" not in str(path))
    assert len(files) == 2
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_agreement_is_apart_for_what_was_not_learned():
    teacher_ND = np.eye(4, dtype=np.float32)
    student_ND = teacher_ND * np.array([2, 1, 1, 1], np.float32)[:, None]
    student_ND[3] = [1, 0, 0, 1]
    found = agreement(student_ND, teacher_ND, np.array([0, 1]))
    assert (found["phrases"], found["unlearned"]) == (4, 2)
    np.testing.assert_allclose([found["cosine"], found["cosine_unlearned"]], [(3 + 0.5**0.5) / 4, (1 + 0.5**0.5) / 2])
    assert "cosine_unlearned" not in agreement(student_ND, teacher_ND, np.arange(4))
