"""The third study's numbers: means over seeds, paired intervals, and what may be claimed."""

import dataclasses

import numpy as np
import polars as pl
import pytest
from scipy.stats import norm
from sklearn.metrics import average_precision_score, roc_auc_score

from ckd_dist.report.bootstrap import resample
from ckd_dist.studies.concepts.report.measure import by_outcome, measure, rank
from ckd_dist.studies.concepts.report.results import Line, Results
from ckd_dist.studies.concepts.report.tables import MACRO, ConceptTables
from ckd_dist.studies.concepts.report.wording import sentences_of
from tests.studies.concepts.report.fakes import EMBEDDINGS, REGIMES, make_results


def test_scores_are_means_over_seeds(results: Results, tables: ConceptTables) -> None:
    """scikit-learn's, averaged over outcomes and seeds; the best seed stands in the spread alone."""
    targets = {target.site: target for target in results.targets}
    assert len(tables.scores) == len({one.line for one in results.scored})
    for score in tables.scores[::3]:
        key = score.line
        cells = [one for one in results.scored if one.line == key]
        truth = targets[key.target].outcomes_NK
        for name, reference in (("auroc", roc_auc_score), ("auprc", average_precision_score)):
            of_seeds = [
                np.mean([reference(truth[:, k], one.probabilities_NK[:, k]) for k in range(3)]) for one in cells
            ]
            found = getattr(score, name)[MACRO]
            assert found.value == pytest.approx(np.mean(of_seeds), abs=1e-9)
            assert found.least == pytest.approx(min(of_seeds), abs=1e-9)
            assert found.most == pytest.approx(max(of_seeds), abs=1e-9)
            assert found.low < found.value < found.high
        assert score.seeds == len(cells) == 3


def test_intervals_are_those_of_resampled_subjects(results: Results, tables: ConceptTables) -> None:
    """The slow way: write every drawn subject's rows as often as it was drawn, and ask scikit-learn."""
    score = next(score for score in tables.scores if score.line.regime == "shared")
    key = score.line
    target = next(target for target in results.targets if target.site == key.target)
    drawn = resample(target.subject_N, results.bootstrap_draws, results.seed)
    probabilities = [one.probabilities_NK[:, 0] for one in results.scored if one.line == key]
    values = []
    for counts_S in drawn.counts_SD.T:
        rows = np.repeat(np.arange(len(target.subject_N)), counts_S[drawn.subject_N].astype(int))
        values.append(np.mean([roc_auc_score(target.outcomes_NK[rows, 0], p[rows]) for p in probabilities]))
    found = score.auroc["death in hospital"]
    assert [found.value, found.low, found.high] == pytest.approx(
        [values[0], *np.quantile(values[1:], [0.025, 0.975])], abs=1e-9
    )


def test_intervals_cover_the_truth() -> None:
    """Two normal scores, one standard deviation apart: 95 of 100 intervals should hold the AUROC of everybody."""
    random, truth, held = np.random.default_rng(0), norm.cdf(1 / np.sqrt(2)), 0
    for seed in range(120):
        outcomes_NK = (random.random((120, 1)) < 0.4).astype(int)
        seeds = 0.5 * random.normal(size=(3, 120, 1)) + np.sqrt(0.75) * random.normal(size=(120, 1)) + outcomes_NK
        drawn = resample(np.arange(120), 200, seed)
        auroc_RKD = np.stack([rank(outcomes_NK, norm.cdf(one), drawn)[0] for one in seeds])
        found = by_outcome(auroc_RKD, ["death"])[MACRO]
        assert found.least <= found.value <= found.most
        held += found.low <= truth <= found.high
    assert 0.88 * 120 <= held < 120


def test_differences_are_paired(results: Results) -> None:
    """The same predictions under another name differ by nothing at all, and nearly the same by nearly nothing."""
    one_hot = {
        one.seed: one.probabilities_NK
        for one in results.scored
        if one.line == Line("one-hot", "max", "shared", "north", "south", None)
    }
    changed = [
        dataclasses.replace(one, probabilities_NK=one_hot[one.seed] * (1 if one.embedding == "student" else 0.999) ** 2)
        if one.regime == "shared" and one.target == "south"
        else one
        for one in results.scored
    ]
    found = measure(dataclasses.replace(results, scored=changed, spaces=()))
    same = [line for line in found.differences if line.kind in ("embedding", "student")]
    same = [line.auroc[MACRO] for line in same if line.first.regime == "shared" and line.target == "south"]
    assert len(same) == 3
    for cell in same:
        assert (cell.value, cell.low, cell.high, cell.verdict) == pytest.approx((0, 0, 0, "unclear"))
    shared = next(s.auroc[MACRO] for s in found.scores if (s.line.regime, s.line.target) == ("shared", "south"))
    assert shared.high - shared.low > 0.05


def test_what_is_compared(tables: ConceptTables) -> None:
    found = {
        (line.kind, line.first.embedding, line.first.regime, line.second.regime, line.target)
        for line in tables.differences
    }
    sites = ("north", "south")
    others = [name for name in EMBEDDINGS if name != "one-hot"]
    wanted = {("embedding", name, regime, regime, site) for name in others for regime in REGIMES for site in sites}
    wanted |= {("student", "student", regime, regime, site) for regime in REGIMES for site in sites}
    wanted |= {("full − local", name, "full", "local", site) for name in EMBEDDINGS for site in sites}
    wanted |= {("frozen − shared", name, "frozen", "shared", site) for name in EMBEDDINGS for site in sites}
    assert found == wanted
    assert len(tables.differences) == len(wanted)
    values = {score.line: score.auroc for score in tables.scores}
    for line in tables.differences:
        first, second = values[line.first], values[line.second]
        for outcome, cell in line.auroc.items():
            assert cell.value == pytest.approx(first[outcome].value - second[outcome].value, abs=1e-9)
            clear = cell.low > 0 or cell.high < 0
            verdict = "better" if cell.value > 0 else "worse"
            assert cell.verdict == (verdict if clear else "unclear")


def test_a_lost_seed_is_left_out_of_both_sides(results: Results) -> None:
    """Seed 1 of one line is missing: its differences are of seeds 0 and 2."""
    lost = Line("student", "max", "shared", "north", "south", None)
    kept = [one for one in results.scored if (one.line, one.seed) != (lost, 1)]
    found = measure(dataclasses.replace(results, scored=kept, spaces=()))
    line = next(line for line in found.differences if line.kind == "embedding" and line.first == lost)
    assert line.seeds == 2
    target = next(target for target in results.targets if target.site == "south")
    mean = {
        name: np.mean(
            [
                roc_auc_score(target.outcomes_NK[:, k], one.probabilities_NK[:, k])
                for one in kept
                if one.line == lost._replace(embedding=name) and one.seed in (0, 2)
                for k in range(3)
            ]
        )
        for name in ("student", "one-hot")
    }
    assert line.auroc[MACRO].value == pytest.approx(mean["student"] - mean["one-hot"], abs=1e-9)
    assert any("same number of seeds: 2 to 3" in warning for warning in sentences_of(found).warnings)


def test_overlap_and_sites_are_counted(results: Results, tables: ConceptTables) -> None:
    has: dict[str, list[int]] = {"north": [], "south": []}
    for case in results.cases.iter_rows(named=True):
        has[case["site"]] += case["concepts"]
    for line in tables.overlap:
        source, target = has[line.source], has[line.target]
        both = set(source) & set(target)
        assert line.share_of_concepts == pytest.approx(len(both) / len(set(target)))
        assert line.share_of_records == pytest.approx(np.mean([concept in both for concept in target]))
    for site in tables.sites:
        assert site.vocabulary == len(set(has[site.site]))
        for split in site.splits:
            own = results.cases.filter((pl.col("site") == site.site) & (pl.col("split") == split.split))
            assert split.subjects == own["subject_id"].n_unique()
            assert list(split.positives.values()) == np.array(own["outcomes"].to_list()).sum(axis=0).tolist()


def test_the_rest_is_every_other_site() -> None:
    results = make_results(sites=("north", "south", "west"), num_seeds=1, sizes=())
    moved = [
        dataclasses.replace(one, source="all but west")
        for one in results.scored
        if one.target == "west" and one.source == "north"
    ]
    found = measure(dataclasses.replace(results, scored=moved))
    (line,) = found.overlap
    has = {site: set(own["concepts"].explode()) for (site,), own in results.cases.group_by("site")}
    assert line.shared_concepts == len((has["north"] | has["south"]) & has["west"])
    assert sentences_of(found).warnings[0].startswith("One seed")


def test_the_steps_curve_is_a_mean(tables: ConceptTables) -> None:
    """Seed s adds s hundredths."""
    assert {curve.line.regime for curve in tables.steps} == {"frozen", "full"}
    for curve in tables.steps:
        for point in curve.points:
            middle = 0.6 + 0.02 * point.step - 0.001 * point.step**2 + 0.01
            found = (point.least, point.value, point.most)
            assert found == pytest.approx((middle - 0.01, middle, middle + 0.01))


@pytest.mark.parametrize(("positives", "silent"), [(9, True), (10, False)])
def test_few_positives_claim_nothing(positives: int, silent: bool) -> None:
    """A perfect model against a useless one, with nine and with ten who died."""
    results = make_results(num_seeds=2, sizes=())
    cases = results.cases.with_columns(outcomes=pl.Series([[0]] * results.cases.height, dtype=pl.List(pl.Int8)))
    target = dataclasses.replace(results.targets[1], baselines={}, oracle_NK=None)
    outcomes_NK = (np.arange(len(target.case_id_N)) < positives).astype(np.int8)[:, None]
    useless = np.random.default_rng(0).random(outcomes_NK.shape)
    scored = [
        dataclasses.replace(one, probabilities_NK=useless if one.embedding == "one-hot" else outcomes_NK * 0.5)
        for one in results.scored
        if one.target == "south"
    ]
    found = measure(
        dataclasses.replace(
            results, cases=cases, targets=[dataclasses.replace(target, outcomes_NK=outcomes_NK)], scored=scored
        )
    )
    lines = [line for line in found.differences if line.kind == "embedding"]
    assert {line.auroc[MACRO].verdict for line in lines} == {"unclear" if silent else "better"}
    assert all(line.auroc[MACRO].low > 0 for line in lines)
    assert any("Too few for claims at south" in warning for warning in sentences_of(found).warnings) is silent
