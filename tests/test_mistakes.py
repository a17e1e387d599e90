"""A disk or a network that fails is a fault, whoever meets it; what a file holds, or where it is not, is a mistake."""

import errno
import os
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from subprocess import CompletedProcess

import pyarrow.parquet as pq
import pytest
from duckdb import IOException
from safetensors import SafetensorError

from ckd_dist.ehr.header import read_header
from ckd_dist.ehr.meds_columns import check_whole
from ckd_dist.engine import experiments
from ckd_dist.engine.zero import _converted, refuse_foreign_classes
from ckd_dist.mistakes import is_full_disk, is_mistake, is_of_a_machine, raise_fault, system_number
from ckd_dist.notes.files import find_files, lines, read_text
from ckd_dist.notes.hf import read_hf
from ckd_dist.notes.mimic import read_mimic3
from ckd_dist.notes.table import layout_of
from ckd_dist.ragged import map_arrays
from ckd_dist.recipefile import read_file
from ckd_dist.studies.concepts.cases.sheet import read_utf8
from ckd_dist.studies.concepts.tables import Table
from ckd_dist.studies.ner.labelers.vocabularies import read_terms
from ckd_dist.studies.ner.store import read_notes
from ckd_dist.world import World
from launch.verdict import verdict

FAULTS = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EINTR, errno.ECONNRESET)
MISTAKES = (errno.ENOENT, errno.EACCES, errno.EISDIR, errno.ENOSPC, errno.EROFS)
SPOKEN = {  # how libraries put a number into words
    "rust": lambda number: SafetensorError(f"I/O error: {os.strerror(number)} (os error {number})"),
    "rust's OSError": lambda number: OSError(f"{os.strerror(number)} (os error {number})"),
    "python": lambda number: RuntimeError(f"Traceback\nOSError: [Errno {number}] {os.strerror(number)}"),
    "duckdb reads": lambda number: IOException(f'IO Error: Could not read from file "/a b.csv": {os.strerror(number)}'),
    "duckdb writes": lambda number: IOException(
        f'IO Error: {{"exception_message":"Could not write file \\"/a b.csv\\": {os.strerror(number)}","errno":"0"}}'
    ),
    "duckdb, and where": lambda number: IOException(
        f'IO Error: Cannot open file "/a b.csv": {os.strerror(number)}\n\nLINE 1: SELECT 1'
    ),
}


def code_of(raiser: Callable[[], object]) -> int:
    """Return the exit code of what is raised."""
    with pytest.raises(Exception) as raised:
        raiser()
    return verdict(raised.value)[1]


@pytest.mark.parametrize("spoken", SPOKEN)
def test_a_number_in_words_is_as_good_as_a_number(spoken):
    for number in (*FAULTS, *MISTAKES):
        error = SPOKEN[spoken](number)
        assert system_number(error) == number and is_full_disk(error) == (number == errno.ENOSPC)
        if number in MISTAKES:
            raise_fault(error)
            continue
        with pytest.raises(OSError, match=os.strerror(number)) as raised:
            raise_fault(error, "there")
        assert (raised.value.errno, raised.value.filename) == (number, "there") and raised.value.__suppress_context__
        assert is_of_a_machine(raised.value) and not is_mistake(raised.value)
        if spoken.startswith("duckdb"):
            with pytest.raises(OSError, match=r"'/a b\.csv'$"):
                raise_fault(error)


@pytest.mark.parametrize("number", FAULTS)
def test_a_fault_passes_as_it_is(number):
    error = OSError(number, os.strerror(number), "there")
    with pytest.raises(OSError, match="there") as raised:
        raise_fault(error)
    assert raised.value is error


@pytest.mark.parametrize(
    "error",
    [
        OSError("Can't load the tokenizer"),  # transformers' own
        ValueError("a note that says: Input/output error"),
        KeyError("(os error 5)"),
        IOException("IO Error: Unexpected end of GZIP stream: /a.csv.gz"),
        *(OSError(number, os.strerror(number)) for number in MISTAKES),
    ],
    ids=repr,
)
def test_what_is_no_fault_stays_with_who_caught_it(error):
    raise_fault(error, "there")


# --- everyone who calls a damaged file a mistake ----------------------------------------------------------------------


def all_lines(path: Path) -> Iterable[str]:
    return [line for file in find_files(path, (".txt",)) for line in lines(file)]


READERS = {
    "a recipe": (read_file, "recipe.json"),
    "a text": (lambda path: [read_text(file) for file in find_files(path, (".txt",))], "note.txt"),
    "packed lines": (all_lines, "note.txt.gz"),
    "an archive": (all_lines, "notes.tar"),
    "a table of notes": (lambda path: layout_of(path, ("text",)), "notes.csv"),
    "MIMIC's notes": (read_mimic3, "NOTEEVENTS.csv.gz"),
    "a data set": (lambda path: read_hf(path.parent), "dataset_dict.json"),
    "a table": (lambda path: read_header(path, ("hadm_id",)), "table.csv"),
    "a packed table": (lambda path: read_header(path, ("hadm_id",)), "table.csv.gz"),
    "stored notes": (read_notes, "notes.parquet"),
    "a sheet": (read_utf8, "sheet.csv.gz"),
    "an ontology": (lambda path: read_terms(f"disease=obo:{path}"), "terms.obo"),
    "a pickle": (lambda path: refuse_foreign_classes(path.parent), "state.pt"),
}


@pytest.mark.parametrize("name", READERS)
def test_what_the_system_cannot_read_is_a_fault_and_what_is_damaged_a_mistake(name, tmp_path):
    """The memory of this process, from its first byte on, is a file that Linux finds and cannot read: EIO."""
    read, file_name = READERS[name]
    path = tmp_path / file_name
    path.symlink_to("/proc/self/mem")
    assert code_of(lambda: read(path)) == 85
    path.unlink()
    path.write_bytes(b"\x1f\x8b\xff\xfe damaged")
    assert code_of(lambda: read(path)) == 2


def open_result(path: Path) -> None:
    with experiments.open_result(path):
        pass


def open_rows(path: Path) -> None:
    map_arrays(path, {}, {}, "rows", "write them again")


@pytest.mark.parametrize("read", [open_rows, Table.open, open_result])
def test_what_safetensors_says_in_words_alone_is_heard(read, tmp_path, monkeypatch):
    path = tmp_path / "some.safetensors"
    path.write_bytes(b"damaged")
    assert code_of(lambda: read(path)) == 2

    def fail(*_, **__):
        raise SPOKEN["rust"](errno.ESTALE)

    for opener in ("safetensors.safe_open", "ckd_dist.ragged.safe_open"):
        monkeypatch.setattr(opener, fail)
    assert code_of(lambda: read(path)) == 85


def test_a_parquet_file_that_cannot_be_read_now_is_not_called_torn(tmp_path, monkeypatch):
    path = tmp_path / "0.parquet"
    path.write_bytes(b"damaged")
    assert code_of(lambda: check_whole(path)) == 2

    def fail(path):
        raise OSError(errno.ESTALE, "Stale file handle")  # as Arrow does

    monkeypatch.setattr(pq, "read_schema", fail)
    assert code_of(lambda: check_whole(path)) == 85


@pytest.mark.parametrize(
    ("returncode", "said", "code"),
    [(-9, "", 85), (1, "Traceback\nOSError: [Errno 116] Stale file handle: 'a.pt'", 85), (1, "KeyError: 'zp_0'", 2)],
)
def test_another_process_that_fails_is_judged_by_its_last_words(tmp_path, monkeypatch, returncode, said, code):
    """DeepSpeed converts a checkpoint in one.  Who was killed may do better the next time."""
    monkeypatch.setattr(subprocess, "run", lambda command, **_: CompletedProcess(command, returncode, "", said))
    assert code_of(_converted(tmp_path / "step", World()).__enter__) == code


def test_a_file_of_notes_that_cannot_be_read_is_not_named(tmp_path):
    """Its name may be a patient's."""
    (tmp_path / "Mr Canary.txt").symlink_to("/proc/self/mem")
    with pytest.raises(OSError, match="file 1 of 1") as raised:
        all_lines(tmp_path)
    assert "Canary" not in str(raised.value)
