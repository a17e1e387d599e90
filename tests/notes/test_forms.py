"""JSON lines, folders of text, and the notes of MIMIC: nothing lost, offsets exact, nothing of a note in a message."""

import csv
import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings

from ckd_dist.notes.jsonl import read_jsonl
from ckd_dist.notes.mimic import read_mimic3, read_mimic4
from ckd_dist.notes.note import Mention
from ckd_dist.notes.text import read_folder
from tests.notes.synthetic import annotated, check_round_trip

NOTE = '  Pt. says "I\'m fine",\nno fever.\n\n\tPlan: café; 2\u2005mg 😀\n'


@settings(deadline=None)  # other work may keep the machine busy
@given(annotated())
def test_jsonl_gives_back_any_text(tmp_path_factory: pytest.TempPathFactory, made) -> None:
    text, mentions = made
    spans = [mention._asdict() for mention in reversed(mentions)]
    rows = [{"name": "a", "text": text, "subject": 7, "mentions": spans}, {"name": "b", "text": text}]
    file = tmp_path_factory.getbasetemp() / "valid.jsonl.gz"
    file.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    one, other = read_jsonl(file).documents
    assert (one.text, one.subject, one.split, other.mentions) == (text, "7", "tuning", None)
    check_round_trip(one, mentions)


def test_jsonl_counts_what_it_cannot_take(tmp_path: Path) -> None:
    rows = [
        {"name": "a", "text": "No fever", "mentions": [{"start": 3, "end": 9, "type": "S"}]},
        {"name": "b", "text": "No fever", "mentions": [{"start": 3, "end": "8", "type": "S"}]},
        {"name": "c", "text": None},
        {"text": "No name"},
        {"text": ["no text"]},
        ["a list"],
        {"name": "d", "text": "half a character \ud83d"},
        {"name": "e", "text": "Well", "mentions": [], "other": 1},
    ]
    (tmp_path / "x.jsonl").write_text("\ufeff" + "\n".join(map(json.dumps, rows)) + "\n{broken\n\n")
    corpus = read_jsonl(tmp_path)
    assert [(d.name, d.mentions, d.subject) for d in corpus.documents] == [
        ("a", (), None),
        ("x:4", None, None),
        ("e", (), None),
    ]
    assert corpus.counts["malformed_lines"] == 6 and corpus.counts["out_of_text"] == 1


FEVER = {"start": 3, "end": 8}
SHAPES = {
    "ours": {"mentions": [{**FEVER, "type": "S"}]},
    "what annotate writes": {"entities": [{**FEVER, "type": "S", "text": "fever", "score": 0.9}]},
    "Prodigy": {"spans": [{**FEVER, "token_start": 1, "token_end": 1, "label": "S"}], "answer": "accept"},
    "doccano": {"id": 7, "label": [[3, 8, "S"]]},
    "doccano, of old": {"labels": [[3, 8, "S"]], "meta": {}},
    "doccano, relations": {"entities": [{"id": 1, "label": "S", "start_offset": 3, "end_offset": 8}], "relations": []},
    "brat's page": {"entities": [["T1", "S", [[3, 8]]]]},
    "BigBIO": {"entities": [{"id": "1", "type": "S", "text": ["fever"], "offsets": [[3, 8]]}]},
    "Label Studio, small": {"id": 3, "label": [{**FEVER, "text": "fever", "labels": ["S"]}]},
    "spaCy's Doc.to_json": {"ents": [{**FEVER, "label": "S"}], "tokens": [{"id": 0, "start": 0, "end": 2}]},
    "ner": {"ner": [[3, 8, "S"]]},
    "annotation": {"annotation": [{**FEVER, "label": "S"}]},
    "tags": {"tags": [[3, 8, "S"]]},
    "UTF-16 units": {"entities": [{"start": 4, "end": 9, "type": "S", "text": "fever"}], "text": "😀o fever"},
}
STUDIO = {
    "id": 1,
    "data": {"text": "No fever"},
    "annotations": [
        {
            "result": [
                {"value": {**FEVER, "text": "fever", "labels": ["S"]}, "type": "labels"},
                {"from_id": "a", "to_id": "b", "type": "relation"},
            ]
        }
    ],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_shapes_of_other_tools_are_read(tmp_path: Path, shape: str) -> None:
    (tmp_path / "x.jsonl").write_text(json.dumps({"text": "No fever"} | SHAPES[shape]) + "\n")
    [document] = read_jsonl(tmp_path).documents
    assert document.mentions == (Mention(3, 8, "S"),)


def test_lists_of_documents_are_read(tmp_path: Path) -> None:
    pair = ["No fever", {"entities": [[3, 8, "S"]]}]
    for name, value in {
        "list.json": [STUDIO],
        "list.jsonl": [STUDIO],
        "named.json": {"version": 1, "documents": [STUDIO]},
        "one.json": STUDIO | {"created": None},
        "pairs.json": [pair],
        "pair.jsonl": pair,
    }.items():
        (tmp_path / name).write_text(json.dumps(value, indent=None if name == "pair.jsonl" else 1))
        [document] = read_jsonl(tmp_path / name).documents
        assert (document.text, document.mentions) == ("No fever", (Mention(3, 8, "S"),))


def test_spans_that_say_nothing_of_the_text_are_none(tmp_path: Path) -> None:
    """A label of the document, a rejected answer and a task nobody did are no annotation; two annotators are no one."""
    rows = [
        {"label": "ill"},
        {"label": 1},
        {"label": ["ill", "acute"]},
        {"spans": [{**FEVER, "label": "S"}], "answer": "reject"},
        STUDIO | {"annotations": []},
        STUDIO | {"annotations": STUDIO["annotations"] * 2},
    ]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps({"text": "No fever"} | row) + "\n" for row in rows))
    corpus = read_jsonl(tmp_path)
    assert [document.mentions for document in corpus.documents] == [None] * 5 and corpus.counts["malformed_lines"] == 1


def test_what_is_wanted_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"note": "secret", "10023": 4}\n')
    with pytest.raises(ValueError, match="the fields note; a document has a text, and mentions") as caught:
        read_jsonl(tmp_path)
    assert "secret" not in str(caught.value) and "10023" not in str(caught.value)


def test_a_folder_of_text(tmp_path: Path) -> None:
    (tmp_path / "ward" / "train").mkdir(parents=True)
    (tmp_path / "ward" / "train" / "a.test.txt").write_bytes(NOTE.encode())
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(NOTE.encode()))
    (tmp_path / "c.pdf").write_bytes(b"%PDF")
    corpus = read_folder(tmp_path)
    assert [(d.name, d.split) for d in corpus.documents] == [("b", None), ("ward/train/a.test", "train")]
    assert all(d.text == NOTE and d.mentions is None for d in corpus.documents)


def write_csv(path: Path, header: list[str], rows: list[list[object]]) -> None:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
def test_mimic3_keeps_every_character(tmp_path: Path, ending: str) -> None:
    folder = tmp_path / "mimic [demo]*"
    folder.mkdir()
    (tmp_path / "mimic decoy").mkdir()  # what the folder's name would match, were it a pattern
    write_csv(tmp_path / "mimic decoy" / f"NoteEvents{ending}", ["ROW_ID", "SUBJECT_ID", "TEXT"], [[1, 1, "decoy"]])
    texts = {str(number): NOTE * (number % 40) + str(number) for number in range(1, 400)}  # 0.4 MB: several buffers
    rows = [[int(name), int(name) % 7, 1, text, ""] for name, text in texts.items()]
    rows += [[900, 1, 1, "written in error", "1"], [901, 1, 1, " \n", ""]]
    write_csv(folder / f"NoteEvents{ending}", ["ROW_ID", "SUBJECT_ID", "HADM_ID", "TEXT", "ISERROR"], rows)
    corpus = read_mimic3(folder)
    assert {d.name: d.text for d in corpus.documents} == texts
    assert all(d.subject == str(int(d.name) % 7) and d.mentions is None for d in corpus.documents)
    assert corpus.counts["in_error"] == 1 and corpus.counts["empty"] == 1 and corpus.counts["malformed_lines"] == 0
    assert read_mimic3(folder / f"NoteEvents{ending}") == corpus


def test_mimic4_counts_broken_rows(tmp_path: Path) -> None:
    (tmp_path / "note").mkdir()
    (tmp_path / "note" / "discharge.csv").write_text(
        'note_id,subject_id,text\n1-DS-1,10,"ab\nc"\n1-DS-2,10,"a","one too many"\n1-DS-3,11\n'
        '1-DS-4,11,"say ""ah"" \n"\n' + "1-DS-5,12,fine\n" * 40
    )
    corpus = read_mimic4(tmp_path)
    assert [(d.name, d.subject, d.text) for d in corpus.documents[:2]] == [
        ("1-DS-1", "10", "ab\nc"),
        ("1-DS-4", "11", 'say "ah" \n'),
    ]
    assert corpus.counts["malformed_lines"] == 2


def test_mimic_refusals(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds neither NOTEEVENTS\.csv nor NOTEEVENTS\.csv\.gz"):
        read_mimic3(tmp_path)
    write_csv(tmp_path / "noteevents.csv", ["row_id", "note"], [[1, "secret"]])
    with pytest.raises(ValueError, match="column subject_id, text is missing"):
        read_mimic3(tmp_path)
    (tmp_path / "NOTEEVENTS.csv.gz").write_bytes(b"secret")
    with pytest.raises(ValueError, match=r"NOTEEVENTS\.csv\.gz and noteevents\.csv: give one"):
        read_mimic3(tmp_path)
    with pytest.raises(ValueError, match=r"cannot be read \(BadGzipFile\)") as caught:
        read_mimic3(tmp_path / "NOTEEVENTS.csv.gz")
    assert "secret" not in str(caught.value)
    good = gzip.compress(("ROW_ID,SUBJECT_ID,TEXT\n" + '1,1,"secret text"\n' * 50_000).encode())
    (tmp_path / "NOTEEVENTS.csv.gz").write_bytes(good[: len(good) // 2])
    with pytest.raises(ValueError, match="cannot be read to its end") as caught:
        read_mimic3(tmp_path / "NOTEEVENTS.csv.gz")
    assert "secret" not in str(caught.value)


HEADER = "ROW_ID,SUBJECT_ID,CATEGORY,ISERROR,TEXT\n"
LINES = [f'{number},{number % 7},Nursing,,"Note {number}: he said, ""no"",\nhas asthma."\n' for number in range(200)]


def noteevents(folder: Path, content: bytes | str, name: str = "NOTEEVENTS.csv") -> Path:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def comma_to(mark: str) -> str:
    """The table with another separator; commas within texts stay."""
    rows = [HEADER, *LINES]
    return "".join(row.replace(",", mark, HEADER.count(",")) for row in rows)


@pytest.mark.parametrize(
    "written",
    {
        "semicolons": comma_to(";"),
        "tabs": comma_to("\t"),
        "bars": comma_to("|"),
        "byte order mark": "\ufeff" + HEADER + "".join(LINES),
        "Windows": (HEADER + "".join(LINES)).replace("\n", "\r\n"),
        "old Macintosh": (HEADER + "".join(LINES)).replace("\n", "\r"),
        "index": "," + HEADER + "".join(f"{nth},{line}" for nth, line in enumerate(LINES)),
        "two of one name": "CATEGORY,category,category," + HEADER + "".join(f"a,b,c,{line}" for line in LINES),
        "blank lines": "\n \n" + HEADER + "".join(LINES),
        "name with marks": '"a ""name""",' + HEADER + "".join(f"1,{line}" for line in LINES),
        "numbers with gaps": HEADER + "".join(line.replace(",", ".0,", 2) for line in LINES),
        "packed without a word": gzip.compress((HEADER + "".join(LINES)).encode()),
    }.items(),
    ids=lambda case: case[0],
)
def test_a_table_of_notes_is_read_whatever_its_form(tmp_path: Path, written: tuple[str, str | bytes]) -> None:
    corpus = read_mimic3(noteevents(tmp_path, written[1]))
    assert [document.name for document in corpus.documents] == [str(number) for number in range(200)]
    assert [document.subject for document in corpus.documents] == [str(number % 7) for number in range(200)]
    assert corpus.documents[-1].text.splitlines() == ['Note 199: he said, "no",', "has asthma."]
    assert not corpus.counts["malformed_lines"]


@pytest.mark.parametrize(
    ("written", "refusal"),
    [
        ((HEADER + "".join(LINES)).encode("utf-16"), "is written in UTF-16"),
        ((HEADER + "".join(LINES)).encode("utf-16-le"), "is written in UTF-16"),
        (b"PK\x03\x04" + bytes(100), "is a workbook or a zip archive"),
        ((HEADER + "".join(LINES)).replace("asthma", "asthmä").encode("latin-1"), "200 of 200 rows.*not UTF-8"),
        (HEADER + "".join(LINES).replace('""', '"'), "rows are malformed; most often a quotation mark within a text"),
        (HEADER + "".join(LINES).replace('""', "").replace('"', ""), "have too (few|many) fields: a text with"),
        ("".join(LINES), "first line is no line of column names"),
        ("TEXT," + HEADER + "".join(f"a,{line}" for line in LINES), "two columns have the same name, text"),
        (HEADER + "".join(LINES).replace("Nursing,,", "Nursing,maybe,"), "iserror says neither yes nor no"),
        (HEADER + "".join(LINES).replace("1,1,", "1.2E+07,1,"), "has rounded the ids"),
        ("", "column row_id, subject_id, text is missing"),
    ],
)
def test_a_table_of_notes_that_is_not_read_names_the_cause(tmp_path: Path, written: str | bytes, refusal: str) -> None:
    with pytest.raises(ValueError, match=refusal) as caught:
        read_mimic3(noteevents(tmp_path, written))
    assert not any(word in str(caught.value) for word in ("asthm", "said,", "maybe", "Nursing"))


@pytest.mark.parametrize("yes", ["1", "1.0", "True", "true", "t", "Y", "YES", " yes "])
@pytest.mark.parametrize("no", ["", "0", "0.0", "False", "F", "N", "no", "NaN", "None", "NULL"])
def test_a_note_in_error_is_left_out_whatever_the_word_for_it(tmp_path: Path, yes: str, no: str) -> None:
    rows = [line.replace("Nursing,,", f"Nursing,{yes if nth % 4 else no},") for nth, line in enumerate(LINES)]
    corpus = read_mimic3(noteevents(tmp_path, HEADER + "".join(rows)))
    assert (len(corpus.documents), corpus.counts["in_error"]) == (50, 150)
