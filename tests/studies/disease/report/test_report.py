"""The report's three files say the same, say it is too small where it is, and show nobody."""

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ckd_dist.studies.disease.report.page import write_report
from ckd_dist.studies.disease.report.results import Results
from tests.report.browser import needs_browser, open_page

Make = Callable[..., Results]


def with_held_out(results: Results, **changes: object) -> Results:
    """The results with other held-out rows."""
    return dataclasses.replace(results, held_out=dataclasses.replace(results.held_out, **changes))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, synthetic_results: Make) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_report(synthetic_results(300), folder)
    return folder


def test_numbers(written: Path) -> None:
    numbers = json.loads((written / "metrics.json").read_text(), parse_constant=pytest.fail)
    models = {model["name"]: model for model in numbers["models"]}
    student = models["student"]["overall"]
    assert student["macro_auroc"]["low"] < student["macro_auroc"]["value"] < student["macro_auroc"]["high"]
    assert models["prevalence"]["overall"]["macro_auroc"]["value"] == 0.5
    assert numbers["held_out"]["scorable_labels"] == 3
    assert models["student"]["per_label"]["Rare disease"]["auroc"] == {"value": None, "low": None, "high": None}
    line = next(d for d in numbers["differences"] if (d["first"], d["second"]) == ("student", "copy_last_visit"))
    assert line["metrics"]["macro_auroc"]["verdict"] == line["metrics"]["brier"]["verdict"] == "better"
    worse = next(d for d in numbers["differences"] if (d["first"], d["second"]) == ("student", "teacher"))
    difference = student["macro_auprc"]["value"] - models["teacher"]["overall"]["macro_auprc"]["value"]
    assert worse["metrics"]["macro_auprc"]["value"] == pytest.approx(difference)
    gap = {line["name"]: line["metrics"]["macro_auroc"]["value"] for line in numbers["gaps"]}
    assert 0 < gap["student"] < 1.1
    assert "oracle" not in gap


def test_pages_say_what_the_numbers_say(written: Path) -> None:
    numbers = json.loads((written / "metrics.json").read_text())
    for page in ((written / "report.md").read_text(), (written / "report.html").read_text()):
        for model in numbers["models"]:
            assert f"{model['overall']['macro_auroc']['value']:.3f}" in page
        for sentence in numbers["summary"]:
            assert sentence.split("(")[0][:60] in page.replace("&#39;", "'")
        assert "A note." in page
        assert "student.optim.epochs" in page


def test_was_there_something_to_teach(written: Path, tmp_path: Path, synthetic_results: Make) -> None:
    """The verdict on the teacher, beside what its student could expect, before and after its temperature."""
    for name in ("report.md", "report.html"):
        text = (written / name).read_text()
        assert "the teacher has something to teach: on 120 labelled tuning pairs of 48 patients" in text
        assert all(number in text for number in ("0.310", "0.380", "0.410", "−0.070 (−0.090 to −0.050)"))
    numbers = json.loads((written / "metrics.json").read_text())["validation"]
    assert numbers["scores"]["taught"]["log_loss"]["value"] == 0.31 and numbers["log_loss"]["verdict"] == "better"
    without = write_report(dataclasses.replace(synthetic_results(40), validation=None), tmp_path)
    assert without["validation"] is None
    assert not any("something to teach" in (tmp_path / name).read_text() for name in ("report.md", "report.html"))


def test_what_was_read_stands_on_the_page_and_beside_the_numbers(written: Path) -> None:
    """F4 of the field's findings: what extract lost reached neither page nor metrics.json."""
    numbers = json.loads((written / "metrics.json").read_text())
    assert numbers["was_read"]["extract"] == ["48 admissions", "lost: 12 rows of DRUGS (no <start>)"]
    assert numbers["tables_read"][0] == {
        "file": "DRUGS.csv",
        "rows": 1219,
        "kept": 1200,
        "merged": 5,
        "skipped": {"no start": 12, "a | b": 2},
    }
    page, markdown = ((written / name).read_text() for name in ("report.html", "report.md"))
    assert "<h2>What was read</h2>" in page and "Lost: 12 rows of DRUGS (no &lt;start&gt;)" in page
    assert "<th>DRUGS.csv</th><td>1,219</td><td>1,200</td><td>5</td><td>14</td>" in page
    assert "- **Extract.** 48 admissions\n  - Lost: 12 rows of DRUGS (no <start>)" in markdown
    assert "| DRUGS.csv | 1,219 | 1,200 | 5 | 14 | no start: 12; a \\| b: 2 |" in markdown
    assert "| ADMISSIONS.csv | 48 | 48 | 0 | 0 |  |" in markdown


def test_the_head_of_every_metric_says_which_way_is_better(written: Path) -> None:
    """Log-loss, Brier and ECE are the better the lower they are; all else is the better the higher."""
    page = (written / "report.html").read_text()
    heads = dict(re.findall(r"<th>([\w-]+)<span>(\w+) is better</span></th>", page))
    assert heads == {
        "Macro-AUROC": "higher",
        "Macro-AUPRC": "higher",
        "Micro-F1": "higher",
        "Macro-F1": "higher",
        "Log-loss": "lower",
        "Brier": "lower",
        "ECE": "lower",
    }
    assert "Higher is better, but for log-loss, Brier and ECE." in (written / "report.md").read_text()


def test_page_is_one_file_without_script(written: Path) -> None:
    page = (written / "report.html").read_text()
    assert "<script" not in page
    urls = set(re.findall(r"https?://[^\"'<> ]+", page))
    assert all(
        "w3.org" in url or "purl.org" in url or "matplotlib.org" in url or "creativecommons" in url for url in urls
    )
    assert not re.search(r"(src|href)=\"(?!#|data:)", page)
    assert "Gout | pipe &amp; &lt;b&gt;" in page
    ids = re.findall(r" id=\"([^\"]+)\"", page)
    assert all(page.count(f"#{name}") for name in ids)


def test_markdown_tables_are_whole(written: Path) -> None:
    """Every line of a table has as many cells as its head."""
    for block in (written / "report.md").read_text().split("\n\n"):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) <= 1, lines[0]


def test_shows_nobody(written: Path) -> None:
    for path in written.iterdir():
        assert not re.search(r"7700\d{5}|\bhadm|subject_id", path.read_text()), path.name


@pytest.mark.parametrize("num_rows", [1, 6, 30])
def test_too_small_for_claims(tmp_path: Path, synthetic_results: Make, num_rows: int) -> None:
    numbers = write_report(synthetic_results(num_rows), tmp_path)
    assert numbers["warnings"][0].startswith("Too small for claims")
    assert "Too small for claims" in (tmp_path / "report.html").read_text()
    assert "Too small for claims" in (tmp_path / "report.md").read_text()
    verdicts = {cell["verdict"] for line in numbers["differences"] for cell in line["metrics"].values()}
    assert verdicts == {"unclear"}


def test_large_enough_is_not_warned_of(written: Path) -> None:
    warnings = json.loads((written / "metrics.json").read_text())["warnings"]
    assert [w for w in warnings if "Too small" in w] == []
    assert any("1 of 4 diseases cannot be scored" in w for w in warnings)


def test_small_groups_are_masked(tmp_path: Path, synthetic_results: Make) -> None:
    """Three rows of a site of their own: named, masked, not scored."""
    results = synthetic_results(260)
    site_N = np.array(["main"] * 257 + ["tiny"] * 3)
    numbers = write_report(with_held_out(results, groups={"Site": site_N}), tmp_path)
    main, tiny = numbers["groups"][0]["groups"]
    assert main["name"] == "main"
    assert (main["pairs"], main["metrics"] is None) == ("257", False)
    assert (tiny["pairs"], tiny["patients"], tiny["metrics"]) == ("<5", "<5", None)


def test_same_results_same_files(tmp_path: Path, synthetic_results: Make) -> None:
    for name in ("one", "two"):
        write_report(synthetic_results(40), tmp_path / name)
    for file in ("metrics.json", "report.md", "report.html"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_without_oracle_teacher_or_timings(tmp_path: Path, synthetic_results: Make) -> None:
    """A student on real data, with baselines alone."""
    results = synthetic_results(40)
    models = tuple(model for model in results.models if model.role == "baseline" or model.name == "student")
    numbers = write_report(dataclasses.replace(results, models=models, timings=()), tmp_path)
    assert numbers["gaps"] == []
    assert len(numbers["summary"]) == 1
    assert {line["first"] for line in numbers["differences"]} == {"student"}


def test_results_that_do_not_fit_are_refused(tmp_path: Path, synthetic_results: Make) -> None:
    results = synthetic_results(20)
    bad = dataclasses.replace(results.model("teacher"), bits_NK=results.model("teacher").bits_NK[:1])
    labels_NK, subject_N = results.held_out.labels_NK, results.held_out.subject_N
    wrong = {
        "no pair of visits": with_held_out(results, labels_NK=labels_NK[:0], subject_N=subject_N[:0]),
        "names": with_held_out(results, label_names=("one",)),
        "'student' among them": dataclasses.replace(results, models=results.models[:2]),
        "group": with_held_out(results, groups={"Sex": np.array(["F"])}),
        "teacher: bits have shape": dataclasses.replace(results, models=(*results.models[:-2], bad)),
    }
    for message, changed in wrong.items():
        with pytest.raises(ValueError, match=message):
            write_report(changed, tmp_path)
    assert not list(tmp_path.iterdir())


@needs_browser
def test_opens_in_a_browser_without_an_error(written: Path, tmp_path: Path) -> None:
    document = open_page(written / "report.html", tmp_path)
    assert "Who is better than whom" in document
    assert document.count("<svg") == 6
