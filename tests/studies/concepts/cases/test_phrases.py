"""Codes as phrases: one drug of many orders is one phrase, and nothing is without words."""

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckd_dist.studies.concepts.cases import phrases
from ckd_dist.studies.concepts.cases.phrases import concept_of, drug_name

ORDERS = {  # as hospitals of eICU and MIMIC-III write them
    "furosemide": [
        "furosemide",
        "Furosemide INJ",
        "furosemide 20 mg po tabs",
        "furosemide 10 mg/1 ml 2ml sdv inj",
        "4 ml vial : furosemide 10 mg/ml ij soln",
        "furosemide (lasix) tab 40 mg",
        "furosemide 10mg/ml sso",
    ],
    "sodium chloride": [
        "1000 ML FLEX CONT: sodium chloride 0.9 % IV soln",
        "1000 ml  -  sodium chloride 0.9 % iv soln",
        "sodium chloride 0.9 % iv : 1000 ml",
        "sodium chloride 0.9 % syringe : 10 ml syringe",
        "0.9% Sodium Chloride (Mini Bag Plus)",
        "sodium chloride 0.9%solp (1000 ml)",
    ],
    "metoprolol tartrate": [
        "1 each package custom ndc : metoprolol tartrate 12.5 mg po tabs (half-tab)",
        "Metoprolol Tartrate",
    ],
    "hydrocodone-acetaminophen": ["hydrocodone-acetaminophen 5-325 mg po tabs", "Hydrocodone-Acetaminophen"],
    "levofloxacin": ["150 ml flex cont : levofloxacin in d5w 5 mg/ml iv soln", "levofloxacin 750 mg in d5w 150ml"],
    "vitamin b12": ["vitamin b12 1000 mcg po tabs"],
    "d5w": ["D5W (EXCEL BAG)"],
    "hydromorphone hcl": ["1 ml crtrdg-ndl : hydromorphone hcl pf 1 mg/ml ij soln"],
    "rasburicase": ["*NF* Rasburicase"],
}


@pytest.mark.parametrize("name, order", [(name, order) for name, orders in ORDERS.items() for order in orders])
def test_one_drug_of_many_orders(name, order):
    assert drug_name(order) == drug_name(name) == name
    assert concept_of("MEDICATION//" + order, "any title") == ("drug", name)


@pytest.mark.parametrize("order", ["Syringe", "1000 ml bag", "(lasix)", "5 %", "soln."])
def test_an_order_without_a_name_stays_whole(order):
    assert drug_name(order) == order.lower()


@given(st.text(max_size=40), st.one_of(st.none(), st.text(max_size=10)))
def test_no_phrase_is_empty_and_blanks_are_straight(rest, title):
    for prefix in ("MEDICATION//", "DIAGNOSIS//ICD//9//X", "HISTORY//EICU//a", "LAB//"):
        system, text = concept_of(prefix + rest, title)
        assert system and text and text.strip() == text


@pytest.mark.parametrize(
    "code, title, concept",
    [
        ("DIAGNOSIS//ICD//9//4280", "CHF NOS", ("ICD9", "Congestive heart failure, unspecified")),
        ("DIAGNOSIS//ICD//10//I509", None, ("ICD10", "Heart failure, unspecified")),
        ("DIAGNOSIS//ICD//9//99999X", "a local code", ("ICD9", "a local code")),
        ("DIAGNOSIS//ICD//9//99999X", None, ("ICD9", "ICD-9 999.99X")),
        ("DIAGNOSIS//ICD//9//E999X1", "", ("ICD9", "ICD-9 E999.X1")),
        ("DIAGNOSIS//ICD//10//Q99X", " ", ("ICD10", "ICD-10 Q99.X")),
        ("PROCEDURE//ICD//9//0123X", None, ("ICD9_procedure", "ICD-9 procedure 01.23X")),
        ("PROCEDURE//ICD//10//0ZZZZZZ", None, ("ICD10_procedure", "ICD-10 procedure 0ZZZZZZ")),
        ("DIAGNOSIS//EICU//renal|acute", "acute, renal", ("eicu_diagnosis", "acute, renal")),
        ("HISTORY//EICU//renal/none", None, ("eicu_history", "renal/none")),
        ("TREATMENT//dialysis", None, ("treatment", "dialysis")),
        ("DIAGNOSIS//SNOMED//84114007", "Heart failure", ("diagnosis", "Heart failure")),
        ("DEATH", None, ("death", "DEATH")),
    ],
)
def test_codes(code, title, concept):
    assert concept_of(code, title) == concept


def test_the_docstrings_are_true():
    assert doctest.testmod(phrases).failed == 0
