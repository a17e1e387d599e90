"""The law is what its formula says, and its codes are the phenotypes that the label set says they are."""

from datetime import datetime
from math import exp, log

import numpy as np
import polars as pl
import pytest

from ckd_dist import schema
from ckd_dist.ehr.labelset import load_label_set
from ckd_dist.hospital import catalogue, law
from ckd_dist.hospital.catalogue import OTHER_DIAGNOSES, OTHER_DRUGS, PHENOTYPES

NAMES = [p.name for p in PHENOTYPES]
CODE = {p.name: p.codes[0][0] for p in PHENOTYPES}


def visit(phenotypes=(), drugs=(), other_codes=()) -> dict:
    codes = [CODE[name] for name in phenotypes] + list(other_codes)
    return {
        "diagnoses": [f"DIAGNOSIS//ICD//9//{code}" for code in codes],
        "medications": list(drugs),
        "procedures": [],
        "days_before": 30.0,
    }


def sample(*visits: dict, age: float | None = 65.0) -> pl.DataFrame:
    """One sample: the index visit, then earlier ones, newest first."""
    now = datetime(2150, 1, 1)
    row = {"sample_id": 0, "subject_id": 1, "hadm_id": 2, "prediction_time": now, "age": age, "sex": "F", "site": "all"}
    row |= {name: visits[0][name] for name in ("diagnoses", "medications", "procedures")}
    row |= {"gap_days": None, "history": list(visits[1:]), "current": [0] * 25, "labels": None}
    return pl.DataFrame([row], schema=schema.SAMPLES)


def probability(name: str, *visits: dict, age: float | None = 65.0) -> float:
    return law.probabilities(sample(*visits, age=age), [name])[0, 0]


def sigmoid(logit: float) -> float:
    return 1 / (1 + exp(-logit))


def by_formula(name: str, now: dict, before: dict, age: float) -> float:
    """The docstring of law.py, a phenotype and a code at a time."""
    p = PHENOTYPES[NAMES.index(name)]

    def present(phenotype, record) -> bool:
        return any(f"DIAGNOSIS//ICD//9//{code}" in record["diagnoses"] for code, _ in phenotype.codes)

    logit = log(p.base / (1 - p.base))
    if p.chronic:
        logit += 0.15 * (min(age, 90) - 65) / 10
    if present(p, now):
        given = [efficacy for drug, efficacy in p.effective if drug in now["medications"]]
        logit += (law.PERSISTENCE_CHRONIC if p.chronic else law.PERSISTENCE_ACUTE) - max(given, default=0)
    elif p.chronic and present(p, before):
        logit += law.LASTING
    logit += law.COMORBIDITY * sum(present(other, now) and name in other.leads_to for other in PHENOTYPES)
    return sigmoid(logit)


def test_catalogue_codes_are_their_phenotype_and_no_other():
    labels = load_label_set("phenotypes25")
    assert sorted(NAMES) == sorted(labels.names)
    for p in PHENOTYPES:
        column = labels.names.index(p.name)
        assert labels.types[column] == ("chronic" if p.chronic else "acute")
        assert {labels.columns_of(f"DIAGNOSIS//ICD//9//{code}") for code, _ in p.codes} == {(column,)}
    assert {labels.columns_of(f"DIAGNOSIS//ICD//9//{code}") for code, *_ in OTHER_DIAGNOSES} == {()}


def test_every_drug_has_one_meaning():
    drugs = [drug for p in PHENOTYPES for drug in (*dict(p.effective), p.decoy)] + [drug for drug, _ in OTHER_DRUGS]
    assert len(set(drugs)) == len(drugs)
    assert all(drug == drug.lower() == drug.title().lower() for drug in drugs)
    assert all(name in NAMES for p in PHENOTYPES for name in p.leads_to)


def test_drawn_records_follow_the_formula():
    rng = np.random.default_rng(0)
    drugs = [drug for p in PHENOTYPES for drug in (*dict(p.effective), p.decoy)]
    for _ in range(20):
        now, before = (visit(rng.choice(NAMES, 6), rng.choice(drugs, 20)) for _ in range(2))
        age = float(rng.integers(20, 99))
        found = law.probabilities(sample(now, before, age=age), NAMES)[0]
        assert found == pytest.approx([by_formula(name, now, before, age) for name in NAMES], rel=1e-12)


def test_treatment_resolves_and_a_decoy_does_not():
    name = catalogue.HEART_FAILURE
    stays = probability(name, visit([name]))
    weak, strong = (probability(name, visit([name], [drug])) for drug in ("spironolactone", "furosemide"))
    assert stays > 0.75 and weak < 0.3 and strong < weak - 0.04
    assert probability(name, visit([name], ["furosemide", "spironolactone"])) == strong
    assert probability(name, visit([name], ["digoxin", "acetaminophen"])) == stays
    assert probability(name, visit([], ["furosemide"])) == probability(name, visit())


def test_comorbidity_brings_absent_diseases():
    absent = probability(catalogue.SHOCK, visit())
    likely = probability(catalogue.SHOCK, visit([catalogue.SEPTICEMIA]))
    assert absent < 0.05 and 0.3 < likely < 0.6


def test_only_the_index_visit_and_one_before_count():
    now, before, long_ago = visit([catalogue.SHOCK]), visit([catalogue.DIABETES]), visit([catalogue.COPD])
    one = law.probabilities(sample(now, before), NAMES)
    assert (law.probabilities(sample(now, before, long_ago), NAMES) == one).all()
    assert (law.probabilities(sample(now), NAMES) != one).any()


def test_unknown_age_counts_as_65_and_the_oldest_as_90():
    name = catalogue.HYPERTENSION
    assert probability(name, visit(), age=None) == probability(name, visit(), age=65)
    assert probability(name, visit(), age=99) == probability(name, visit(), age=90) > probability(name, visit(), age=65)


def test_columns_follow_the_names_and_unknown_names_are_refused():
    record = sample(visit([catalogue.SHOCK, catalogue.COPD]))
    backwards = law.probabilities(record, NAMES[::-1])
    assert (backwards[:, ::-1] == law.probabilities(record, NAMES)).all() and backwards.dtype == np.float64
    with pytest.raises(ValueError, match="no label 'Gout'"):
        law.probabilities(record, ["Shock", "Gout"])
    assert law.probabilities(record.clear(), NAMES).shape == (0, 25)
