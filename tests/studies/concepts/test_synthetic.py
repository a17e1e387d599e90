"""Two synthetic departments: their files hold together, outcomes follow the law, and the law does what it says.

Models here are scikit-learn's logistic regressions, not the project's: what transfers is a property of the data.

N cases, V findings, C columns that a model reads, K outcomes
"""

from collections import Counter
from itertools import pairwise
from math import exp
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from ckd_dist.studies.concepts.synthetic import law, sites
from ckd_dist.studies.concepts.synthetic.findings import ALL, FINDINGS, OPAQUE, OUTCOMES, RENAMED, REVERSED, SAME, SITES
from ckd_dist.studies.concepts.synthetic.sites import FILES, write_sites
from tests.hospital.by_seed import three_hospitals

NUM_CASES = 2000  # of each site; the first half of a site learns where it is scored too


def read(folder: Path, name: str) -> pl.DataFrame:
    return pl.read_csv(folder / f"{name}.csv.gz")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sites")
    write_sites(folder, NUM_CASES, seed=1)
    return folder


@pytest.fixture(scope="module")
def cases(folder) -> pl.DataFrame:
    return read(folder, "cases")


@pytest.fixture(scope="module")
def recorded(folder, cases) -> pl.DataFrame:
    """Every recorded finding: case_id, concept, state, site, system, text."""
    return (
        read(folder, "findings")
        .join(cases.select("case_id", "site"), on="case_id")
        .join(read(folder, "concepts"), on="concept")
    )


# --- the lists ---


def test_a_name_means_one_finding():
    for names in zip(*(f.names for f in ALL), strict=True):
        assert len(set(names)) == 64
    for one in ALL:
        for other in ALL:
            assert one is other or not set(one.names) & set(other.names)


def test_every_list_has_the_relation_that_its_name_says():
    assert OUTCOMES == (SAME, RENAMED, OPAQUE, REVERSED)
    equal = {name: sum(f.north == f.south for f in FINDINGS[name]) for name in OUTCOMES}
    assert equal == {SAME: 16, RENAMED: 0, OPAQUE: 0, REVERSED: 10}
    starts = [[{word[:4] for word in name.split()} for name in f.names] for f in FINDINGS[RENAMED]]
    shared = [bool({w for w in north & south if w not in ("in", "on", "a", "at")}) for north, south in starts]
    assert sum(shared) == 8, "half share a word or the start of one"
    assert not any(set(f.north.split()) & set(f.south.split()) for f in FINDINGS[OPAQUE])


def test_lists_differ_in_nothing_but_their_names():
    """Same strengths for and against in every list, and two each in every family of four: only words tell effects."""
    effects = {tuple(sorted(f.effect for f in of_outcome)) for of_outcome in FINDINGS.values()}
    assert len(effects) == 1
    (only,) = effects
    assert only == tuple(-effect for effect in reversed(only)) and len(set(only)) == 16
    for of_outcome in FINDINGS.values():
        families = [[f.effect > 0 for f in of_outcome if f.family == name] for name in {f.family for f in of_outcome}]
        assert sorted(map(sorted, families)) == [[False, False, True, True]] * 4


# --- the files ---


def test_same_seed_same_bytes_other_seed_other_cases(tmp_path):
    a, b, c = three_hospitals(write_sites, tmp_path, FILES)
    assert a == b
    assert a["concepts"] == c["concepts"] and a["cases"] != c["cases"] and a["findings"] != c["findings"]


def test_a_case_does_not_depend_on_how_many_there_are(tmp_path, monkeypatch):
    monkeypatch.setattr(sites, "CHUNK", 40)
    few, many = tmp_path / "few", tmp_path / "many"
    write_sites(few, 90, seed=3)
    write_sites(many, 200, seed=3)
    rows = read(few, "cases")
    assert rows.equals(read(many, "cases").join(rows.select("case_id"), on="case_id", how="semi"))
    assert rows["site"].value_counts().sort("site").rows() == [("north", 90), ("south", 90)]
    said = read(few, "findings")
    assert len(said) and said.equals(read(many, "findings").join(rows.select("case_id"), on="case_id", how="semi"))


def test_rows_hold_together(tmp_path, folder, cases, recorded):
    assert write_sites(tmp_path, NUM_CASES, seed=1) == {name: len(read(folder, name)) for name in FILES}
    concepts = read(folder, "concepts")
    assert concepts["concept"].is_unique().all() and concepts.select("system", "text").is_unique().all()
    assert cases["case_id"].is_unique().all()
    said = read(folder, "findings")
    assert len(recorded) == len(said), "every finding is of a case and a concept that there are"
    assert said.select("case_id", "concept").is_unique().all() and set(said["state"]) == {"present", "absent"}
    for place, site in enumerate(SITES):
        assert set(recorded.filter(site=site)["text"]) == {f.names[place] for f in ALL}
    assert set(concepts.filter(system="south_list")["text"]) == {f.south for f in FINDINGS[OPAQUE]}


def test_people_come_more_than_once_but_never_to_both(cases):
    people = {site: cases.filter(site=site)["subject_id"] for site in SITES}
    assert not set(people["north"]) & set(people["south"])
    for subjects in people.values():
        assert NUM_CASES / subjects.n_unique() == pytest.approx(1.2, abs=0.05)
        assert max(Counter(subjects).values()) > 2


def test_a_person_who_comes_again_has_much_of_what_it_had(cases, recorded):
    """Findings that are there: what two neighbouring cases share, of one person and of two."""
    found = recorded.filter(site="north", state="present").group_by("case_id").agg("concept")
    rows = cases.filter(site="north").join(found, on="case_id").sort("case_id")
    share = {True: [], False: []}
    pairs = list(rows.select("subject_id", "concept").iter_rows())
    for (subject, had), (next_subject, has) in pairwise(pairs):
        share[subject == next_subject].append(len(set(had) & set(has)) / len(has))
    assert len(share[True]) > 200
    assert np.mean(share[True]) > np.mean(share[False]) + 0.2


def test_departments_keep_other_records(recorded):
    lines = recorded.group_by("site", "state").len().iter_rows()
    num = {(site, state): rows / NUM_CASES for site, state, rows in lines}
    assert num["north", "absent"] > 4 * num["south", "absent"]
    for site in SITES:
        assert 17 < num[site, "present"] < 22, "about five of every list"
    found = recorded.filter(state="present", system="finding").group_by("text", "site").len()
    both = found.pivot("site", index="text", values="len").drop_nulls()
    ratio = (both["south"] / both["north"]).to_numpy()
    assert ratio.min() < 0.7 and ratio.max() > 1.05


@pytest.mark.parametrize("num_cases", [0, -1, 10_000_000])
def test_numbers_out_of_range_are_refused(tmp_path, num_cases):
    with pytest.raises(ValueError, match="between 1 and"):
        write_sites(tmp_path, num_cases, seed=0)
    assert not list(tmp_path.iterdir())


# --- the law ---


def state(**of_name: int) -> np.ndarray:
    """One case: 1, -1 or 0 for findings by their name at north, with _ for a blank."""
    return np.array([[of_name.get(f.north.replace(" ", "_"), 0) for f in ALL]])


def test_law_is_what_its_formula_says():
    rng = np.random.default_rng(0)
    for site, intercept in (("north", -1.6), ("south", -1.4)):
        state_NV = rng.integers(-1, 2, (30, len(ALL)))
        found_NK = law.probabilities(state_NV, site)
        for state_V, found_K in zip(state_NV, found_NK, strict=True):
            for name, found in zip(OUTCOMES, found_K, strict=True):
                logit = intercept
                for finding, said in zip(ALL, state_V, strict=True):
                    if finding in FINDINGS[name]:
                        sign = -1 if name == REVERSED and site == "south" else 1
                        logit += sign * finding.effect * {1: 1.0, 0: 0.0, -1: -0.5}[int(said)]
                assert found == pytest.approx(1 / (1 + exp(-logit)), rel=1e-12)


def test_a_finding_moves_its_own_outcome_alone():
    nothing, vomiting = (law.probabilities(s, "south")[0] for s in (state(), state(vomiting=1)))
    assert (nothing != vomiting).tolist() == [name == RENAMED for name in OUTCOMES]


def test_law_refuses_a_third_site():
    with pytest.raises(ValueError, match="north and south"):
        law.probabilities(state(), "east")


def test_what_is_written_is_the_law_of_what_is_recorded(cases, recorded):
    """From the files alone, by names: the oracle, and outcomes that agree with it."""
    for place, site in enumerate(SITES):
        rows = cases.filter(site=site).sort("case_id")
        state_NV = table(rows, recorded.filter(site=site), [f.names[place] for f in ALL])
        oracle_NK = rows.select(f"oracle:{name}" for name in OUTCOMES).to_numpy()
        assert law.probabilities(state_NV, site) == pytest.approx(oracle_NK, rel=1e-12)
        drawn_NK = rows.select(f"outcome:{name}" for name in OUTCOMES).to_numpy()
        error_K = np.sqrt((oracle_NK * (1 - oracle_NK)).sum(0))
        assert (np.abs((drawn_NK - oracle_NK).sum(0)) < 4 * error_K).all()
        for k in range(len(OUTCOMES)):
            assert 0.15 < drawn_NK[:, k].mean() < 0.35
            assert 0.80 < roc_auc_score(drawn_NK[:, k], oracle_NK[:, k]) < 0.89


# --- what transfers ---


def table(rows: pl.DataFrame, recorded: pl.DataFrame, columns: list[str]) -> np.ndarray:
    """1 present, -1 absent, 0 missing, for every case and name in `columns`, int [N, C]."""
    place = {case: n for n, case in enumerate(rows["case_id"])}
    column = {text: c for c, text in enumerate(columns)}
    state_NC = np.zeros((len(rows), len(columns)), dtype=int)
    for case, text, said in recorded.select("case_id", "text", "state").iter_rows():
        state_NC[place[case], column[text]] = 1 if said == "present" else -1
    return state_NC


def by_meaning(rows, recorded, site) -> np.ndarray:
    """Present and absent of every finding, whatever its name: what an embedding could know at best."""
    state_NV = table(rows, recorded, [f.names[SITES.index(site)] for f in ALL])
    return np.hstack([state_NV > 0, state_NV < 0]).astype(float)


def by_code(rows, recorded, site) -> np.ndarray:
    """Present and absent of every name of either site: one-hot."""
    state_NC = table(rows, recorded, sorted({name for f in ALL for name in f.names}))
    return np.hstack([state_NC > 0, state_NC < 0]).astype(float)


def by_words(rows, recorded, site) -> np.ndarray:
    """Present and absent of every beginning of a word: what the plainest of embeddings knows."""
    names = sorted({name for f in ALL for name in f.names})
    stems = sorted({word[:4] for name in names for word in name.split()})
    has_CW = np.array([[any(w.startswith(stem) for w in name.split()) for stem in stems] for name in names], float)
    state_NC = table(rows, recorded, names)
    return np.hstack([(state_NC > 0) @ has_CW, (state_NC < 0) @ has_CW])


@pytest.fixture(scope="module")
def auroc(cases, recorded):
    """(what a model reads, "shared" or "local") -> AUROC of every outcome at the half of south that nobody learned."""
    scores = {}
    for reads in (by_meaning, by_code, by_words):
        x, y = {}, {}
        for site in SITES:
            rows = cases.filter(site=site).sort("case_id")
            x[site] = reads(rows, recorded.filter(site=site), site)
            y[site] = rows.select(f"outcome:{name}" for name in OUTCOMES).to_numpy()
        half = NUM_CASES // 2
        subjects = rows["subject_id"]
        assert not set(subjects[:half]) & set(subjects[half:]), "south's halves share nobody"
        for regime, learn in (("shared", (x["north"], y["north"])), ("local", (x["south"][:half], y["south"][:half]))):
            for k, name in enumerate(OUTCOMES):
                model = LogisticRegression(C=0.1, max_iter=500).fit(learn[0], learn[1][:, k])
                score = model.predict_proba(x["south"][half:])[:, 1]
                scores[reads.__name__, regime, name] = roc_auc_score(y["south"][half:, k], score)
    return scores


def test_who_knows_meanings_takes_words_along_and_fails_where_effects_turn(auroc):
    for name in (SAME, RENAMED, OPAQUE):
        assert auroc["by_meaning", "shared", name] > 0.75
    assert auroc["by_meaning", "shared", REVERSED] < 0.30


def test_who_knows_codes_takes_equal_names_along_alone(auroc):
    assert auroc["by_code", "shared", SAME] > 0.75
    assert auroc["by_code", "shared", SAME] == pytest.approx(auroc["by_meaning", "shared", SAME], abs=0.03)
    for name in (RENAMED, OPAQUE):
        assert auroc["by_code", "shared", name] == pytest.approx(0.5, abs=0.06)
        assert auroc["by_meaning", "shared", name] > auroc["by_code", "shared", name] + 0.2
    assert auroc["by_code", "shared", REVERSED] < 0.42


def test_who_knows_beginnings_of_words_takes_some_other_names_along(auroc):
    assert auroc["by_words", "shared", SAME] > 0.72
    assert auroc["by_words", "shared", RENAMED] > auroc["by_code", "shared", RENAMED] + 0.1
    assert auroc["by_words", "shared", RENAMED] < auroc["by_meaning", "shared", RENAMED] - 0.04
    assert auroc["by_words", "shared", OPAQUE] == pytest.approx(0.5, abs=0.1)
    assert auroc["by_words", "shared", REVERSED] < 0.35


def test_south_can_learn_every_outcome_itself(auroc):
    for name in OUTCOMES:
        assert auroc["by_code", "local", name] > 0.70
    for name in (OPAQUE, REVERSED):
        assert auroc["by_code", "local", name] > max(auroc[r, "shared", name] for r in ("by_code", "by_words")) + 0.15
