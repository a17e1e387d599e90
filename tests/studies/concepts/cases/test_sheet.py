"""Forms in which a spreadsheet or a data frame writes a CSV: read where there is one reading, else named."""

import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckd_dist.studies.concepts.cases.sheet import read_sheet

WANTED = ("case_id", "concept", "state")
PLAIN = 'case_id,concept,state\n1,f1,present\n2,"f 2, b",absent\n'
ROWS = [("1", "f1", "present"), ("2", "f 2, b", "absent")]


def read(folder, content: bytes, name="findings.csv"):
    (folder / name).write_bytes(content)
    return read_sheet(folder / name, WANTED)


@pytest.mark.parametrize(
    "content",
    [
        PLAIN.encode(),
        PLAIN.encode("utf-8-sig"),
        PLAIN.encode("utf-16"),
        PLAIN.encode("utf-16-le"),
        PLAIN.encode("utf-16-be"),
        PLAIN.replace("\n", "\r\n").encode(),
        PLAIN.replace("\n", "\r").encode(),
        b"\n\n" + PLAIN.encode(),
        b'CASE_ID;Concept; STATE \n1;f1;present\n2;"f 2, b";absent\n',
        b'case_id\tconcept\tstate\n1\tf1\tpresent\n2\t"f 2, b"\tabsent\n',
        b'case_id|concept|state\n1|f1|present\n2|"f 2, b"|absent\n',
        b'"case_id","concept","state"\n" 1","f1 ","present"\n"2","f  2,\xc2\xa0b",absent\n',
        b',case_id,concept,state\n0,1,f1,present\n1,2,"f 2, b",absent\n',
        b'Unnamed: 0,case_id,concept,state\n0,1,f1,present\n1,2,"f 2, b",absent\n',
        b'case_id,concept,state,,\n1,f1,present,,\n2,"f 2, b",absent,,\n',
        b'case_id,concept,state\n1,f1,present\n\n,,\n2,"f 2, b",absent\n\n',
        b'case_id,concept,state\n1,f1,present\n2,"f 2,\nb",absent\n',
    ],
)
def test_every_form_with_one_reading_is_read(tmp_path, content):
    assert read(tmp_path, content).rows() == ROWS
    assert read(tmp_path, gzip.compress(content), "findings.csv.gz").rows() == ROWS


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (PLAIN.replace("f1", "sécret").encode("latin-1"), r"not UTF-8 at byte 25: convert it, e.g. with iconv"),
        (b"case_id,concept,state,state\n1,secret,present,absent\n", "two columns are called state"),
        (b"case_id,concept\n1,secret\n", "column state is missing from its first line"),
        (b"case;concept,state\n1;secret,present\n", "column case_id, concept is missing"),
        (
            b'case_id,concept,state\n1,"secret,present\n2,f2,absent\n3,f3,absent\n',
            "quotation mark is not closed, line 2",
        ),
        (b'case_id,concept,state\n1,"secret,present\n2,f2,absent\n3,"f3",absent\n', "not closed|cannot be read as CSV"),
        (b'case_id,concept,state\n1,"secret\n2,f2,absent\n3,f3",absent\n', r"not closed \(line 2\), and 1 rows"),
        (b"case_id,concept,state\n1,secret,present,more\n", "has every row as many fields as the first line"),
        (b"", "column case_id, concept, state is missing"),
    ],
)
def test_what_has_two_readings_is_named_without_a_row(tmp_path, content, message):
    with pytest.raises(ValueError, match=message) as error:
        read(tmp_path, content)
    assert "secret" not in str(error.value) and "crét" not in str(error.value)


def test_a_damaged_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="is the file whole"):
        read(tmp_path, gzip.compress(PLAIN.encode())[:-9], "findings.csv.gz")


CELLS = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters='"'), min_size=1, max_size=8)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.tuples(*[CELLS.filter(lambda cell: cell.strip("\ufeff \xa0") != "")] * 3), min_size=1, max_size=4),
    separator=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    end=st.sampled_from(["\n", "\r\n"]),
    index=st.booleans(),
)
def test_no_form_changes_a_cell(tmp_path_factory, rows, separator, encoding, end, index):
    lines = [WANTED, *rows]
    if index:
        lines = [("", *WANTED), *((str(place), *row) for place, row in enumerate(rows))]
    text = end.join(separator.join(f'"{cell}"' for cell in line) for line in lines)
    found = read(tmp_path_factory.mktemp("sheet"), text.encode(encoding))
    assert found.rows() == [
        tuple(" ".join(cell.split()) or None for cell in row) for row in rows if "".join(row).strip()
    ]
