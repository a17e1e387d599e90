"""Names from the files of terminologies: what is taken, left, refused.  Licensed content is synthetic."""

import gzip

import pytest

from ckd_dist.studies.ner.labelers.vocabularies import FORMS, SNOMED_FULL_NAME, SNOMED_SYNONYM, read_terms
from tests.data import DATA

OBO = """format-version: 1.2
ontology: synthetic

[Term]
id: X:1
name: whooping cough
synonym: "pertussis" EXACT []
synonym: "cough with whoop" RELATED [ref:1]
synonym: "cough" BROAD []
synonym: "infant \\"whoop\\"" NARROW []

[Term]
id: X:2
name: obsolete dropsy
synonym: "dropsy" EXACT []
is_obsolete: true

[Typedef]
id: part_of
name: part of
"""

DRUGBANK = """Column1;Column2;Column3
DrugBank ID;Common name;Synonyms
DB1;Aspirin;Acetylsalicylic acid | ASA
DB2;Water;
"""


def consolidated(*rows):
    """Lines of an RXNCONSO.RRF or MRCONSO.RRF out of (concept, language, term type, string, suppressed)."""
    return "".join(
        f"{concept}|{language}||||||A1|||||{sort}|1|{string}|0|{suppressed}||\n"
        for concept, language, sort, string, suppressed in rows
    )


def description(concept, term, sort=SNOMED_SYNONYM, active=1, language="en"):
    """A line of an RF2 description file."""
    return f"1{concept}\t20200101\t{active}\t900\t{concept}\t{language}\t{sort}\t{term}\t900\n"


SNOMED_HEAD = "id\teffectiveTime\tactive\tmoduleId\tconceptId\tlanguageCode\ttypeId\tterm\tcaseSignificanceId\n"
SNOMED = (
    SNOMED_HEAD
    + description(7, "Madeupitis (disorder)", SNOMED_FULL_NAME)
    + description(7, 'Morbus "Madeup"')
    + description(7, "Old madeup", active=0)
    + description(7, "Erfundenitis", language="de")
    + description(8, "Madeupine (product)", SNOMED_FULL_NAME)
    + description(8, "Madeup tablets")
)


def written(file, text):
    """The file, with the text in it; gzipped where its name says so."""
    file.parent.mkdir(parents=True, exist_ok=True)
    (gzip.open if file.suffix == ".gz" else open)(file, "wt", encoding="utf-8").write(text)
    return file


@pytest.fixture(params=["", ".gz"])
def gz(request):
    """Both ways a file may come."""
    return request.param


def test_every_field_of_a_tsv_is_a_name_once(tmp_path, gz):
    file = written(tmp_path / f"names.tsv{gz}", "heart failure\tHF\ncroup\n\n  heart   failure\tDécompensation\n")
    vocabulary = read_terms(f"disease=tsv:{file}")
    assert vocabulary.type == "disease"
    assert vocabulary.terms == ("heart failure", "HF", "croup", "Décompensation")


def test_an_obo_file_gives_names_and_synonyms_but_obsolete_terms_and_broad_synonyms(tmp_path, gz):
    file = written(tmp_path / f"made.obo{gz}", OBO)
    assert read_terms(f"symptom=obo:{file}").terms == (
        "whooping cough",
        "cough with whoop",
        'infant "whoop"',
        "pertussis",
    )


def test_drugbank_with_and_without_the_spurious_header_and_with_commas(tmp_path, gz):
    names = ("Aspirin", "Acetylsalicylic acid", "ASA", "Water")
    for text in (DRUGBANK, DRUGBANK.split("\n", 1)[1], DRUGBANK.split("\n", 1)[1].replace(";", ",")):
        file = written(tmp_path / f"drugs.csv{gz}", text)
        assert read_terms(f"medication=drugbank:{file}").terms == names


def test_disease_ontology_takes_labels_and_synonyms_that_are_not_broad(tmp_path, gz):
    written(tmp_path / f"HumanDO.tsv{gz}", 'id\tlabel\tsubClassOf\n"D:1"\t"croup"\t"disease"\n')
    assert read_terms(f"disease=do:{tmp_path}").terms == ("croup",)
    synonyms = "id\tpredicate\tsynonym\nD:1\toboInOwl:hasExactSynonym\tlaryngotracheitis\n"
    written(tmp_path / f"doid_synonyms_en.tsv{gz}", synonyms + "D:1\toboInOwl:hasBroadSynonym\tcough\n")
    assert read_terms(f"disease=do:{tmp_path}").terms == ("croup", "laryngotracheitis")


def test_rxnorm_takes_english_ingredients_and_brands_that_are_not_suppressed(tmp_path, gz):
    rows = [
        ("1", "ENG", "IN", "madeupine", "N"),
        ("2", "ENG", "BN", "Madeupa", "N"),
        ("3", "ENG", "SCD", "madeupine 5 MG Oral Tablet", "N"),
        ("4", "ENG", "IN", "gonine", "O"),
        ("5", "SPA", "IN", "inventina", "N"),
    ]
    written(tmp_path / f"RXNCONSO.RRF{gz}", consolidated(*rows))
    assert read_terms(f"medication=rxnorm:{tmp_path}").terms == ("madeupine", "Madeupa")


def test_umls_tells_types_apart_where_semantic_types_are_there(tmp_path, gz):
    rows = [
        ("C1", "ENG", "PT", "madeupitis", "N"),
        ("C1", "ENG", "SY", "old madeupitis", "Y"),
        ("C2", "ENG", "PT", "madeupase", "N"),
        ("C1", "GER", "PT", "Erfundenitis", "N"),
    ]
    written(tmp_path / f"MRCONSO.RRF{gz}", consolidated(*rows))
    assert read_terms(f"disease=umls:{tmp_path}").terms == ("madeupitis", "madeupase")
    written(tmp_path / f"MRSTY.RRF{gz}", "C1|T047|B|Disease or Syndrome|AT1||\nC2|T116|A|Protein|AT2||\n")
    assert read_terms(f"disease=umls:{tmp_path}").terms == ("madeupitis",)
    assert read_terms(f"thing=umls:{tmp_path}").terms == ("madeupitis", "madeupase")


def test_snomed_takes_active_english_names_of_the_type_without_their_tag(tmp_path, gz):
    written(tmp_path / "Snapshot" / "Terminology" / f"sct2_Description_Snapshot-en_INT_20200101.txt{gz}", SNOMED)
    assert read_terms(f"disease=snomed:{tmp_path}").terms == ("Madeupitis", 'Morbus "Madeup"')
    assert read_terms(f"medication=snomed:{tmp_path}").terms == ("Madeupine", "Madeup tablets")
    assert len(read_terms(f"thing=snomed:{tmp_path}").terms) == 4


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", ["disease", "disease=do", "disease=do:", "=tsv:x", "disease=mesh:x", "tsv:x"])
def test_a_spec_of_another_form_is_refused_and_told_the_forms(spec):
    with pytest.raises(ValueError, match=r"write type=form:PATH, where form is one of do, obo, .*tsv"):
        read_terms(spec)


@pytest.mark.parametrize("form", FORMS)
def test_a_missing_file_is_named(tmp_path, form):
    with pytest.raises(ValueError, match="absent"):
        read_terms(f"disease={form}:{tmp_path / 'absent'}")


@pytest.mark.parametrize(
    ("form", "name", "text", "says"),
    [
        ("do", "HumanDO.tsv", "id\tname\n1\tcroup\n", "no column 'label'"),
        ("do", "HumanDO.tsv", "id\tlabel\n1\tcroup\tx\n", "line 2: 3 fields, its header has 2"),
        ("drugbank", "drugs.csv", "a;b\nc;d\n", "no column 'Common name'"),
        ("drugbank", "drugs.csv", "id;Common name\n1;x\n", "no column 'Synonyms'"),
        ("rxnorm", "RXNCONSO.RRF", "1|ENG|\n", "line 1: 3 fields"),
        ("umls", "MRCONSO.RRF", consolidated(("1", "ENG", "PT", "x", "N")) + "2|ENG\n", "line 2: 2 fields"),
        ("snomed", "sct2_Description_Snapshot-en_X.txt", "id\tterm\n", "no column 'active'"),
        ("tsv", "names.tsv", "\n \t\n", "holds no name"),
        ("obo", "made.obo", "format-version: 1.2\n", "holds no name"),
        ("obo", "made.obo", "[Term\nid X", "no ontology that pronto can read"),
        ("rxnorm", "RXNCONSO.RRF", consolidated(("1", "SPA", "IN", "x", "N")), "holds no name"),
    ],
)
def test_wrong_columns_and_empty_vocabularies_are_refused(tmp_path, form, name, text, says):
    file = written(tmp_path / name, text)
    path = tmp_path if form in ("do", "rxnorm", "umls", "snomed") else file
    with pytest.raises(ValueError, match=says) as refusal:
        read_terms(f"disease={form}:{path}")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["names.tsv", "names.tsv.gz"])
def test_bytes_that_are_no_text_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"\xff\xfe\x00croup\n")
    with pytest.raises(ValueError, match="cannot be read as UTF-8 text"):
        read_terms(f"disease=tsv:{tmp_path / name}")


# --- as people have them (notes_concepts N4, table 2.5) ---------------------------------------------------------------

NAMES = ("asthma", "heart failure")


@pytest.mark.parametrize(
    "text",
    [
        "asthma\nheart failure\n",
        "\ufeffasthma\nheart failure\n",
        "asthma\r\nheart failure\r\n",
        "asthma\rheart failure\r",
        "asthma\theart failure",
        'asthma\n"heart failure"\n',
        '"asthma"\t"heart failure"\n',
        "# diseases\nasthma\n# more\nheart failure\n",
        "asthma # common\n\n  \nheart failure\t\n",
        "name\nasthma\nheart failure\n",
        "Term\tSynonym\nasthma\theart failure\n",
        "disease\nasthma\nheart failure\n",
        "CUI\tPreferred Name\nC0004096\tasthma\nC0018801\theart failure\n",
        '\ufeff"id"\t"label"\t"count"\r\n1\tasthma\t7\r\n2\theart failure\t8\r\n',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-8-sig"])
def test_a_list_of_names_is_read_as_spreadsheets_and_people_write_it(tmp_path, text, encoding, gz):
    content = text.removeprefix("\ufeff").encode(encoding) if encoding != "utf-8" else text.encode()
    (tmp_path / f"names.tsv{gz}").write_bytes(gzip.compress(content) if gz else content)
    assert read_terms(f"disease=tsv:{tmp_path / f'names.tsv{gz}'}").terms == NAMES


def test_quotes_within_a_name_are_its_own(tmp_path):
    file = written(tmp_path / "names.tsv", '"Stone man" disease\n"5"" tear"\n6" tear\n')
    assert read_terms(f"disease=tsv:{file}").terms == ('"Stone man" disease', '5" tear', '6" tear')


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("Ménière\n".encode("latin-1"), "cannot be read as UTF-8"),
        ("asthma\n".encode("utf-16-le"), "NUL"),
        (b"PK\x03\x04xx", "zip archive"),
        (b"%PDF-1.4", "PDF"),
        (b"<!DOCTYPE html><p>asthma", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (gzip.compress(b"asthma\n" * 99, mtime=0)[:20], "cannot be read"),
        (b'"asthma\nheart failure\n', "line 1: a quote is not closed"),
        (b"asthma,bronchial asthma\ncroup,laryngotracheitis\n", "every line has 1 commas and no tab"),
        (b"C0004096\nC0018801\n", "look like codes"),
        (b"J45.909\nDOID:2841\n", "look like codes"),
        (b"# nothing\n", "holds no name"),
        (b"name\n", "holds no name"),
    ],
)
def test_what_is_no_list_of_names_is_refused_by_its_file(tmp_path, content, says):
    (tmp_path / "names.tsv").write_bytes(content)
    with pytest.raises(ValueError, match=says) as refusal:
        read_terms(f"disease=tsv:{tmp_path / 'names.tsv'}")
    assert "names.tsv" in str(refusal.value) and "\n" not in str(refusal.value)
    assert "asthma" not in str(refusal.value)


@pytest.mark.parametrize("form", ["drugbank", "obo", "do", "rxnorm", "umls", "snomed", "tsv"])
def test_bytes_that_are_no_utf8_are_refused_by_their_file_in_every_form(tmp_path, form):
    name = {"do": "HumanDO.tsv", "rxnorm": "RXNCONSO.RRF", "umls": "MRCONSO.RRF", "tsv": "x.tsv", "obo": "x.obo"}.get(
        form, "x.csv" if form == "drugbank" else "sct2_Description_Snapshot-en_X_20200101.txt"
    )
    text = {"do": "id\tlabel\n1\té\n", "drugbank": DRUGBANK + "DB3;é;\n", "snomed": SNOMED + description(9, "é")}
    rows = consolidated(("1", "ENG", "IN", "é", "N"))
    text |= {"rxnorm": rows, "umls": rows, "obo": OBO + "\n[Term]\nid: X:9\nname: é\n", "tsv": "é\n"}
    (tmp_path / name).write_bytes(text[form].encode("latin-1"))
    with pytest.raises(ValueError, match=name):
        read_terms(f"disease={form}:{tmp_path / name if form in ('drugbank', 'obo', 'tsv') else tmp_path}")


CONCEPT_HEAD = "id\teffectiveTime\tactive\tmoduleId\tdefinitionStatusId\n"


def concepts(*rows):
    """An RF2 file of concepts out of (id, time, active)."""
    return CONCEPT_HEAD + "".join(f"{concept}\t{time}\t{active}\t900\t900\n" for concept, time, active in rows)


def test_a_snomed_concept_that_is_retired_gives_no_name_though_its_descriptions_stay_active(tmp_path):
    terminology = tmp_path / "Snapshot" / "Terminology"
    text = SNOMED + description(9, "Retired illness (disorder)", SNOMED_FULL_NAME) + description(9, "Obsolete fever")
    written(terminology / "sct2_Description_Snapshot-en_INT_20200101.txt", text)
    read = read_terms(f"disease=snomed:{tmp_path}")
    assert "Retired illness" in read.terms and "names of inactive concepts" in read.remarks[0]
    written(terminology / "sct2_Concept_Snapshot_INT_20200101.txt", concepts((7, 2019, 1), (8, 2019, 1), (9, 2020, 0)))
    for place in (tmp_path, terminology, terminology / "sct2_Description_Snapshot-en_INT_20200101.txt"):
        read = read_terms(f"disease=snomed:{place}")
        assert read.terms == ("Madeupitis", 'Morbus "Madeup"')
        assert read.left_out == {"inactive concepts": 1, "inactive names": 1} and not read.remarks
    assert "Retired illness" not in read_terms(f"thing=snomed:{tmp_path}").terms
    extension = concepts((7, 2021, 0))  # of a national release: the newest row decides
    written(terminology / "sct2_Concept_Snapshot_US_20210101.txt", extension)
    with pytest.raises(ValueError, match="holds no name"):
        read_terms(f"disease=snomed:{tmp_path}")


def test_two_releases_in_one_folder_are_refused(tmp_path):
    for date in (2020, 2021):
        written(tmp_path / str(date) / f"sct2_Description_Snapshot-en_INT_{date}0101.txt", SNOMED)
        written(tmp_path / str(date) / "META" / "MRCONSO.RRF", consolidated(("1", "ENG", "PT", "croup", "N")))
    for form in ("snomed", "umls"):
        with pytest.raises(ValueError, match="give the folder of one release"):
            read_terms(f"disease={form}:{tmp_path}")


@pytest.mark.parametrize(
    ("form", "name", "below"),
    [("rxnorm", "RXNCONSO.RRF", "rrf"), ("umls", "MRCONSO.RRF", "META"), ("umls", "MRCONSO.RRF", "2024AA/META")],
)
def test_a_folder_above_or_below_and_the_file_itself_are_what_a_user_types_first(tmp_path, form, name, below, gz):
    folder = tmp_path / "release" / below
    file = written(
        folder / f"{name}{gz}", consolidated(("C1", "ENG", "IN", "croup", "N"), ("C2", "ENG", "IN", "x", "O"))
    )
    (folder / "inside").mkdir()
    for place in (tmp_path / "release", folder, folder / "inside", file):
        read = read_terms(f"disease={form}:{place}")
        assert read.terms == ("croup",) and read.left_out == {"suppressed names": 1}
    written(tmp_path / "release" / "prescribe" / below / "deep" / f"{name}{gz}", "")  # deeper: another edition
    assert read_terms(f"disease={form}:{tmp_path / 'release'}").terms == ("croup",) or below.count("/")


def test_without_semantic_types_it_is_said_that_all_names_count(tmp_path):
    written(tmp_path / "MRCONSO.RRF", consolidated(("C1", "ENG", "PT", "croup", "N")))
    assert "no MRSTY.RRF" in read_terms(f"disease=umls:{tmp_path}").remarks[0]
    assert not read_terms(f"thing=umls:{tmp_path}").remarks


def test_next_to_no_name_is_refused(tmp_path):
    rows = [("C1", "ENG", "IN", "croup", "N")] + [("C2", "SPA", "IN", "x", "N")] * 2000
    written(tmp_path / "RXNCONSO.RRF", consolidated(*rows))
    with pytest.raises(ValueError, match="yields 1 names of 2,001 rows"):
        read_terms(f"medication=rxnorm:{tmp_path}")


def test_an_obo_file_with_a_byte_order_mark_or_in_utf16_is_read(tmp_path):
    for encoding in ("utf-8-sig", "utf-16"):
        (tmp_path / "made.obo").write_bytes(OBO.encode(encoding))
        read = read_terms(f"symptom=obo:{tmp_path}")
        assert len(read.terms) == 4 and read.left_out == {"obsolete terms": 1, "broad synonyms": 1}


def test_a_quote_that_is_not_closed_loses_no_row_in_silence(tmp_path):
    rows = 'DB3;"Morphine;\nDB4;Codeine;\nDB5;Heroin";x\n'
    file = written(tmp_path / "drugs.csv", DRUGBANK + rows)
    with pytest.raises(ValueError, match=r"drugs\.csv line 5: a quote is not closed"):
        read_terms(f"medication=drugbank:{file}")


# --- the real ones ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "at_least", "some", "none"),
    [
        ("disease=do:disease_ontology", 17_000, {"asthma", "ALL", "croup"}, set()),
        ("symptom=obo:symptom_ontology/symp.obo.gz", 1_100, {"back pain", "backache"}, {"obsolete bloody diarrhea"}),
        (
            "medication=drugbank:drugbank_vocabulary/drugbank_vocabulary_semicolon.csv.gz",
            40_000,
            {"Lepirudin", "Cétuximab"},
            {"Common name", "Column3"},
        ),
    ],
)
def test_open_vocabularies_hold_what_they_should(spec, at_least, some, none):
    spec, path = spec.split(":")
    if not (DATA / path).exists():
        pytest.skip(f"no {path} in $CKD_DATA or ../shared/data")
    terms = set(read_terms(f"{spec}:{DATA / path}").terms)
    assert len(terms) >= at_least and some <= terms and not none & terms
