"""Stage records: done, stale and why, verified.  Twelve-line stages stand in for the real ones."""

from dataclasses import replace

import pytest

from ckd_dist import record
from ckd_dist.config import Workers
from ckd_dist.files import sample_hash
from ckd_dist.recipefile import load
from ckd_dist.runfolder import RunFolder
from ckd_dist.studies.disease import STUDY
from ckd_dist.study import Stage
from tests.records import write_record

AFTER_TEACHER = {"validate_teacher", "label", "distill", "evaluate"}
AFTER_SELECT = {"prompt_teacher", "prompt_student", "train_teacher", *AFTER_TEACHER}
TINY = STUDY.recipes["tiny"]()
OUTPUTS = {  # of every stage of the disease study, files that its readers tell apart
    "extract": ["events/data/train/00000.parquet", "events/metadata/codes.parquet"],
    "select": ["samples/train.parquet"],
    "prompt_teacher": ["prompts/train.teacher.parquet", "prompts/knowledge.json", "base/teacher/model.safetensors"],
    "prompt_student": ["prompts/train.student.parquet", "base/student/model.safetensors"],
}


@pytest.fixture
def run(tmp_path):
    return RunFolder(tmp_path)


def ledger(run, *overrides, recipe=TINY):
    return STUDY.ledger(load(type(recipe), _values(recipe), overrides), run)


def _values(recipe):
    from ckd_dist.config import dump

    return dump(recipe)


def do(book, name, text="content", only=None, numbers=None):
    """A stage that writes its files, `only` one of them with `text`."""
    book.run.stage(name).unlink(missing_ok=True)
    files = [book.run.root / path for path in OUTPUTS.get(name, [f"{name}/out.txt"])]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text if only is None or file.name == only else "content")
    write_record(book, name, files, numbers or {})


def do_all(book):
    for name in book.stages:
        do(book, name)


def states(book):
    return {state.name: state.state for state in book.status()}


def stale(book):
    return {name for name, state in states(book).items() if state != "done"}


def test_a_finished_run_is_done_and_whole(run):
    do_all(ledger(run))
    assert stale(ledger(run)) == set()
    assert record.verify(run) == []


@pytest.mark.parametrize(
    ("override", "redone"),
    [
        ("student.optim.epochs=7", {"distill", "evaluate"}),
        ("select.min_age=1", {"select", *AFTER_SELECT}),
        ("student.base=google-bert/bert-base-uncased", {"prompt_student", "distill", "evaluate"}),
        ("student.tiny.hidden=32", {"prompt_student", "distill", "evaluate"}),
        ("prompt.student_tokens=128", {"prompt_student", "distill", "evaluate"}),
        ("prompt.student_instruction=true", {"prompt_student", "distill", "evaluate"}),
        ("prompt.teacher_only=[drugs]", AFTER_SELECT),
        ("prompt.teacher_permuted=true", AFTER_SELECT),
        ("student.labelled.tuning=20", {"prompt_student", *AFTER_TEACHER}),  # the teacher is judged again; shards stay
        ("teacher.labelled.train=100", AFTER_SELECT),
        ("student.workers.num=7", set()),
        ("teacher.workers.num=7", set()),
        ("evaluate.seed=1", {"evaluate"}),
        ("label.gate=refuse", set()),
        ("label.shard_rows=7", AFTER_TEACHER),
        ("teacher.lora.rank=4", {"train_teacher", *AFTER_TEACHER}),
    ],
)
def test_a_changed_field_redoes_what_it_shapes_and_nothing_else(run, override, redone):
    """Another student costs its prompts and its training: a finished teacher and its labels are kept."""
    do_all(ledger(run))
    assert stale(ledger(run, override)) == redone


def test_the_changed_field_is_named(run):
    do_all(ledger(run))
    why = ledger(run, "student.optim.epochs=7").state("distill").why
    assert "student.optim.epochs changed from 3.0 to 7.0" in why


def test_other_prompts_of_the_student_are_no_other_input_of_the_teacher(run):
    book = ledger(run)
    do_all(book)
    do(book, "prompt_student", "other")
    assert stale(book) == {"distill", "evaluate"}
    do(book, "prompt_teacher", "other", only="train.teacher.parquet")
    assert "train_teacher" in stale(book)


def test_knowledge_reaches_both_roles(run):
    book = ledger(run)
    do_all(book)
    do(book, "prompt_teacher", "other", only="knowledge.json")
    assert {"prompt_student", "distill"} <= stale(book)
    assert "train_teacher" not in stale(book)  # its own texts are the same bytes


def test_same_bytes_again_redo_nothing_after(run):
    book = ledger(run)
    do_all(book)
    do(book, "select")
    assert stale(book) == set()
    do(book, "select", "other content")
    assert {"prompt_teacher", "prompt_student"} <= stale(book)


def test_new_names_of_codes_redo_no_samples(run):
    book = ledger(run)
    do_all(book)
    do(book, "extract", "other", only="codes.parquet")
    assert "select" not in stale(book)
    assert {"prompt_teacher", "prompt_student"} <= stale(book)


def test_a_crash_inside_a_stage_leaves_it_missing(run):
    book = ledger(run)
    do(book, "extract")
    run.stage("extract").unlink()
    assert states(book)["extract"] == "missing"


def test_a_torn_record_is_none(run):
    book = ledger(run)
    do(book, "extract")
    run.stage("extract").write_text(run.stage("extract").read_text()[:50])
    assert states(book)["extract"] == "missing"


def test_a_stage_wants_what_it_reads(run):
    with pytest.raises(ValueError, match="run extract first"):
        ledger(run).inputs("select")


def test_verify_names_the_changed_and_the_missing_file(run):
    book = ledger(run)
    do(book, "extract")
    do(book, "select")
    (run.root / "events" / "metadata" / "codes.parquet").write_text("contenu")
    (run.root / "samples" / "train.parquet").unlink()
    problems = record.verify(run)
    assert len(problems) == 2
    assert "codes.parquet" in problems[0] and "bytes changed" in problems[0]
    assert "samples/train.parquet" in problems[1] and "gone" in problems[1]


@pytest.mark.parametrize("name", ["mimic", "site=a", "a:b"])
def test_new_tables_under_an_old_path_are_noticed(run, tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    (folder / "ADMISSIONS.csv").write_text("a")
    book = ledger(run, f"extract.source=mimic3:{folder}")
    do(book, "extract")
    assert states(book)["extract"] == "done"
    (folder / "ADMISSIONS.csv").write_text("ab")
    assert states(book)["extract"] == "stale"
    (folder / "ADMISSIONS.csv").unlink()
    folder.rmdir()
    assert states(book)["extract"] == "done"


def test_imported_soft_labels_need_no_teacher(run):
    book = ledger(run, "label.import_from=soft.json")
    for name in ("extract", "select", "prompt_teacher", "prompt_student"):
        do(book, name)
    assert states(book)["train_teacher"] == "done"
    do(book, "label")
    assert states(book)["label"] == "done"


def test_a_state_is_asked_for_once_however_many_stages_read_it(run, monkeypatch):
    """Each look at a stage may list a whole source folder: many stages read it, one look is enough."""
    do_all(ledger(run))
    seen = []
    monkeypatch.setattr(record.Ledger, "_state", _counting(record.Ledger._state, seen))
    ledger(run).status()
    assert sorted(seen) == sorted(STUDY.stages)


def _counting(state, seen):
    def counted(self, name, known):
        seen.append(name)
        return state(self, name, known)

    return counted


def test_other_numbers_are_other_input_and_other_costs_are_not(run):
    """The label stage's numbers say which plan is whose: they decide what its readers read."""
    book = ledger(run)
    do_all(book)
    do(book, "label", numbers={"train": "0123"})
    assert stale(book) == {"distill", "evaluate"}
    do_all(book)
    with_costs = replace(record.read(run, "label"), costs={"seconds": 9})
    record.finish(run, with_costs)
    assert stale(book) == set()


def test_manifests_say_who_made_a_shard_and_decide_nothing(run):
    book, manifest = ledger(run), "softlabels/0123/shard-00001.json"
    do_all(book)
    label = record.read(run, "label")
    for sha in ("a", "b"):
        record.finish(run, replace(label, files={**label.files, manifest: sha}))
        (run.root / manifest).parent.mkdir(parents=True, exist_ok=True)
        (run.root / manifest).touch()
        assert stale(book) == set()
    record.finish(run, replace(label, files={**label.files, manifest.replace(".json", "-ff.safetensors"): "a"}))
    (run.root / manifest.replace(".json", "-ff.safetensors")).touch()
    assert "distill" in stale(book)


def test_a_new_base_under_an_old_path_is_noticed(run, tmp_path):
    base = tmp_path / "bert"
    base.mkdir()
    (base / "model.safetensors").write_text("weights")
    (base / "config.json").write_text("{}")
    book = ledger(run, f"student.base={base}")
    do_all(book)
    assert stale(book) == set()
    for name, other in (("config.json", "[]"), ("model.safetensors", "widgets")):  # as large as before
        before = (base / name).read_text()
        (base / name).write_text(other)
        assert stale(book) == {"prompt_student", "distill", "evaluate"}
        (base / name).write_text(before)
    assert stale(book) == set()


@pytest.mark.parametrize("place", [0, 0.5, 1])
def test_other_weights_of_the_same_size_have_another_hash(tmp_path, place):
    """Training moves every weight: a hundredth of a large file is enough to meet some of them."""
    file, size = tmp_path / "model.safetensors", 3 * 2**20
    file.write_bytes(bytes(size))
    before = sample_hash(file)
    changed = bytearray(size)
    start = int(place * (size - size // 10))
    changed[start : start + size // 10] = b"1" * (size // 10)
    file.write_bytes(changed)
    assert sample_hash(file) != before


def test_one_of_two_sources_that_is_not_mounted_is_as_it_was(tmp_path):
    assert record._where_mounted(["a", None], ["a", "b"]) == ["a", "b"]
    assert record._where_mounted(None, ["a", "b"]) == ["a", "b"]
    assert record._where_mounted(["x", None], ["a", "b"]) == ["x", "b"]


def test_a_stage_whose_input_would_be_done_again_is_not_begun(run):
    do_all(ledger(run))
    with pytest.raises(
        ValueError,
        match=r"reads the output of prompt_student, which is stale \(prompt\.student_tokens changed .* first",
    ):
        ledger(run, "prompt.student_tokens=64").check_inputs("distill")
    ledger(run, "prompt.student_tokens=64").check_inputs("train_teacher")


@pytest.mark.parametrize(
    ("stage", "sentence"),
    [
        (Stage("b", "m:f", "", part="studnt"), "has no field 'studnt'"),
        (Stage("b", "m:f", "", part="student", sources=("student.bse",)), "has no field 'student.bse'"),
        (Stage("b", "m:f", "", part="student", reads={"c": ()}), "reads 'c', which is no earlier stage"),
    ],
)
def test_a_study_with_a_slip_in_a_stage_is_refused_where_it_stands(stage, sentence):
    with pytest.raises(ValueError, match=sentence):
        replace(STUDY, all_stages=(Stage("a", "m:f", "", part="extract"), stage))


def test_more_workers_change_nothing(run):
    do_all(ledger(run))
    more = replace(TINY, student=replace(TINY.student, workers=Workers(num=7)))
    assert set(states(ledger(run, recipe=more)).values()) == {"done"}
