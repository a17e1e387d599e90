"""The third study under Ray and under kills, its law at full length, and eICU's open demo.  Minutes each."""

import json
import os
import shutil
import signal
import time
from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from ckd_dist import record
from ckd_dist.studies.concepts import STUDY
from ckd_dist.studies.concepts.runfolder import ConceptsRun
from tests.data import DATA
from tests.end_to_end.concepts import SMALL, SYNTHETIC, assert_same_results, metrics, results, run_pipeline
from tests.end_to_end.on_ray import on_ray, start, wait_for_end
from tests.end_to_end.small import ckd, hashes, ledger_of, passed, recipe_of, times

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

# --- Ray -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def on_two(tmp_path_factory):
    """A finished run of two Ray workers."""
    run = ConceptsRun(tmp_path_factory.mktemp("ray") / "run")
    on_ray("pipeline", run, "--recipe", "concepts_tiny", "--source", SYNTHETIC, *SMALL)
    recipe = recipe_of(run)
    assert recipe.embed.workers.num == recipe.student.workers.num == recipe.grid.workers.num == 2
    return run


def test_the_run_on_two_workers_ends_and_a_second_run_does_nothing(on_two):
    assert len({result.worker for result in results(on_two).values()}) == 2, "both did experiments"
    ranks = {int(file.parent.name.split("-w")[1].split("-")[0]) for file in on_two.root.rglob("COMMITTED")}
    assert ranks == {2}, "every checkpoint is one of two ranks"
    before = hashes(on_two)
    said = on_ray("pipeline", on_two)
    assert passed(said) == list(STUDY.stages)
    assert hashes(on_two) == before
    assert ckd("verify", on_two.root).code == 0
    assert {state.state for state in ledger_of(on_two).status()} == {"done"}
    assert not (on_two.root / "driver.lock").exists() and not (on_two.root / "STOP").exists()
    for path in [on_two.root, *on_two.root.rglob("*")]:
        assert not path.stat().st_mode & 0o077, path
    for name in ("report.md", "report.html", "metrics.json"):
        assert (on_two.report / name).stat().st_size > 1000


def test_without_ray_every_experiment_gives_the_same(on_two, tmp_path):
    """To the bit; but two ranks sum the small encoder's gradients in another order than one does."""
    alone = ConceptsRun(tmp_path / "alone")
    run_pipeline(alone, SYNTHETIC)
    student = {experiment for experiment in results(on_two) if experiment.embedding == "student"}
    wanted, found = results(on_two), results(alone)
    assert len(student) == len(wanted) / 3
    for experiment in student:
        one, other = found.pop(experiment), wanted.pop(experiment)
        np.testing.assert_allclose(one.probabilities_NK, other.probabilities_NK, atol=1e-3)
    assert_same_results(found, wanted)
    for name in ("embeddings/tiny teacher.safetensors", "concepts/cases.parquet", "concepts/concepts.parquet"):
        assert hashes(alone)[name] == hashes(on_two)[name]


# --- kills -----------------------------------------------------------------------------------------------------------


@pytest.mark.fault
def test_dead_workers_cost_an_experiment_each_and_a_dead_driver_nothing_that_was_done(on_two, tmp_path):
    """In the middle of the grid both workers are killed, others take their seats; then the driver is."""
    longer = ("grid.seeds=4", "grid.train.epochs=30", "grid.tune.epochs=15", "grid.steps_curve=0")
    runs = undisturbed, killed = [ConceptsRun(tmp_path / name) for name in ("undisturbed", "killed")]
    for run in runs:
        shutil.copytree(on_two.root, run.root)
        shutil.rmtree(run.experiments)
    assert ckd("transfer", "--run", undisturbed.root, "--local", *longer).code == 0
    wanted = results(undisturbed)
    with start("transfer", killed, *longer) as driver:
        first = until(driver, lambda: workers(killed) if len(workers(killed)) == 2 else None)
        for worker in first:
            os.kill(worker, signal.SIGKILL)
        until(driver, lambda: workers(killed) - first)
        driver.send_signal(signal.SIGKILL)
        assert driver.wait() == -signal.SIGKILL, "the fault fired"
    done = results(killed)
    assert 2 < len(done) < len(wanted) and not killed.stage("transfer").exists()
    wait_for_end(driver.pid)
    before = times(killed)
    said = on_ray("transfer", killed)  # the folder knows the overrides
    after = times(killed)
    experiments = {path for path in before if path.startswith("experiments/") and path.endswith(".safetensors")}
    assert len(experiments) >= len(done) and all(after[path] == before[path] for path in experiments), (
        "none is done again"
    )
    assert f"{len(wanted)} experiments" in said
    assert_same_results(results(killed), wanted)
    assert {path for path in after if path.startswith("experiments/")} == {
        f"experiments/{c.name}.safetensors" for c in wanted
    }
    assert record.verify(killed) == []


def workers(run):
    """Processes that finished an experiment."""
    return {result.worker for result in results(run).values()} if run.experiments.is_dir() else set()


def until(driver, find):
    """What `find` says once it says something, while the driver lives."""
    deadline = time.monotonic() + 600
    while not (found := find()):
        assert driver.poll() is None, "the driver ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


# --- the law ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def law(tmp_path_factory):
    """The numbers of north -> south: a tiny model's vectors against one-hot codes."""
    run = ConceptsRun(tmp_path_factory.mktemp("law") / "run")
    grid = [
        "models=[{kind: max}]",
        "regimes=[local,shared,full]",
        "pairs=['north->south']",
        "sizes=[]",
        "steps_curve=0",
    ]
    few = [f"grid.{each}" for each in grid]
    said = ckd("pipeline", "--recipe", "concepts_tiny", "--run", run.root, "--local", *few, "student.of=null")
    assert said.code == 0, said.err
    report = metrics(run)
    assert report["recipe"]["sites.sources"] == ["synthetic:1200"] and report["recipe"]["grid.seeds"] == 2
    return report


def auroc(law, outcome):
    """At south, with intervals: by (embedding, regime), and the oracle's."""
    scores = {(s["embedding"], s["regime"]): s["auroc"][outcome] for s in law["scores"] if s["target"] == "south"}
    (oracle,) = (f["auroc"][outcome] for f in law["baselines"] if (f["name"], f["target"]) == ("oracle", "south"))
    return scores, oracle


def shared_less_one_hot(law, outcome):
    (found,) = (
        d["auroc"][outcome]
        for d in law["differences"]
        if d["kind"] == "embedding" and d["first"]["regime"] == "shared" and d["target"] == "south"
    )
    return found


def test_other_names_are_carried_over_by_vectors_and_not_by_codes(law):
    scores, _ = auroc(law, "other names")
    assert shared_less_one_hot(law, "other names")["low"] > 0
    assert scores["tiny teacher", "shared"]["low"] > 0.6
    assert scores["one-hot", "shared"]["value"] < 0.6, "no better than chance and a little"


def test_same_names_are_carried_over_by_both(law):
    scores, _ = auroc(law, "same names")
    assert scores["tiny teacher", "shared"]["low"] > 0.65 and scores["one-hot", "shared"]["low"] > 0.65


def test_opaque_codes_are_carried_over_by_nobody(law):
    scores, _ = auroc(law, "opaque codes")
    assert scores["tiny teacher", "shared"]["value"] < 0.6 and scores["one-hot", "shared"]["value"] < 0.6
    assert scores["one-hot", "local"]["low"] > 0.6, "south's own model can"


def test_reversed_effects_mislead_until_the_model_is_tuned(law):
    scores, _ = auroc(law, "reversed effects")
    for embedding in ("tiny teacher", "one-hot"):
        assert scores[embedding, "shared"]["high"] < 0.5
        assert scores[embedding, "full"]["value"] > scores[embedding, "shared"]["value"] + 0.1
    assert scores["tiny teacher", "full"]["low"] > scores["tiny teacher", "shared"]["high"]


@pytest.mark.parametrize("outcome", ["same names", "other names", "opaque codes", "reversed effects"])
def test_nobody_beats_the_law_itself(law, outcome):
    scores, oracle = auroc(law, outcome)
    assert len(scores) == 6 and oracle["low"] > 0.7
    for line, score in scores.items():
        assert score["value"] < oracle["value"] + 0.02, line


# --- eICU ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def eicu(tmp_path_factory):
    if not (DATA / "eicu_demo").is_dir():
        pytest.skip("no eICU demo: set CKD_DATA to a folder that holds eicu_demo")
    run = ConceptsRun(tmp_path_factory.mktemp("eicu") / "run")
    grid = ["models=[{kind: max}]", "regimes=[local,shared,full]", "pairs=['rest->South']", "sizes=[]", "steps_curve=0"]
    few = [*(f"grid.{each}" for each in grid), "grid.seeds=1", "grid.rates=[]", "embed.random=64"]
    few += ["embed.models=[]", "evaluate.bootstrap_draws=200"]
    source = ("--source", f"eicu:{DATA / 'eicu_demo'}")
    said = ckd("pipeline", "--recipe", "concepts_eicu", *source, "--run", run.root, "--local", *few)
    assert said.code == 0, said.err
    return run


def test_the_flow_of_eicu_adds_up(eicu):
    """From every unit stay of the source to the cases; each row takes away what it says."""
    flow = record.read(eicu, "read").numbers["flow"]
    assert flow[0] == ["unit stays", 0, 2520]
    for (_, _, before), (reason, excluded, left) in pairwise(flow):
        assert before - excluded == left, reason
    assert len(pl.read_parquet(eicu.cases)) == flow[-1][2]


def test_the_sites_of_eicu_are_its_regions(eicu):
    """Cases and deaths of each, counted from the source's own tables another way.

    A patient dies once: one of the demo has two stays of a year that both ended in death, and the second is no case.
    """
    tables = {
        name: pl.read_csv(DATA / "eicu_demo" / f"{name}.csv.gz", infer_schema=False) for name in ("patient", "hospital")
    }
    minute = pl.col("hospitaldischargeoffset").cast(pl.Int64)
    stays = (
        tables["patient"]
        .join(tables["hospital"], on="hospitalid")
        .filter(pl.col("region").is_not_null(), pl.col("region") != "", minute > 24 * 60)
        .unique(["patienthealthsystemstayid", "hospitaladmitoffset"])
    )
    ended_in_death = tables["patient"].filter(hospitaldischargestatus="Expired").unique("patienthealthsystemstayid")
    ended_in_death = ended_in_death.sort(pl.col("patienthealthsystemstayid").cast(pl.Int64))
    deaths_again = ended_in_death.filter(~pl.col("uniquepid").is_first_distinct())
    stays = stays.join(deaths_again, on="patienthealthsystemstayid", how="anti")
    lost = {reason: excluded for reason, excluded, _ in record.read(eicu, "read").numbers["flow"]}
    assert lost["admitted after death"] == len(deaths_again) == 1
    wanted = stays.group_by("region").agg(n=pl.len(), died=(pl.col("hospitaldischargestatus") == "Expired").sum())
    report = {}
    for site in metrics(eicu)["sites"]:
        splits = site["splits"]
        report[site["site"]] = tuple(sum(values(split) for split in splits) for values in (cases, deaths))
    assert report == {region: (n, died) for region, n, died in wanted.rows()}


def cases(split):
    return split["cases"]


def deaths(split):
    return split["positives"]["death in hospital"]


def test_the_grid_of_eicu_goes_from_all_others_to_one(eicu):
    report = metrics(eicu)
    assert report["pairs"][0] == ["all but South", "South"] and set(report["embeddings"]) == {"one-hot", "random"}
    south = {(s["embedding"], s["regime"]) for s in report["scores"] if s["target"] == "South"}
    assert south == {(e, r) for e in ("one-hot", "random") for r in ("local", "shared", "full")}
    train = {site["site"]: site["splits"][0]["cases"] for site in report["sites"]}
    assert len(results(eicu)) == report["experiments"] + 2, "and the two source models, which stand at no one site"
    numbers = {(r.experiment.target, r.experiment.regime): r.numbers.get("num_train") for r in results(eicu).values()}
    assert numbers["South", "local"] == train["South"]
    assert numbers["all but South", "local"] == sum(train.values()) - train["South"]
    page = (eicu.report / "report.md").read_text()
    assert "eICU tables" in page and str(DATA) not in page + json.dumps(report)
