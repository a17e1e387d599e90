"""The hospital that writes ICD-10 is the same hospital: other codes and names, equal visits, labels and oracle."""

import csv
import gzip
from functools import partial

import polars as pl
import pytest

from ckd_dist.ehr import codes
from ckd_dist.ehr.criteria import Criteria
from ckd_dist.ehr.events import read_events
from ckd_dist.ehr.extract import extract
from ckd_dist.ehr.labelset import load_label_set
from ckd_dist.ehr.samples import build_samples
from ckd_dist.ehr.sources import with_tables
from ckd_dist.ehr.splits import split_of
from ckd_dist.hospital import law
from ckd_dist.hospital.catalogue import HYPERTENSION, OTHER_DIAGNOSES, PHENOTYPES, PROCEDURES
from ckd_dist.hospital.catalogue_icd10 import DIAGNOSES, DRUGS
from ckd_dist.hospital.catalogue_icd10 import PROCEDURES as PROCEDURES_10
from ckd_dist.hospital.icd10 import TABLES
from ckd_dist.hospital.records import DRUGS as DRUGS_9
from ckd_dist.hospital.tables import write_tables
from ckd_dist.schema import DIAGNOSIS, PROCEDURE, SPLITS
from tests.data import DATA
from tests.hospital.by_seed import three_hospitals

LABELS = load_label_set("phenotypes25")
STAYS_ICD9 = {code for p in PHENOTYPES if p.name == HYPERTENSION for code, _ in p.codes}


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> dict[str, pl.DataFrame]:
    """All samples of synthetic:300 by the codes that its hospital writes."""
    return {codes: samples_of(tmp_path_factory.mktemp(codes), codes) for codes in ("icd9", "icd10")}


def samples_of(folder, codes) -> pl.DataFrame:
    source = with_tables("synthetic:300", folder / "tables", seed=1, codes=codes)
    splits = partial(split_of, train=0.7, tuning=0.15, seed=0)
    report = extract(source, folder / "events", splits, memory_gb=1.0)
    assert not report["missing_tables"] or codes == "icd10"
    parts = [
        build_samples(read_events(folder / "events", split), LABELS, Criteria(), LABELS.columns_of)[0]
        for split in SPLITS
    ]
    return pl.concat(parts).sort("subject_id", "hadm_id").drop("sample_id")


def everything(samples: pl.DataFrame, kind: str) -> set[str]:
    """All codes, or drugs, of the index visits and of those before."""
    before = samples["history"].explode().struct.field(kind).explode()
    return set(pl.concat([samples[kind].explode(), before]).drop_nulls())


def test_visits_and_labels_are_equal_row_by_row(samples):
    same = ["subject_id", "hadm_id", "prediction_time", "age", "sex", "gap_days", "current", "labels"]
    assert len(samples["icd9"]) > 500 and samples["icd9"]["labels"].null_count() < 300
    assert samples["icd9"].select(same).equals(samples["icd10"].select(same))
    for kind in ("diagnoses", "procedures", "medications"):
        lengths = [samples[codes][kind].list.len() for codes in ("icd9", "icd10")]
        assert lengths[0].equals(lengths[1])


def test_the_oracle_is_equal(samples):
    found = [law.probabilities(samples[codes], LABELS.names) for codes in ("icd9", "icd10")]
    assert (found[0] == found[1]).all() and 0.1 < found[0].mean() < 0.3


def test_the_oracle_reads_the_icd10_codes(samples):
    """Without them the probabilities would be lower: the equality above is no equality of zeros."""
    blind = samples["icd10"].with_columns(diagnoses=pl.lit([], dtype=pl.List(pl.String)))
    assert law.probabilities(blind, LABELS.names).mean() < law.probabilities(samples["icd10"], LABELS.names).mean() / 2


def test_no_code_and_no_drug_is_shared_but_hypertension(samples):
    shared = everything(samples["icd9"], "diagnoses") & everything(samples["icd10"], "diagnoses")
    assert shared == {f"{DIAGNOSIS}9//{code}" for code in STAYS_ICD9}
    for kind in ("procedures", "medications"):
        assert not everything(samples["icd9"], kind) & everything(samples["icd10"], kind)


def test_every_name_has_one_other_name_with_the_same_labels():
    icd9 = [code for p in PHENOTYPES for code, _ in p.codes] + [code for code, *_ in OTHER_DIAGNOSES]
    assert set(icd9) == set(DIAGNOSES) | STAYS_ICD9 and not set(DIAGNOSES) & STAYS_ICD9
    for code, (other, _) in DIAGNOSES.items():
        columns = [LABELS.columns_of(f"{DIAGNOSIS}{version}//{c}") for version, c in ((9, code), (10, other))]
        assert columns[0] == columns[1]
    assert set(DRUGS) == set(DRUGS_9) and set(PROCEDURES_10) == {code for code, *_ in PROCEDURES}
    others = [code for code, _ in DIAGNOSES.values()]
    assert len(set(others)) == len(others) and len(set(DRUGS.values()) | set(DRUGS)) == 2 * len(DRUGS)
    assert all(name == name.title().lower() for name in DRUGS.values())


def test_titles_are_those_of_icd10():
    """Of a code that was split by 2024, the title begins as that of the last edition, or of its heading, did."""
    known = {(kind, code): codes.title(f"{kind}10//{code}") for kind, code in written()}
    assert all(known[each] == title for each, title in written().items() if known[each])
    retired = {code: title for (kind, code), title in written().items() if not known[kind, code]}
    assert set(retired) == {"E780", "E872", "I472", "N183", "T814XXA"}
    if (DATA / "icd_codes").is_dir():
        with gzip.open(DATA / "icd_codes" / "icd10cm-order-Jan-2021.csv.gz", "rt") as file:
            edition = {row["code"]: row["long"] for row in csv.DictReader(file)}
        assert all(title.startswith(edition[code.removesuffix("XXA")]) for code, title in retired.items())


def written() -> dict[tuple[str, str], str]:
    diagnoses = {(DIAGNOSIS, code): title for code, title in DIAGNOSES.values()}
    return diagnoses | {(PROCEDURE, code): title for code, title in PROCEDURES_10.values()}


def test_same_seed_same_bytes_other_seed_other_patients(tmp_path):
    a, b, c = three_hospitals(partial(write_tables, codes="icd10"), tmp_path, TABLES)
    assert a == b
    assert all(a[name] != c[name] for name in TABLES if not name.startswith("d_"))
