"""The third study's stages: what each depends on, and what is refused before anything is lost."""

from dataclasses import replace
from shutil import copytree

import numpy as np
import pytest

from ckd_dist.config import values_of
from ckd_dist.models.embed import EmbedderOptions, load_embedder
from ckd_dist.record import read
from ckd_dist.studies.concepts import STUDY
from ckd_dist.studies.concepts.cases.built import JoinOptions
from ckd_dist.studies.concepts.cases.cases import read_concepts
from ckd_dist.studies.concepts.cases.options import CaseOptions
from ckd_dist.studies.concepts.cases.sources import Sources, read_sources
from ckd_dist.studies.concepts.runfolder import ConceptsRun
from ckd_dist.studies.concepts.tables import Table, keys_of
from launch.choose import with_source
from tests.studies.concepts.small import (
    SMALL,
    STUDENT,
    TEACHER,
    do_stage,
    plan_of,
)

NAMES = [stage.name for stage in STUDY.all_stages]

# --- what a stage depends on -----------------------------------------------------------------------------------------


def stale(recipe, run: ConceptsRun) -> list[str]:
    """The stages that a recipe would do again."""
    return [state.name for state in STUDY.ledger(recipe, run).status() if state.state != "done"]


@pytest.fixture(scope="module")
def finished(done, run, tmp_path_factory) -> ConceptsRun:
    """A run with its report."""
    copy = ConceptsRun(tmp_path_factory.mktemp("finished") / "run")
    copytree(run.root, copy.root)
    do_stage("evaluate", SMALL, copy)
    return copy


def test_a_finished_run_is_done(finished):
    assert stale(SMALL, finished) == []


def student(**changes):
    return replace(SMALL, student=replace(SMALL.student, **changes))


def embed(**changes):
    return replace(SMALL, embed=replace(SMALL.embed, **changes))


CHANGES = {
    "another student": (student(base="some/where"), ["distill", "tabulate", "transfer", "evaluate"]),
    "a longer student": (student(max_tokens=32), ["distill", "tabulate", "transfer", "evaluate"]),
    "no one-hot": (embed(one_hot=False), ["transfer", "evaluate"]),
    "random vectors": (embed(random=8), ["tabulate", "transfer", "evaluate"]),
    "other shards": (embed(shard_rows=9), ["embed", "distill", "tabulate", "transfer", "evaluate"]),
    "more seeds": (replace(SMALL, grid=replace(SMALL.grid, seeds=2)), ["transfer", "evaluate"]),
    "another pair": (
        replace(SMALL, grid=replace(SMALL.grid, pairs=("south->north",))),
        ["distill", "tabulate", "transfer", "evaluate"],
    ),
    "more draws": (replace(SMALL, evaluate=replace(SMALL.evaluate, bootstrap_draws=200)), ["evaluate"]),
    "fewer cases": (replace(SMALL, sites=replace(SMALL.sites, max_concepts=9)), NAMES),
    "more workers": (embed(workers=replace(SMALL.embed.workers, num=5)), []),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_undoes_the_stages_that_read_it_and_no_other(finished, change):
    recipe, wanted = CHANGES[change]
    assert stale(recipe, finished) == wanted


def test_a_list_of_phrases_undoes_what_learns_from_it_when_its_contents_change(finished, tmp_path):
    listed = tmp_path / "listed.txt"
    listed.write_text("fever\n")
    states = STUDY.ledger(embed(phrases=str(listed)), finished)
    fields = [states.fields(name) for name in ("embed", "distill", "tabulate")]
    listed.write_text("cough\n")
    assert all(states.fields(name) != old for name, old in zip(("embed", "distill", "tabulate"), fields, strict=True))
    assert stale(embed(phrases=str(listed)), finished) == NAMES[1:]


def test_no_student_needs_no_distillation(finished):
    state = STUDY.ledger(student(of=None), finished).state("distill")
    assert (state.state, state.why) == ("done", "not needed by this recipe")


# --- vectors by concept ----------------------------------------------------------------------------------------------


def test_every_concept_has_the_vector_of_its_own_phrase(run):
    concepts = read_concepts(run)
    plan = plan_of(run)
    assert plan.num_shards > 2 and plan.sample_id_N.tolist() != sorted(plan.sample_id_N)  # an order to undo
    for name, folder in ((TEACHER, run.base(TEACHER)), (STUDENT, run.student)):
        embedder = load_embedder(folder, EmbedderOptions(pooling="mean" if name == TEACHER else "own"))
        table = Table.open(run.vectors(name))
        got_VD = table.rows_of(keys_of(concepts))
        for text, got_D in list(zip(concepts["text"], got_VD, strict=True))[::7]:
            np.testing.assert_allclose(got_D, embedder.embed([text], micro_tokens=1000)[0], atol=1e-4)
        assert len(np.unique(got_VD.round(4), axis=0)) > len(concepts) * 0.9


# --- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    ["", "synthetic:200,", "wrong:place", "synthetic:x", "findings:/nowhere", "eicu:/nowhere", "A=mimic3:/nowhere",
     "synthetic:60,synthetic:60", "A=synthetic:60,B=synthetic:90"],
)  # fmt: skip
def test_a_source_that_is_none_is_refused_in_a_sentence(tmp_path, source):
    recipe, run = with_source(STUDY, SMALL, source), ConceptsRun(tmp_path)
    with pytest.raises(ValueError) as refused:
        do_stage("read", recipe, run)
    assert "\n" not in str(refused.value) and refused.value.__cause__ is None
    assert read(run, "read") is None


def test_an_embedding_without_a_name_is_refused_before_anything_is_read(tmp_path):
    recipe = embed(models=(replace(SMALL.embed.models[0], name="random"),))
    with pytest.raises(ValueError, match="an embedding cannot be called 'random'"):
        do_stage("read", recipe, ConceptsRun(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_several_sources_are_told_apart_by_commas_and_a_name_makes_one_site(tmp_path):
    recipe = with_source(STUDY, SMALL, "A=mimic3:/x,B=eicu:/y,z")
    assert recipe.sites.sources == ("A=mimic3:/x", "B=eicu:/y,z") and recipe.grid == SMALL.grid  # z has no kind
    named = with_source(STUDY, SMALL, "A=synthetic:60")
    asked = (values_of(named.sites, kind) for kind in (Sources, CaseOptions, JoinOptions))
    built, _ = read_sources(*asked, ConceptsRun(tmp_path), lambda *_, **__: None)
    assert built.cases["site"].unique().to_list() == ["A"]
