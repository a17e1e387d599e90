"""The pages say what the numbers say, escape every name, and name nobody."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

from ckd_dist.studies.concepts.report.grids import score_grids
from ckd_dist.studies.concepts.report.measure import measure
from ckd_dist.studies.concepts.report.page import write_report
from ckd_dist.studies.concepts.report.results import Results
from ckd_dist.studies.concepts.report.tables import MACRO, ConceptTables
from ckd_dist.studies.concepts.report.wording import sentences_of
from tests.report.browser import needs_browser, open_page
from tests.studies.concepts.report.fakes import EMBEDDINGS, REGIMES, make_results


def write_pages_of(results: Results, folder: Path) -> ConceptTables:
    """Measure, say and write; return the tables."""
    tables = measure(results)
    write_report(results.provenance, tables, sentences_of(tables), folder)
    return tables


def test_what_was_read_and_the_names_that_sites_lack_are_shown(written: Path) -> None:
    """N8 of the field's notes: drugs without a name differ between hospitals, and no page said so."""
    numbers = json.loads((written / "metrics.json").read_text())
    assert numbers["was_read"]["read"][2] == "no name for 12% of drugs"
    assert [site["unnamed_drugs"] for site in numbers["sites"]] == [0.12, 0.0]
    page, markdown = ((written / name).read_text() for name in ("report.html", "report.md"))
    assert "<b>Read.</b> 3 sites, 900 cases" in page and "<li>Lost: 7 rows of DRUGS (no &lt;name&gt;)</li>" in page
    assert page.count("<th>Unnamed<span>") == 1 and "<td>12 %</td>" in page
    assert "- **Read.** 3 sites, 900 cases\n  - Lost: 7 rows" in markdown and "| Unnamed drugs |" in markdown
    table = markdown[markdown.index("| Site |") : markdown.index("Concepts a case: median")].strip()
    assert len({line.replace("\\|", "").count("|") for line in table.splitlines()}) == 1


def test_sites_of_a_source_without_orders_have_no_such_column(tmp_path: Path) -> None:
    results = dataclasses.replace(make_results(num_seeds=1, sizes=(), curves=False), unnamed_drugs={})
    write_pages_of(results, tmp_path)
    assert not any("nnamed" in (tmp_path / page).read_text() for page in ("report.md", "report.html"))


@pytest.mark.parametrize(("least", "named"), [(1, True), (10, False)])
def test_rare_concepts_are_never_named(tmp_path: Path, least: int, named: bool) -> None:
    """Two subjects of either site have them: in no file, unless two are enough."""
    results = make_results(num_seeds=1, sizes=(), curves=False, maps=True)
    results = dataclasses.replace(results, least_subjects=least, neighbours=30)
    write_pages_of(results, tmp_path)
    texts = [path.read_text() for path in tmp_path.iterdir()]
    assert len(texts) == 3
    assert any("secret" in text for text in texts) is named


def test_fewer_than_ten_subjects_have_no_interval(tmp_path: Path) -> None:
    results = make_results(num_cases=32, sizes=(), curves=False)
    assert {len(np.unique(target.subject_N)) for target in results.targets} == {8}
    tables = write_pages_of(results, tmp_path)
    assert all(np.isnan(score.auroc[MACRO].low) for score in tables.scores)
    numbers = json.loads((tmp_path / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert all(line["auroc"]["macro"]["low"] is None for line in numbers["scores"])
    for page in ("report.md", "report.html"):
        shown = re.sub(r"<svg.*?</svg>", "", (tmp_path / page).read_text(), flags=re.S)
        assert not re.search(r"\bnan\b|None", shown)


def test_pages_say_what_the_numbers_say(written: Path) -> None:
    numbers = json.loads((written / "metrics.json").read_text(), parse_constant=pytest.fail)
    markdown, page = (written / "report.md").read_text(), (written / "report.html").read_text()
    cells = [c for line in numbers["scores"] if line["size"] is None for c in line["auroc"].values()]
    cells += [c for line in numbers["baselines"] for c in line["auroc"].values()]
    for cell in cells:
        for text in (markdown, page):
            assert f"{cell['low']:.3f} to {cell['high']:.3f}" in text
            assert f"{cell['value']:.3f}" in text
    for line in numbers["differences"]:
        for cell in line["auroc"].values():
            for text in (markdown, page):
                assert f"{abs(cell['value']):.3f}" in text
    for text in (markdown, page):
        for word in ("A note.", "12 left before it", "3.4 %", "grid.seeds", "48.6 %", "oracle", "prevalence"):
            assert word.replace("48.6 %", "49 %") in text, word
        assert "never" not in text.split("Counted in reading the sources:")[1][:60]


def test_metrics_keep_the_names_that_a_reader_looks_up(written: Path) -> None:
    """A table's field renamed is another metrics.json."""
    numbers = json.loads((written / "metrics.json").read_text())
    score, difference = numbers["scores"][0], numbers["differences"][0]
    line = ["embedding", "model", "regime", "source", "target", "size"]
    assert list(score) == [*line, "seeds", "auroc", "auprc"]
    assert list(score["auroc"]["macro"]) == ["value", "low", "high", "least", "most"]
    assert list(difference["first"]) == list(difference["second"]) == line
    assert list(difference["auroc"]["macro"]) == ["value", "low", "high", "verdict"]
    assert {"warnings", "findings", "summary", "reading", "pairs", "targets", "baselines"} < numbers.keys()


def test_page_is_one_file_that_escapes(written: Path) -> None:
    page = (written / "report.html").read_text()
    assert "<script" not in page
    assert not re.search(r"(src|href)=\"(?!#|data:)", page)
    for text in ("tiny | <b>teacher", "stay <over> 7 days", "finding <"):
        assert text not in page
    assert "tiny | &lt;b&gt;teacher" in page
    assert page.count("<svg") == 2 + 2  # two curves and two maps
    assert "$x_" in page  # no dollar was taken for mathematics


SHAPES = [
    (2, ("north", "south"), ("max", "mean")),
    (7, ("north", "south"), ("max",)),
    (1, ("a", "b", "c", "d"), ("max",)),
]


@pytest.mark.parametrize(("num_outcomes", "sites", "models"), SHAPES)
def test_tables_are_whole(tmp_path: Path, num_outcomes: int, sites: tuple[str, ...], models: tuple[str, ...]) -> None:
    """Every line has as many cells as its head, and every pair, regime and model is shown."""
    results = make_results(64, num_outcomes, 1, sites, models, sizes=(10,) if num_outcomes > 1 else (), curves=False)
    tables = write_pages_of(dataclasses.replace(results, bootstrap_draws=100), tmp_path)
    markdown, page = (tmp_path / "report.md").read_text(), (tmp_path / "report.html").read_text()
    blocks = [block for block in markdown.split("\n\n") if block.lstrip().startswith("|")]
    shown = score_grids(tables)
    assert len(blocks) >= 4 + 5 * len(shown)  # scores and four kinds of differences, and sites, overlap, cost, recipe
    for block in blocks:
        lines = block.strip().splitlines()
        assert all(line.startswith("|") for line in lines), block
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1, block
    for table in re.findall(r"<table>.*?</table>", page, flags=re.S):
        assert len({len(re.findall(r"<t[hd][ >]", row)) for row in re.findall(r"<tr.*?</tr>", table)}) == 1, table
    cells = [cell for grid in shown for row in grid.rows for cell in row.cells]
    num_pairs, columns = len(sites) * (len(sites) - 1), num_outcomes + 1 if 1 < num_outcomes <= 5 else 1
    rows = len(EMBEDDINGS) * len(REGIMES) + 3
    assert len(cells) == num_pairs * columns * rows * len(models)
    assert all(cells)


def test_what_is_absent_has_no_heading(tmp_path: Path) -> None:
    """One embedding, learned at the target alone: no difference, no curve, no map."""
    full = make_results(sizes=())
    local = [one for one in full.scored if one.regime == "local" and one.embedding == "student"]
    provenance = dataclasses.replace(full.provenance, was_read={})
    bare = dataclasses.replace(full, provenance=provenance, scored=local, spaces=(), idle_share=None, left_out={})
    write_pages_of(bare, tmp_path)
    headings = re.findall(r"^## (.*)$", (tmp_path / "report.md").read_text(), flags=re.M)
    parts = ["Sites", "How well each does", "What is clear of zero", "What it took", "How to read this"]
    assert headings == [*parts, "How it was made"]
    assert "<svg" not in (tmp_path / "report.html").read_text()


def test_same_results_same_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_pages_of(make_results(64, num_seeds=1, sizes=(), maps=True), tmp_path / name)
    for file in ("metrics.json", "report.md", "report.html"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


@needs_browser
def test_opens_in_a_browser_without_an_error(written: Path, tmp_path: Path) -> None:
    document = open_page(written / "report.html", tmp_path)
    assert "Which concepts go along with the loss" in document
    assert document.count("<svg") == 4
