"""The same hospital in other words: ICD-10 codes and other drug names, written as MIMIC-IV tables.

    MIMIC-III tables of a chunk (records.py) -> the same rows under the names of catalogue_icd10.py

No row and no draw changes, so subjects, visits, labels and the oracle are those of the ICD-9 hospital of the same seed;
only the spelling differs.  MIMIC-IV's form says the version in every row.  It knows a year of birth alone: the date is
written beside it, since the law reads the age.  Units of the ICU are left out, as MIMIC-IV's hosp/ has none.
"""

import polars as pl

from ckd_dist.hospital.catalogue_icd10 import DIAGNOSES, DRUGS, PROCEDURES

TABLES = (
    "patients",
    "admissions",
    "diagnoses_icd",
    "procedures_icd",
    "prescriptions",
    "d_icd_diagnoses",
    "d_icd_procedures",
)
RENAMED = {"startdate": "starttime", "enddate": "stoptime"}


def respell(tables: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Return MIMIC-III tables as MIMIC-IV's, by the names of the hospital that writes ICD-10."""
    found = {name.lower(): table.rename(str.lower) for name, table in tables.items()}
    return {name: _respell(found[name], name) for name in TABLES if name in found}


def _respell(table: pl.DataFrame, name: str) -> pl.DataFrame:
    if "icd9_code" in table.columns:
        table = _codes(table, DIAGNOSES if "diagnoses" in name else PROCEDURES)
    if name == "patients":
        table = table.with_columns(anchor_year=pl.col("dob").dt.year(), anchor_age=pl.lit(0))
    if name == "prescriptions":
        drugs = {old.title(): new.title() for old, new in DRUGS.items()}
        table = table.drop("drug_name_poe", "drug_name_generic").with_columns(pl.col("drug").replace_strict(drugs))
    return table.rename({old: new for old, new in RENAMED.items() if old in table.columns})


def _codes(table: pl.DataFrame, others: dict[str, tuple[str, str]]) -> pl.DataFrame:
    """Write ICD-10 codes, and their titles in a dictionary, for those that `others` has; the rest stay ICD-9."""
    old = pl.col("icd9_code")
    new = [
        pl.when(old.is_in(list(others))).then(10).otherwise(9).alias("icd_version"),
        old.replace({code: other for code, (other, _) in others.items()}).alias("icd_code"),
    ]
    if "long_title" in table.columns:
        titles = old.replace_strict({code: title for code, (_, title) in others.items()}, default=pl.col("long_title"))
        new.append(titles.alias("long_title"))
    return table.with_columns(new).drop("icd9_code", *({"short_title"} & set(table.columns)))
