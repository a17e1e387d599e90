"""The second study's report: its three files say the same, hide what is not there, and claim nothing of few notes."""

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ckd_dist.notes.note import Mention
from ckd_dist.report.bootstrap import Estimate, resample
from ckd_dist.report.provenance import Provenance
from ckd_dist.studies.ner.report.entities import count, scores
from ckd_dist.studies.ner.report.page import write_report
from ckd_dist.studies.ner.report.results import (
    MATCHES,
    MICRO,
    Choice,
    Comparison,
    Cost,
    Elsewhere,
    NerResults,
    Point,
    Quality,
    Split,
    System,
    f1_minus,
    scores_of,
)
from ckd_dist.studies.ner.report.wording import warnings
from tests.report.browser import needs_browser, open_page

TYPES = ("disease", "medication", "symptom | <b>")


def near(value: float, width: float = 0.03) -> Estimate:
    return Estimate(value, value - width, value + width)


def qualities(strict: float, types: tuple[str, ...], random: np.random.Generator) -> dict[str, dict[str, Quality]]:
    """Exact and partial lie above strict."""
    return {
        match: {
            kind: Quality(*(near(min(0.99, strict + above + random.uniform(-0.05, 0.05))) for _ in range(3)))
            for kind in (MICRO, *types)
        }
        for match, above in zip(MATCHES, (0, 0.03, 0.07), strict=True)
    }


def make_results(num_notes: int = 60, types: tuple[str, ...] = TYPES, seed: int = 0) -> NerResults:
    """Labelers, their combination, a student and its baseline on human labels.  Every part of the page is filled."""
    random = np.random.default_rng(seed)
    systems = [
        System("ontology", "Ontology", "labeler", qualities(0.52, types, random), kind="ontology"),
        System("llm", "Qwen2.5 7B, prompted", "labeler", qualities(0.66, types, random), kind="llm"),
        System("teacher", "Teacher, logits", "labeler", qualities(0.8, types, random), kind="teacher", in_sample=True),
        System("combination", "Best combination", "combination", qualities(0.79, types, random)),
        System("human", "Student on human labels", "human", qualities(0.78, types, random)),
        System("student", "Distilled student", "student", qualities(0.82, types, random)),
    ]
    change = {match: {kind: Estimate(0.03, 0.01, 0.05) for kind in (MICRO, *types)} for match in MATCHES}
    change["partial"] = {kind: Estimate(-0.02, -0.06, 0.02) for kind in (MICRO, *types)}
    arms = {"distilled": (0.55, 0.7, 0.78, 0.82), "human labels alone": (float("nan"), 0.41, 0.69, 0.78)}
    return NerResults(
        provenance=Provenance(
            title="a synthetic run",
            source="synthetic numbers",
            date="2100-01-01",
            recipe={"student.optim.epochs": 3, "notes.source": "brat:notes"},
            versions={"torch": "2"},
            notes=("A note.",),
            was_read={"read": ["40 notes", "lost: 80 mentions (Problem & <b>)"], "label": ["40 notes"]},
        ),
        types=types,
        systems=systems,
        corpus=[
            Split("train", 140, 31_234, dict.fromkeys(types, 812), overlapping=4),
            Split("tuning", 30, 6_512, dict.fromkeys(types, 170)),
            Split("held_out", num_notes, 6_700, dict.fromkeys(types, 155), overlapping=1, wordless=2),
        ],
        differences=[
            Comparison("student", "combination", change),
            Comparison("student", "human", change),
            Comparison("combination", "teacher", change),
        ],
        choices=[
            Choice(types[0], ("ontology", "llm", "teacher"), "weighted", 0.8123, 19),
            *(Choice(kind, ("teacher",), "union", 0.7654, 19) for kind in types[1:]),
        ],
        curve=[
            Point(size, arm, near(value, 0.05))
            for arm, values in arms.items()
            for size, value in zip((0, 10, 50, 140), values, strict=True)
        ],
        elsewhere=[Elsewhere("MACCROBAT", "student", 41, types[:2], near(0.61), near(0.815))],
        costs=[
            Cost("ontology", 1.234, 12_345_678, hardware="a CPU, 1 core", measured="60 held-out notes, one by one"),
            Cost("llm", 4321.0, 3_300, 1_234_567, 98_765, 0.0512, "endpoint", "counted while labeling"),
            Cost("student", 56.7, 240_000, hardware="a CPU, 2 cores", measured="60 held-out notes, batches of 32"),
        ],
        left_out={"discontinuous": 17, "malformed_lines": 0, "out_of_text": 3},
        answers={
            "llm": {"mentions": 1801, "repeated": 33, "respelled": 21, "invented": 48},
            "teacher": {"mentions": 5},
        },
        bootstrap_draws=1000,
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ner_report")
    write_report(make_results(), folder)
    return folder


def pages(folder: Path) -> tuple[str, str]:
    return (folder / "report.md").read_text(), (folder / "report.html").read_text()


def cells_of(value: Any) -> list[dict[str, Any]]:
    """Every estimate in metrics.json, wherever it is."""
    if isinstance(value, dict):
        return [value] if {"value", "low", "high"} <= set(value) else [c for v in value.values() for c in cells_of(v)]
    return [c for v in value for c in cells_of(v)] if isinstance(value, list) else []


def test_every_number_given_is_in_metrics(written: Path) -> None:
    numbers = json.loads((written / "metrics.json").read_text(), parse_constant=pytest.fail)
    results = make_results()
    for system, said in zip(results.systems, numbers["systems"], strict=True):
        for match in MATCHES:
            for kind in (MICRO, *TYPES):
                f1 = system.scores[match][kind].f1
                assert said["scores"][match][kind]["f1"] == {"value": f1.value, "low": f1.low, "high": f1.high}
    assert numbers["curve"][4]["f1"] == {"value": None, "low": None, "high": None}
    assert numbers["choices"][0]["members"] == ["ontology", "llm", "teacher"]
    assert numbers["answers"]["llm"]["invented"] == 48
    assert numbers["left_out"]["discontinuous"] == 17


def test_pages_say_what_the_numbers_say(written: Path) -> None:
    numbers = json.loads((written / "metrics.json").read_text())
    shown = [s["scores"]["strict"][kind]["f1"] for s in numbers["systems"] for kind in (MICRO, *TYPES)]
    shown += [s["scores"][match][MICRO]["f1"] for s in numbers["systems"] for match in MATCHES]
    shown += [s["scores"]["strict"][MICRO][part] for s in numbers["systems"] for part in ("precision", "recall")]
    shown += cells_of(numbers["systems"][-1]["scores"]["strict"]) + cells_of(numbers["curve"])
    shown += cells_of(numbers["elsewhere"])
    words = "Ontology + Qwen2.5 7B, prompted + Teacher, logits|weighted|0.812|1,234,567|98,765|0.0512|12,345,678|31,234"
    words += "|MACCROBAT|−0.205|17 discontinuous, 3 out of text|invented|48|A note.|student.optim.epochs|+0.030"
    for page in pages(written):
        for cell in shown:
            if cell["value"] is not None:
                assert f"{cell['value']:.3f}" in page
                assert f"{cell['low']:.3f} to {cell['high']:.3f}" in page
        for word in words.split("|"):
            assert word in page, word
        for sentence in numbers["summary"]:
            assert sentence in page
        assert "malformed" not in page


def test_scores_and_differences_from_counts() -> None:
    """Twelve notes "gout; pain": one finds both, another the disease alone, with a word too many."""
    gout, pain, more = Mention(0, 4, "disease"), Mention(6, 10, "symptom"), Mention(0, 10, "disease")
    draws = resample(np.arange(12), 100, seed=0)
    both, one = (
        scores(count([[gout, pain]] * 12, [found] * 12, ["disease", "symptom"]), draws)
        for found in ([gout, pain], [more])
    )
    assert list(scores_of(both)) == list(MATCHES)
    assert list(scores_of(both)["strict"]) == ["disease", "symptom", MICRO]
    assert scores_of(one)["strict"][MICRO].f1.value == 0
    assert scores_of(one)["partial"]["disease"].recall == Estimate(0.5, 0.5, 0.5)
    assert f1_minus(both, one)["strict"]["symptom"] == Estimate(1, 1, 1)
    assert f1_minus(one, both)["partial"]["disease"] == Estimate(-0.5, -0.5, -0.5)


def test_summary_reads_well(written: Path) -> None:
    first, second = json.loads((written / "metrics.json").read_text())["summary"]
    assert first.startswith("On 60 notes it never saw, the distilled student finds entities with a strict F1 of 0.")
    assert first.endswith(
        "in strict F1 that is +0.030 (+0.010 to +0.050) against the best combination and "
        "+0.030 (+0.010 to +0.050) against the student on human labels."
    )
    assert second == "It reads 1,000 notes in 56.7 s (a CPU, 2 cores)."


def test_page_is_one_file_without_script(written: Path) -> None:
    page = (written / "report.html").read_text()
    assert "<script" not in page
    assert not re.search(r"(src|href)=\"(?!#|data:)", page)
    assert "symptom | &lt;b&gt;" in page
    assert "symptom | <b>" not in page
    assert page.count("<svg") == 2


@pytest.mark.parametrize("types", [("disease",), TYPES, tuple(f"type {k}" for k in range(12))])
def test_markdown_tables_are_whole(tmp_path: Path, types: tuple[str, ...]) -> None:
    """Every line of a table has as many cells as its head."""
    write_report(make_results(types=types), tmp_path)
    blocks = [b for b in (tmp_path / "report.md").read_text().split("\n\n") if b.startswith("|")]
    assert len(blocks) >= 9
    for block in blocks:
        lines = block.strip().splitlines()
        assert all(line.startswith("|") for line in lines), block
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1, block


def test_html_tables_are_whole(written: Path) -> None:
    for table in re.findall(r"<table>.*?</table>", (written / "report.html").read_text(), flags=re.S):
        assert len({len(re.findall(r"<t[hd][ >]", row)) for row in re.findall(r"<tr.*?</tr>", table)}) == 1, table


@pytest.mark.parametrize(("num_notes", "silent"), [(1, True), (19, True), (20, False)])
def test_few_notes_claim_nothing(tmp_path: Path, num_notes: int, silent: bool) -> None:
    numbers = write_report(make_results(num_notes), tmp_path)
    assert numbers["warnings"][0].startswith("Too small for claims") is silent
    verdicts = {cell["verdict"] for line in numbers["differences"] for cell in cells_of(line)}
    assert verdicts == ({"unclear"} if silent else {"better", "unclear"})
    assert ("against" not in numbers["summary"][0]) is silent
    for page in pages(tmp_path):
        assert ("Too small for claims" in page) is silent


def warned(results: NerResults, about: str) -> bool:
    return any(about in warning for warning in warnings(results))


def test_warns_of_what_was_not_there() -> None:
    results = make_results()
    assert warned(results, "its own training notes: Teacher, logits")
    fresh = [dataclasses.replace(system, in_sample=False) for system in results.systems]
    assert not warned(dataclasses.replace(results, systems=fresh), "its own training notes")
    assert not warned(results, "No large language model")
    without = [system for system in results.systems if system.kind != "llm"]
    assert warned(dataclasses.replace(results, systems=without), "No large language model")
    only_student = [system for system in results.systems if system.role == "student"]
    assert warnings(dataclasses.replace(results, systems=only_student, differences=())) == []
    rare = dataclasses.replace(results.corpus[2], mentions={"disease": 3, "medication": 1})
    assert warned(dataclasses.replace(results, corpus=[rare]), "Not in the held-out notes: symptom | <b>.")


def test_what_is_absent_has_no_heading(tmp_path: Path) -> None:
    """One type, one student, nothing else: no empty table, no dangling plot."""
    full = make_results(types=("disease",))
    student = [system for system in full.systems if system.name == "student"]
    provenance = dataclasses.replace(full.provenance, versions={}, notes=(), was_read={})
    bare = {"differences": (), "choices": (), "curve": (), "elsewhere": (), "costs": (), "left_out": {}, "answers": {}}
    write_report(dataclasses.replace(full, provenance=provenance, systems=student, **bare), tmp_path)
    markdown, page = pages(tmp_path)
    assert re.findall(r"<h2>(.*?)</h2>", page) == ["Systems", "What is in the corpus", "How it was made"]
    assert re.findall(r"^## (.*)$", markdown, flags=re.M) == ["Systems", "Corpus", "How it was made"]
    assert page.count("<svg") == 1


def test_without_intervals(tmp_path: Path) -> None:
    """Fewer than ten notes have none: values alone, no "nan" anywhere."""
    bare = Estimate(0.5, float("nan"), float("nan"))
    all_same = {match: {kind: Quality(bare, bare, bare) for kind in (MICRO, *TYPES)} for match in MATCHES}
    results = make_results(5)
    systems = [dataclasses.replace(system, scores=all_same) for system in results.systems]
    write_report(dataclasses.replace(results, systems=systems), tmp_path)
    for page in pages(tmp_path):
        assert "nan" not in re.sub(r"<svg.*?</svg>", "", page, flags=re.S)
        assert "0.500" in page


def test_same_results_same_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_report(make_results(), tmp_path / name)
    for file in ("metrics.json", "report.md", "report.html"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


WRONG: dict[str, Callable[[NerResults], dict[str, Any]]] = {
    "held_out has no note": lambda r: {"corpus": r.corpus[:2]},
    "give it more notes": lambda r: {"corpus": [dataclasses.replace(r.corpus[2], notes=0)]},
    "unique names": lambda r: {"systems": [*r.systems, r.systems[0]]},
    "'student' among them": lambda r: {"systems": r.systems[:2]},
    "ontology: scores by strict": lambda r: {"types": (*TYPES, "procedure")},
    "'human'.* are mentioned": lambda r: {"systems": [s for s in r.systems if s.name != "human"]},
    "'gpt'.* are mentioned": lambda r: {"answers": {"gpt": {"invented": 1}}},
}


@pytest.mark.parametrize("message", WRONG)
def test_results_that_do_not_fit_are_refused(tmp_path: Path, message: str) -> None:
    results = make_results()
    with pytest.raises(ValueError, match=message):
        write_report(dataclasses.replace(results, **WRONG[message](results)), tmp_path / "new")
    assert not (tmp_path / "new").exists()


@needs_browser
def test_opens_in_a_browser_without_an_error(written: Path, tmp_path: Path) -> None:
    document = open_page(written / "report.html", tmp_path)
    assert "Which labelers were joined" in document
    assert document.count("<svg") == 2
