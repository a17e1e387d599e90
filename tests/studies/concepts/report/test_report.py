"""The third study's numbers and pages: means over seeds, paired intervals, and nobody named."""

import dataclasses
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.stats import norm
from sklearn.metrics import average_precision_score, roc_auc_score

from ckd_dist import schema
from ckd_dist.report.bootstrap import resample
from ckd_dist.studies.concepts.report import attribution as transfer_concepts
from ckd_dist.studies.concepts.report import measure as transfer_measure
from ckd_dist.studies.concepts.report import page as transfer_report
from ckd_dist.studies.concepts.report.measure import measure
from ckd_dist.studies.concepts.report.results import Line, Scored, Space, TransferResults, target_of

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
EMBEDDINGS = {"one-hot": 0.9, "tiny | <b>teacher": 0.3, "student": 0.5}  # how far its shared model is off
OUTCOMES = ("death in hospital", "stay <over> 7 days", "fever | <b>", "shock", "stroke", "sepsis", "anemia")
REGIMES = ("local", "shared", "frozen", "full")
NUM_CONCEPTS, NUM_SHARED = 60, 20  # 20 of both sites, 20 of one each
RARE = "rare <i>secret"  # in the text of every concept that too few have


def make_cases(num_cases: int, num_outcomes: int, seed: int, sites: Sequence[str] = ("north", "south")) -> pl.DataFrame:
    """Cases of every site, two a subject, each outcome likelier with a concept of its own."""
    random = np.random.default_rng(seed)
    rows = []
    for place, site in enumerate(sites):
        own = NUM_SHARED * (1 + place % 2)
        for number in range(num_cases):
            common = random.choice(NUM_SHARED - 2, 5, replace=False)
            local = own + random.choice(NUM_SHARED - 2, 4, replace=False)
            rare = [own + NUM_SHARED - 1] if number < 3 else []
            chance = 0.15 + 0.5 * np.isin(np.arange(num_outcomes), common)
            rows.append(
                {
                    "case_id": place * num_cases + number,
                    "subject_id": place * num_cases + number // 2,
                    "site": site,
                    "split": ("train", "held_out", "tuning", "held_out")[(number // 2) % 4],
                    "concepts": [*common.tolist(), *local.tolist(), *rare],
                    "outcomes": (random.random(num_outcomes) < chance).astype(int).tolist(),
                    "oracle": chance.tolist(),
                }
            )
    return pl.DataFrame(rows, schema=schema.CASES)


def make_concepts() -> pl.DataFrame:
    rare = (2 * NUM_SHARED - 1, NUM_CONCEPTS - 1)
    texts = [f"{RARE} {v}" if v in rare else f"finding <{v}> & $x_{v}$ | more" for v in range(NUM_CONCEPTS)]
    return pl.DataFrame(
        {
            "concept": range(NUM_CONCEPTS),
            "system": ["own"] * NUM_CONCEPTS,
            "text": texts,
            "code": [f"C{v}" for v in range(NUM_CONCEPTS)],
            "absent": [False] * NUM_CONCEPTS,
        },
        schema=schema.CONCEPTS,
    )


def make_results(
    num_cases: int = 240,
    num_outcomes: int = 1,
    num_seeds: int = 3,
    sites: Sequence[str] = ("north", "south"),
    models: Sequence[str] = ("max",),
    sizes: Sequence[int] = (10, 50),
    curves: bool = True,
    maps: bool = False,
) -> TransferResults:
    """Every part of the page is filled, its slow maps where asked for.  A model is the oracle with noise of its own."""
    cases = make_cases(num_cases, num_outcomes, seed=0, sites=sites)
    random = np.random.default_rng(1)
    floors = {"prevalence": 0.2, "logistic | regression": 0.3}
    targets = []
    for site in sites:
        plain = target_of(cases, site)
        constant = {name: np.full(plain.outcomes_NK.shape, value) for name, value in floors.items()}
        targets.append(dataclasses.replace(plain, floors=constant))
    by_site = {target.site: target for target in targets}

    def cell(embedding: str, model: str, source: str, target: str, regime: str, size: int | None, seed: int) -> Scored:
        at = by_site[target]
        off = EMBEDDINGS[embedding] if regime == "shared" else 0.2 if regime == "full" else 0.35
        off += 0.6 / (1 + size / 20) if size else 0
        noisy = np.log(at.oracle_NK / (1 - at.oracle_NK)) + random.normal(0, 4 * off, at.oracle_NK.shape)
        curve = [(step, 0.6 + 0.02 * step - 0.001 * step**2 + 0.01 * seed) for step in range(0, 20, 4)]
        tuned = curves and regime in ("frozen", "full") and size is None
        return Scored(
            embedding=embedding,
            model=model,
            source=source,
            target=target,
            regime=regime,
            size=size,
            seed=seed,
            case_id_N=at.case_id_N,
            probabilities_NK=1 / (1 + np.exp(-noisy)),
            curve=curve if tuned else (),
            seconds=1.5,
        )

    pairs = [(source, target) for source in sites for target in sites if source != target]
    scored = [
        cell(embedding, model, source, target, regime, size, seed)
        for embedding in EMBEDDINGS
        for model in models
        for source, target in pairs
        for regime in REGIMES
        for size in ((None,) if regime == "shared" else (*sizes, None))
        for seed in range(num_seeds)
        if regime != "local" or source == next(site for site in sites if site != target)
    ]
    return TransferResults(
        title="a made-up run",
        source="made-up numbers",
        date="2100-01-01",
        outcomes=OUTCOMES[:num_outcomes],
        cases=cases,
        concepts=make_concepts(),
        targets=targets,
        scored=scored,
        recipe={"grid.seeds": num_seeds},
        spaces=[Space(name, random.normal(size=(NUM_CONCEPTS, 8))) for name in list(EMBEDDINGS)[1:] if maps],
        learned={"student": "tiny | <b>teacher"},
        idle_share=0.034,
        left_out={"left_before_it": 12, "never": 0},
        versions={"torch": "2"},
        notes=("A note.",),
        bootstrap_draws=100,
    )


@pytest.fixture(scope="module")
def results() -> TransferResults:
    return make_results(num_outcomes=3, maps=True)


@pytest.fixture(scope="module")
def numbers(results: TransferResults) -> dict[str, Any]:
    return measure(results)


@pytest.fixture(scope="module")
def written(numbers: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("transfer")
    transfer_report.write(folder, numbers)
    return folder


def test_scores_are_means_over_seeds(results: TransferResults, numbers: dict[str, Any]) -> None:
    """scikit-learn's, averaged over outcomes and seeds; the best seed stands in the spread alone."""
    targets = {target.site: target for target in results.targets}
    assert len(numbers["scores"]) == len({one.line for one in results.scored})
    for line in numbers["scores"][::3]:
        key = Line(*(line[name] for name in Line._fields))
        cells = [one for one in results.scored if one.line == key]
        truth = targets[key.target].outcomes_NK
        for name, reference in (("auroc", roc_auc_score), ("auprc", average_precision_score)):
            of_seeds = [
                np.mean([reference(truth[:, k], one.probabilities_NK[:, k]) for k in range(3)]) for one in cells
            ]
            told = line[name]["macro"]
            assert told["value"] == pytest.approx(np.mean(of_seeds), abs=1e-9)
            assert told["least"] == pytest.approx(min(of_seeds), abs=1e-9)
            assert told["most"] == pytest.approx(max(of_seeds), abs=1e-9)
            assert told["low"] < told["value"] < told["high"]
        assert line["seeds"] == len(cells) == 3


def test_intervals_are_those_of_resampled_subjects(results: TransferResults, numbers: dict[str, Any]) -> None:
    """The slow way: write every drawn subject's rows as often as it was drawn, and ask scikit-learn."""
    line = next(line for line in numbers["scores"] if line["regime"] == "shared")
    key = Line(*(line[name] for name in Line._fields))
    target = next(target for target in results.targets if target.site == key.target)
    drawn = resample(target.subject_N, results.bootstrap_draws, results.seed)
    probabilities = [one.probabilities_NK[:, 0] for one in results.scored if one.line == key]
    values = []
    for counts_S in drawn.counts_SD.T:
        rows = np.repeat(np.arange(len(target.subject_N)), counts_S[drawn.subject_N].astype(int))
        values.append(np.mean([roc_auc_score(target.outcomes_NK[rows, 0], p[rows]) for p in probabilities]))
    told = line["auroc"]["death in hospital"]
    assert [told["value"], told["low"], told["high"]] == pytest.approx(
        [values[0], *np.quantile(values[1:], [0.025, 0.975])], abs=1e-9
    )


def test_intervals_cover_the_truth() -> None:
    """Two normal scores, one standard deviation apart: 95 of 100 intervals should hold the AUROC of everybody."""
    random, truth, held = np.random.default_rng(0), norm.cdf(1 / np.sqrt(2)), 0
    for seed in range(120):
        outcomes_NK = (random.random((120, 1)) < 0.4).astype(int)
        seeds = 0.5 * random.normal(size=(3, 120, 1)) + np.sqrt(0.75) * random.normal(size=(120, 1)) + outcomes_NK
        drawn = resample(np.arange(120), 200, seed)
        auroc_RKD = np.stack([transfer_measure.rank(outcomes_NK, norm.cdf(one), drawn)[0] for one in seeds])
        told = transfer_measure.by_outcome(auroc_RKD, ["death"])["macro"]
        assert told["least"] <= told["value"] <= told["most"]
        held += told["low"] <= truth <= told["high"]
    assert 0.88 * 120 <= held < 120


def test_differences_are_paired(results: TransferResults) -> None:
    """The same predictions under another name differ by nothing at all, and nearly the same by nearly nothing."""
    twin = {
        one.seed: one.probabilities_NK
        for one in results.scored
        if one.line == Line("one-hot", "max", "shared", "north", "south", None)
    }
    changed = [
        dataclasses.replace(one, probabilities_NK=twin[one.seed] * (1 if one.embedding == "student" else 0.999) ** 2)
        if one.regime == "shared" and one.target == "south"
        else one
        for one in results.scored
    ]
    told = measure(dataclasses.replace(results, scored=changed, spaces=()))
    same = [line for line in told["differences"] if line["kind"] in ("embedding", "student")]
    same = [
        line["auroc"]["macro"] for line in same if line["first"]["regime"] == "shared" and line["target"] == "south"
    ]
    assert len(same) == 3
    for cell in same:
        assert (cell["value"], cell["low"], cell["high"], cell["verdict"]) == pytest.approx((0, 0, 0, "unclear"))
    line = next(line for line in told["scores"] if line["regime"] == "shared" and line["target"] == "south")
    assert line["auroc"]["macro"]["high"] - line["auroc"]["macro"]["low"] > 0.05


def test_what_is_compared(numbers: dict[str, Any]) -> None:
    found = {
        (line["kind"], line["first"]["embedding"], line["first"]["regime"], line["second"]["regime"], line["target"])
        for line in numbers["differences"]
    }
    sites = ("north", "south")
    others = [name for name in EMBEDDINGS if name != "one-hot"]
    wanted = {("embedding", name, regime, regime, site) for name in others for regime in REGIMES for site in sites}
    wanted |= {("student", "student", regime, regime, site) for regime in REGIMES for site in sites}
    wanted |= {("full − local", name, "full", "local", site) for name in EMBEDDINGS for site in sites}
    wanted |= {("frozen − shared", name, "frozen", "shared", site) for name in EMBEDDINGS for site in sites}
    assert found == wanted
    assert len(numbers["differences"]) == len(wanted)
    values = {tuple(line[name] for name in Line._fields): line["auroc"] for line in numbers["scores"]}
    for line in numbers["differences"]:
        first, second = (values[tuple(line[which].values())] for which in ("first", "second"))
        for outcome, cell in line["auroc"].items():
            assert cell["value"] == pytest.approx(first[outcome]["value"] - second[outcome]["value"], abs=1e-9)
            clear = cell["low"] > 0 or cell["high"] < 0
            way = "better" if cell["value"] > 0 else "worse"
            assert cell["verdict"] == (way if clear else "unclear")


def test_a_lost_seed_is_left_out_of_both_sides(results: TransferResults) -> None:
    """Seed 1 of one line is missing: its differences are of seeds 0 and 2."""
    lost = Line("student", "max", "shared", "north", "south", None)
    kept = [one for one in results.scored if (one.line, one.seed) != (lost, 1)]
    told = measure(dataclasses.replace(results, scored=kept, spaces=()))
    line = next(line for line in told["differences"] if line["kind"] == "embedding" and line["first"] == lost._asdict())
    assert line["seeds"] == 2
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
    assert line["auroc"]["macro"]["value"] == pytest.approx(mean["student"] - mean["one-hot"], abs=1e-9)
    assert any("same number of seeds: 2 to 3" in warning for warning in told["warnings"])


def test_overlap_and_sites_are_counted(results: TransferResults, numbers: dict[str, Any]) -> None:
    has: dict[str, list[int]] = {"north": [], "south": []}
    for case in results.cases.iter_rows(named=True):
        has[case["site"]] += case["concepts"]
    for line in numbers["overlap"]:
        source, target = has[line["source"]], has[line["target"]]
        both = set(source) & set(target)
        assert line["share_of_concepts"] == pytest.approx(len(both) / len(set(target)))
        assert line["share_of_records"] == pytest.approx(np.mean([concept in both for concept in target]))
    for site in numbers["sites"]:
        assert site["vocabulary"] == len(set(has[site["site"]]))
        for split in site["splits"]:
            own = results.cases.filter((pl.col("site") == site["site"]) & (pl.col("split") == split["split"]))
            assert split["subjects"] == own["subject_id"].n_unique()
            assert list(split["positives"].values()) == np.array(own["outcomes"].to_list()).sum(axis=0).tolist()


def test_the_rest_is_every_other_site() -> None:
    results = make_results(sites=("north", "south", "west"), num_seeds=1, sizes=())
    moved = [
        dataclasses.replace(one, source="all but west")
        for one in results.scored
        if one.target == "west" and one.source == "north"
    ]
    told = measure(dataclasses.replace(results, scored=moved))
    (line,) = told["overlap"]
    has = {site: set(own["concepts"].explode()) for (site,), own in results.cases.group_by("site")}
    assert line["shared_concepts"] == len((has["north"] | has["south"]) & has["west"])
    assert told["warnings"][0].startswith("One seed")


@pytest.mark.parametrize(("least", "named"), [(1, True), (10, False)])
def test_rare_concepts_are_never_named(tmp_path: Path, least: int, named: bool) -> None:
    """Two subjects of either site have them: in no file, unless two are enough."""
    results = make_results(num_seeds=1, sizes=(), curves=False, maps=True)
    results = dataclasses.replace(results, least_subjects=least, neighbours=30)
    transfer_report.write(tmp_path, measure(results))
    texts = [path.read_text() for path in tmp_path.iterdir()]
    assert len(texts) == 3
    assert any("secret" in text for text in texts) is named


def test_subjects_are_counted_not_cases() -> None:
    """Forty cases of one subject make nobody's concept a common one."""
    cases = make_cases(80, 1, seed=0).with_columns(subject_id=pl.when(pl.col("site") == "north").then(7).otherwise(8))
    results = dataclasses.replace(make_results(maps=True), cases=cases.cast(dict(schema.CASES)))
    assert transfer_concepts.neighbours(results) == []
    (one, _) = transfer_concepts.maps(results)
    assert one["labels"] == []


def test_neighbours_are_the_nearest() -> None:
    """Every concept of the south points nearly where one of the north does, its twin."""
    results = make_results()
    random = np.random.default_rng(0)
    vectors_VD = random.normal(size=(NUM_CONCEPTS, 16))
    vectors_VD[2 * NUM_SHARED :] = 3 * vectors_VD[NUM_SHARED : 2 * NUM_SHARED] + 0.1 * random.normal(size=(20, 16))
    found = transfer_concepts.neighbours(dataclasses.replace(results, spaces=[Space("twins", vectors_VD)]))
    texts = results.concepts["text"].to_list()
    assert len(found) == 16
    for line in found:
        concept = texts.index(line["text"])
        twin = concept + (NUM_SHARED if line["target"] == "north" else -NUM_SHARED)
        assert line["nearest"][0]["text"] == texts[twin]
        first, second = vectors_VD[concept], vectors_VD[twin]
        cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
        assert line["nearest"][0]["cosine"] == pytest.approx(cosine)
        assert [one["cosine"] for one in line["nearest"]] == sorted(
            (o["cosine"] for o in line["nearest"]), reverse=True
        )


def test_the_map_tells_sites_apart(results: TransferResults, numbers: dict[str, Any]) -> None:
    has = {site: set(own["concepts"].explode()) for (site,), own in results.cases.group_by("site")}
    both = has["north"] & has["south"]
    for one in numbers["maps"]:
        assert len(one["places"]) == len(one["sides"]) == len(has["north"] | has["south"])
        assert [one["sides"].count(side) for side in ("source", "both", "target")] == [
            len(has["north"] - both),
            len(both),
            len(has["south"] - both),
        ]
        assert np.isfinite(one["places"]).all()


@pytest.mark.parametrize("vectors", [np.zeros((30, 5)), np.ones((4, 1)), np.eye(12)])
def test_odd_spaces_have_a_map(vectors: np.ndarray) -> None:
    places, _ = transfer_concepts.flatten(vectors, seed=0)
    assert places.shape == (len(vectors), 2)
    assert np.isfinite(places).all()


def test_the_concept_that_carries_the_loss_is_found() -> None:
    """The shared model errs where concept 3 is, is better where concept 7 is, and says the same elsewhere."""
    results = make_results(num_seeds=2, sizes=())
    target = next(target for target in results.targets if target.site == "south")
    concepts = dict(results.cases.select("case_id", "concepts").iter_rows())
    has = {v: np.array([[v in concepts[case]] for case in target.case_id_N]) for v in (3, 7)}
    says = np.where(target.outcomes_NK == 1, 0.6, 0.4)
    shared = np.where(has[3], 1 - says, np.where(has[7], says + np.sign(says - 0.5) * 0.3, says))
    scored = [
        dataclasses.replace(one, probabilities_NK=shared if one.regime == "shared" else says)
        for one in results.scored
        if one.target == "south"
    ]
    found = transfer_concepts.carriers(
        dataclasses.replace(results, scored=scored),
        {"south": resample(target.subject_N, 200, 0)},
    )
    assert len(found) == len(EMBEDDINGS)
    texts = results.concepts["text"].to_list()
    for line in found:
        lost, gained = line["lost"][0], line["gained"][0]
        assert (line["against"], lost["text"], gained["text"]) == ("local", texts[3], texts[7])
        assert lost["value"] == pytest.approx(np.log(0.6 / 0.4))
        assert lost["low"] == pytest.approx(lost["value"])
        assert gained["low"] < gained["value"] < gained["high"] < 0
        only = has[7] & ~has[3]
        expected = (np.log(0.6 / 0.9) * only.sum() + np.log(0.6 / 0.4) * (has[7] & has[3]).sum()) / has[7].sum()
        assert gained["value"] == pytest.approx(expected)


def test_the_steps_curve_is_a_mean(numbers: dict[str, Any]) -> None:
    """Seed s adds s hundredths."""
    assert {line["regime"] for line in numbers["steps"]} == {"frozen", "full"}
    for line in numbers["steps"]:
        for point in line["points"]:
            middle = 0.6 + 0.02 * point["step"] - 0.001 * point["step"] ** 2 + 0.01
            told = (point["least"], point["value"], point["most"])
            assert told == pytest.approx((middle - 0.01, middle, middle + 0.01))


@pytest.mark.parametrize(("positives", "silent"), [(9, True), (10, False)])
def test_few_positives_claim_nothing(positives: int, silent: bool) -> None:
    """A perfect model against a useless one, with nine and with ten who died."""
    results = make_results(num_seeds=2, sizes=())
    cases = results.cases.with_columns(outcomes=pl.Series([[0]] * results.cases.height, dtype=pl.List(pl.Int8)))
    target = dataclasses.replace(results.targets[1], floors={}, oracle_NK=None)
    outcomes_NK = (np.arange(len(target.case_id_N)) < positives).astype(np.int8)[:, None]
    useless = np.random.default_rng(0).random(outcomes_NK.shape)
    scored = [
        dataclasses.replace(one, probabilities_NK=useless if one.embedding == "one-hot" else outcomes_NK * 0.5)
        for one in results.scored
        if one.target == "south"
    ]
    told = measure(
        dataclasses.replace(
            results, cases=cases, targets=[dataclasses.replace(target, outcomes_NK=outcomes_NK)], scored=scored
        )
    )
    lines = [line for line in told["differences"] if line["kind"] == "embedding"]
    assert {line["auroc"]["macro"]["verdict"] for line in lines} == {"unclear" if silent else "better"}
    assert all(line["auroc"]["macro"]["low"] > 0 for line in lines)
    assert any("Too few for claims at south" in warning for warning in told["warnings"]) is silent


def test_fewer_than_ten_subjects_have_no_interval(tmp_path: Path) -> None:
    results = make_results(num_cases=32, sizes=(), curves=False)
    assert {len(np.unique(target.subject_N)) for target in results.targets} == {8}
    told = measure(results)
    transfer_report.write(tmp_path, told)
    assert all(line["auroc"]["macro"]["low"] is None for line in told["scores"])
    for page in ("report.md", "report.html"):
        shown = re.sub(r"<svg.*?</svg>", "", (tmp_path / page).read_text(), flags=re.S)
        assert not re.search(r"\bnan\b|None", shown)


def test_pages_say_what_the_numbers_say(written: Path) -> None:
    numbers = json.loads((written / "metrics.json").read_text(), parse_constant=pytest.fail)
    markdown, page = (written / "report.md").read_text(), (written / "report.html").read_text()
    cells = [c for line in numbers["scores"] if line["size"] is None for c in line["auroc"].values()]
    cells += [c for line in numbers["floors"] for c in line["auroc"].values()]
    for cell in cells:
        for text in (markdown, page):
            assert f"{cell['low']:.3f} to {cell['high']:.3f}" in text
            assert f"{cell['value']:.3f}" in text
    for line in numbers["differences"]:
        for cell in line["auroc"].values():
            for text in (markdown, page):
                assert f"{abs(cell['value']):.3f}" in text
    for text in (markdown, page):
        for word in ("A note.", "12 left before it", "3.4 %", "grid.seeds", "48.6 %", "oracle", "prevalence"):
            assert word.replace("48.6 %", "49 %") in text, word
        assert "never" not in text.split("Counted in reading the sources:")[1][:60]


def test_page_is_one_file_that_escapes(written: Path) -> None:
    page = (written / "report.html").read_text()
    assert "<script" not in page
    assert not re.search(r"(src|href)=\"(?!#|data:)", page)
    for text in ("tiny | <b>teacher", "stay <over> 7 days", "finding <"):
        assert text not in page
    assert "tiny | &lt;b&gt;teacher" in page
    assert page.count("<svg") == 2 + 2  # two curves and two maps
    assert "$x_" in page  # no dollar was taken for mathematics


SHAPES = [
    (2, ("north", "south"), ("max", "mean")),
    (7, ("north", "south"), ("max",)),
    (1, ("a", "b", "c", "d"), ("max",)),
]


@pytest.mark.parametrize(("num_outcomes", "sites", "models"), SHAPES)
def test_tables_are_whole(tmp_path: Path, num_outcomes: int, sites: tuple[str, ...], models: tuple[str, ...]) -> None:
    """Every line has as many cells as its head, and every pair, regime and model is shown."""
    results = make_results(64, num_outcomes, 1, sites, models, sizes=(10,) if num_outcomes > 1 else (), curves=False)
    numbers = measure(dataclasses.replace(results, bootstrap_draws=100))
    transfer_report.write(tmp_path, numbers)
    markdown, page = (tmp_path / "report.md").read_text(), (tmp_path / "report.html").read_text()
    blocks = [block for block in markdown.split("\n\n") if block.lstrip().startswith("|")]
    shown = transfer_report.score_tables(numbers)
    assert len(blocks) >= 4 + 5 * len(shown)  # scores and four kinds of differences, and sites, overlap, cost, recipe
    for block in blocks:
        lines = block.strip().splitlines()
        assert all(line.startswith("|") for line in lines), block
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1, block
    for table in re.findall(r"<table>.*?</table>", page, flags=re.S):
        assert len({len(re.findall(r"<t[hd][ >]", row)) for row in re.findall(r"<tr.*?</tr>", table)}) == 1, table
    cells = [cell for grid in shown for row in grid["rows"] for cell in row["cells"]]
    num_pairs, columns = len(sites) * (len(sites) - 1), num_outcomes + 1 if 1 < num_outcomes <= 5 else 1
    rows = len(EMBEDDINGS) * len(REGIMES) + 3
    assert len(cells) == num_pairs * columns * rows * len(models)
    assert all(cells)


def test_what_is_absent_has_no_heading(tmp_path: Path) -> None:
    """One embedding, learned at the target alone: no difference, no curve, no map."""
    full = make_results(sizes=())
    local = [one for one in full.scored if one.regime == "local" and one.embedding == "student"]
    bare = dataclasses.replace(full, scored=local, spaces=(), idle_share=None, left_out={}, notes=(), versions={})
    transfer_report.write(tmp_path, measure(bare))
    headings = re.findall(r"^## (.*)$", (tmp_path / "report.md").read_text(), flags=re.M)
    parts = ["Sites", "How well each does", "What is clear of zero", "What it took", "How to read this"]
    assert headings == [*parts, "How it was made"]
    assert "<svg" not in (tmp_path / "report.html").read_text()


def test_same_results_same_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        transfer_report.write(tmp_path / name, measure(make_results(64, num_seeds=1, sizes=(), maps=True)))
    for file in ("metrics.json", "report.md", "report.html"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def first_changed(results: TransferResults, **changes: Any) -> dict[str, Any]:
    return {"scored": [dataclasses.replace(results.scored[0], **changes), *results.scored[1:]]}


WRONG: dict[str, Callable[[TransferResults], dict[str, Any]]] = {
    "no cell was run": lambda r: {"scored": []},
    "target is none of": lambda r: first_changed(r, target="west"),
    "source is neither": lambda r: first_changed(r, source="west", regime="shared"),
    "given twice": lambda r: {"scored": [*r.scored, r.scored[0]]},
    "not south's held-out cases": lambda r: first_changed(r, case_id_N=r.scored[0].case_id_N[::-1]),
    "shape": lambda r: first_changed(r, probabilities_NK=r.scored[0].probabilities_NK[:, :0]),
    "not between 0 and 1": lambda r: first_changed(r, probabilities_NK=r.scored[0].probabilities_NK * np.nan),
    "3 vectors for 60": lambda r: {"spaces": [Space("student", np.ones((3, 2)))]},
    "north: no held-out case": lambda r: {"targets": [target_of(r.cases.clear(), "north"), r.targets[1]]},
}


@pytest.mark.parametrize("message", WRONG)
def test_results_that_do_not_fit_are_refused(message: str) -> None:
    results = make_results(32, num_seeds=1, sizes=())
    with pytest.raises(ValueError, match=message):
        measure(dataclasses.replace(results, **WRONG[message](results)))


def test_a_target_is_its_held_out_cases() -> None:
    cases = make_cases(32, 2, seed=0)
    target = target_of(cases.sample(fraction=1, shuffle=True, seed=1), "south")
    own = cases.filter((pl.col("site") == "south") & (pl.col("split") == "held_out"))
    assert target.case_id_N.tolist() == own["case_id"].to_list()
    assert target.outcomes_NK.tolist() == own["outcomes"].to_list()
    assert target.oracle_NK is not None
    hidden = cases.with_columns(oracle=pl.lit(None, dtype=schema.CASES["oracle"]))
    assert target_of(hidden, "south").oracle_NK is None


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: the page is not opened in a browser")
def test_opens_in_a_browser_without_an_error(written: Path, tmp_path: Path) -> None:
    opened = subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            *(f"--user-data-dir={tmp_path}", "--enable-logging=stderr", "--v=0", "--dump-dom"),
            (written / "report.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert [line for line in opened.stderr.splitlines() if "CONSOLE" in line] == []
    assert "Which concepts go along with the loss" in opened.stdout
    assert opened.stdout.count("<svg") == 4
