"""IOB: any scheme reads alike, the text is the tokens, every mention its tokens."""

import gzip
import shutil
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckd_dist.notes.iob import read_iob
from ckd_dist.notes.note import Mention
from ckd_dist.notes.read import read_corpus
from tests.notes.synthetic import TYPES, check_round_trip, data, mentioned, tokens

WORDS = ["Breast", "cancer", "Ataxia", "and", "fever", "."]
SCHEMES = {  # breast cancer; ataxia, at once after it; fever
    "IOB1": "I-D I-D B-D O I-S O",
    "IOB2": "B-D I-D B-D O B-S O",
    "BIOES": "B-D E-D S-D O S-S O",
    "BILOU": "B-D L-D U-D O U-S O",
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_says_the_same(tmp_path: Path, scheme: str) -> None:
    lines = [f"{word}\tNN\t{tag}\n" for word, tag in zip(WORDS, SCHEMES[scheme].split(), strict=True)]
    (tmp_path / "a.tsv").write_text("".join(lines) + "\n\n" + "".join(lines).replace("\n", "\r\n"))
    corpus = read_iob(tmp_path)
    mentions = [("Breast cancer", "D"), ("Ataxia", "D"), ("fever", "S")]
    assert mentioned(corpus) == {"a:1": mentions, "a:2": mentions}
    assert corpus.documents[0].text == "Breast cancer Ataxia and fever ."
    assert corpus.counts["malformed_lines"] == 0


def test_where_a_mention_ends(tmp_path: Path) -> None:
    """Another type, or an I after an end, begins a new one in any scheme."""
    tags = {"one": "I-D", "two": "I-S", "three": "B-D", "four": "E-D", "five": "I-D", "six": "S-D", "seven": "E-D"}
    (tmp_path / "d.tsv").write_text("".join(f"{word}\t{tag}\n" for word, tag in tags.items()))
    assert mentioned(read_iob(tmp_path))["d:1"] == (
        [("one", "D"), ("two", "S"), ("three four", "D"), ("five", "D"), ("six", "D"), ("seven", "D")]
    )


def test_docstart_makes_documents(tmp_path: Path) -> None:
    (tmp_path / "b.conll").write_text(
        "-DOCSTART- -X- O\n\nNo NN O\nfever NN B-S\n\nNo NN O\ncough NN B-S\n-DOCSTART- -X- O\n\nWell NN O\n"
    )
    corpus = read_iob(tmp_path)
    assert [d.text for d in corpus.documents] == ["No fever\nNo cough", "Well"]
    assert mentioned(corpus)["b:1"] == [("fever", "S"), ("cough", "S")]


def test_malformed_lines_are_counted_and_a_wrong_file_refused(tmp_path: Path) -> None:
    file = tmp_path / "c.tsv"
    many = "".join(f"chill{number}\tB-S\n" for number in range(30))
    file.write_text(f"No\tO\nfever\nor\tX-S\nchills\tB-S\nnow\tO\n\n{many}")
    with pytest.raises(ValueError, match="2 of 33 tagged lines"):  # of all lines they are few
        read_iob(file)
    file.write_text(f"{file.read_text()}{many}")
    corpus = read_iob(file)
    assert corpus.counts["malformed_lines"] == 2
    assert corpus.documents[0].text == "No fever or chills now" and mentioned(corpus)["c:1"] == [("chills", "S")]
    file.write_text("The patient\nis well\nand secret\n")
    with pytest.raises(ValueError, match="3 of 3 tagged lines end in no tag") as caught:
        read_iob(file)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "lines",
    [
        "lung\tB-D\ncancer\tI-D\nand\tO\nflu\tB-D",
        "lung B-D\ncancer I-D\nand O\nflu B-D",
        "lung   b-D\r\ncancer\t i-D\r\nand\to\r\nflu\tB-D\r\n",
        "lung\tB-D\rcancer\tI-D\rand\tO\rflu\tB-D\r",  # line ends of the old Macintosh
        "lung\tB_D\ncancer\tI_D\nand\tO\nflu\tB_D",
        "lung\tB:D\ncancer\tI:D\nand\tO\nflu\tB:D",
        "lung\tD-B\ncancer\tD-I\nand\tO\nflu\tD-B",  # the type first
        "lung\tD-B\ncancer\tD-E\nand\t0\nflu\tD-S",
        "lung\tB-D\ncancer\tM-D\nand\tO\nflu\tW-D",  # BMEWO
        "lung\tB-D\u200b\ncancer\tI-D\u200b\nand\tO\nflu\tB-D",
        "1\tlung\tB-D\n2\tcancer\tI-D\n3\tand\tO\n4\tflu\tB-D",  # a running number
        "lung NN B-NP B-D\ncancer NN I-NP I-D\nand CC O O\nflu NN B-NP B-D",
        "B-D\tlung\nI-D\tcancer\nO\tand\nB-D\tflu",  # the tag first
        "lung NN B-D C01\ncancer NN I-D C01\nand CC O -\nflu NN B-D C02",  # the tag before the last
        "\tSentence #\tWord\tTag\n0\t1\tlung\tB-D\n1\t1\tcancer\tI-D\n2\t1\tand\tO\n3\t1\tflu\tB-D",
        "token\tner_tag\nlung\tB-D\ncancer\tI-D\nand\tO\nflu\tB-D",
        "# id 12 domain=train\nlung _ _ B-D\ncancer _ _ I-D\nand _ _ O\nflu _ _ B-D",
        "\ufefflung\tB-D\ncancer\tI-D\nand\tO\nflu\tB-D\n \n\t\n\u200b\n",
        "lung\tB-D\ncancer\tI\nand\tO\nflu\tB-D",  # goes on, of no other type
    ],
)
def test_tags_as_they_are_published(tmp_path: Path, lines: str) -> None:
    (tmp_path / "a.tsv").write_bytes(lines.encode())
    corpus = read_iob(tmp_path)
    assert [d.text for d in corpus.documents] == ["lung cancer and flu"]
    assert mentioned(corpus)["a:1"] == [("lung cancer", "D"), ("flu", "D")] and not corpus.counts["malformed_lines"]


@pytest.mark.parametrize("mark", ["", "-"])
def test_tags_without_a_type_are_mentions_of_no_type(tmp_path: Path, mark: str) -> None:
    """dmis-lab/biobert#35, #56: its published files."""
    (tmp_path / "a.tsv").write_text(f"adenomatous\tB{mark}\npolyposis\tI{mark}\ncoli\tI{mark}\nwas\tO\n")
    assert mentioned(read_iob(tmp_path))["a:1"] == [("adenomatous polyposis coli", "")]


def test_a_line_of_one_column_does_not_move_the_token(tmp_path: Path) -> None:
    lines = [f"{number}\tfever{number}\tB-D" for number in range(30)]
    for more in ("31", "31\tB-D"):
        (tmp_path / "a.tsv").write_text("\n".join([*lines, more]).replace("\tB-D", "\tB-D\tC01"))
        corpus = read_iob(tmp_path)
        assert corpus.documents[0].text.startswith("fever0 fever1 ") and len(corpus.documents[0].mentions) == 30


def test_numbers_in_place_of_tokens_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("1\tB-D\n2\tO\n")
    with pytest.raises(ValueError, match="where are the tokens"):
        read_iob(tmp_path)


@settings(deadline=None)  # other work may keep the machine busy
@given(st.data())
def test_any_tokens_come_back(tmp_path_factory: pytest.TempPathFactory, draws) -> None:
    words = [*(word for word in draws.draw(tokens()) if word.strip("\u200b\u00ad ")), "x"]
    begins = draws.draw(st.lists(st.booleans(), min_size=len(words), max_size=len(words)))
    kinds = draws.draw(st.lists(st.sampled_from([None, *TYPES]), min_size=len(words), max_size=len(words)))
    lines, mentions, place = [], [], 0
    for index, (word, kind, begin) in enumerate(zip(words, kinds, begins, strict=True)):
        goes_on = index > 0 and kind is not None and kinds[index - 1] == kind and not begin
        lines.append(f"{word}\t{'O' if kind is None else ('I-' if goes_on else 'B-') + kind}\n")
        if goes_on:
            mentions[-1] = mentions[-1]._replace(end=place + len(word))
        elif kind is not None:
            mentions.append(Mention(place, place + len(word), kind))
        place += len(word) + 1
    file = tmp_path_factory.getbasetemp() / "train.tsv.gz"
    file.write_bytes(gzip.compress("".join(lines).encode()))
    [document] = read_iob(file).documents
    assert (document.text, document.split) == (" ".join(words), "train")
    check_round_trip(document, tuple(mentions))


def test_ncbi_disease(tmp_path: Path) -> None:
    for file in data("ncbi_disease").glob("*.tsv.gz"):
        shutil.copy(file, tmp_path)
    whole = read_iob(tmp_path)
    sentences, mentions = Counter(), Counter()
    for document in whole.documents:
        sentences[document.split] += 1
        mentions[document.split] += len(document.mentions)
    assert sentences == {"train": 5432, "tuning": 923, "held_out": 940}  # LICENSE-NOTE.txt
    assert mentions == {"train": 5145, "tuning": 787, "held_out": 960}
    clean = read_corpus(f"iob:{tmp_path}")
    assert clean.counts["duplicates_across_splits"] == 14  # sentences that train or devel share with a later part
    assert Counter(d.split for d in clean.documents)["held_out"] == 940
    texts = [{d.text for d in clean.documents if d.split == split} for split in ("train", "tuning", "held_out")]
    assert not (texts[0] & texts[1] or texts[0] & texts[2] or texts[1] & texts[2])
