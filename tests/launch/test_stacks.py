"""Who hangs is named with the place where it stands; who works, waits a little or begins anew is not."""

import json
import threading
import time

import pytest

from ckd_dist.engine.group import TIMEOUT
from launch import stacks
from launch.environment import GROUP_SECONDS
from launch.stacks import LEAVING_SECONDS, RANK, SILENT_SECONDS, STAND_SECONDS, Watch, noting_stack, place_of

LOOP, WAIT = "ckd_dist/engine/loop.py:190 fit", "torch/distributed/distributed_c10d.py:3004 all_reduce"
READ = "ckd_dist/softlabels/read.py:74 wait_for_rows"


class Notes:
    """Workers' notes, written by hand, and a driver that watches them by a clock of its own."""

    def __init__(self, folder):
        self.folder, self.now, self.count, self.said = folder, 100.0, 0, []
        folder.mkdir()
        self.heard = 0
        self.watch = Watch(folder, self.said.append, RANK, heard=lambda: self.heard, clock=lambda: self.now)
        self.watch.begin()

    def write(self, number, *stack, process=7, block=1):
        self.count += 1
        note = {"process": process, "host": "node-a", "block": block, "count": self.count, "stack": list(stack)}
        (self.folder / f"{number}.json").write_text(json.dumps(note))

    def after(self, seconds):
        self.now += seconds
        self.watch.look()
        return self.said


@pytest.fixture
def notes(tmp_path):
    return Notes(tmp_path / "stacks")


def beat(notes, seconds, stacks, step=5.0):
    """Let every rank note its stack, every five seconds, for so long."""
    for at in range(int(seconds / step)):
        for number, stack in stacks.items():
            notes.write(number, *(stack(at) if callable(stack) else stack))
        notes.after(step)


def test_a_rank_that_stands_is_named_before_those_that_wait_for_it(notes):
    beat(notes, STAND_SECONDS + 10, {0: (LOOP, WAIT), 1: (LOOP, READ), 2: (LOOP, WAIT)})
    assert len(notes.said) == 1, "once, however long it stands"
    assert f"rank 1 at {READ}; ranks 0, 2 at {LOOP}, in {WAIT}" in notes.said[0]
    whole = (notes.folder / "stacks.txt").read_text()
    assert all(words in whole for words in ("rank 0, process 7 on node-a", "rank 1", "rank 2", LOOP, WAIT, READ))


def test_ranks_that_stand_at_one_place_whenever_one_looks_are_not_named_while_steps_are_made(notes):
    for _ in range(100):
        notes.heard += 1
        beat(notes, 20, {0: (LOOP, WAIT), 1: (LOOP, WAIT)})
    assert notes.said == []


def test_steps_that_take_long_are_waited_for_as_long_again(notes):
    for _ in range(3):
        beat(notes, 40, {0: (LOOP,)})
        notes.heard += 1
    beat(notes, 100, {0: (LOOP,)})
    assert notes.said == []
    beat(notes, 50, {0: (LOOP,)})
    assert len(notes.said) == 1 and "no step for 1" in notes.said[0]


def test_a_start_that_takes_long_is_no_long_step(notes):
    beat(notes, 200, {0: lambda at: (f"load.py:{at} f",)})
    for _ in range(3):
        beat(notes, 5, {0: (LOOP,)})
        notes.heard += 1
    beat(notes, STAND_SECONDS + 10, {0: (LOOP,)})
    assert len(notes.said) == 1


def test_however_long_steps_take_who_hangs_is_named_before_collectives_give_up(notes):
    for _ in range(3):
        beat(notes, 200, {0: lambda at: (f"a.py:{at} f",)})
        notes.heard += 1
    beat(notes, RANK.latest - 10, {0: (LOOP, WAIT), 1: (READ,)})
    assert notes.said == []
    beat(notes, 20, {0: (LOOP, WAIT), 1: (READ,)})
    assert len(notes.said) == 1 and GROUP_SECONDS == TIMEOUT.total_seconds() == RANK.latest + 60


def test_ranks_that_move_are_not_named(notes):
    beat(notes, 4 * STAND_SECONDS, {0: lambda at: (f"a.py:{at // 8} f",), 1: lambda at: (f"a.py:{at // 8} f",)})
    assert notes.said == []


def test_one_that_moved_and_stands_again_is_named_again(notes):
    for place in ("a.py:1 f", "a.py:2 f"):
        beat(notes, STAND_SECONDS + 10, {0: (place,)})
    assert len(notes.said) == 2


def test_a_worker_of_short_jobs_is_not_taken_for_one_that_stands(notes):
    for block in range(40):
        notes.write(0, LOOP, block=block)
        notes.after(5.0)
    assert notes.said == []


def test_a_frozen_rank_is_named_with_its_process_and_host(notes):
    notes.write(0, LOOP)
    beat(notes, SILENT_SECONDS + 10, {1: lambda at: (f"a.py:{at} f",)})
    assert len(notes.said) == 1
    assert notes.said[0].startswith("rank 0 (process 7 on node-a) has not answered for 30 s") and LOOP in notes.said[0]
    assert notes.watch.silent_for(0) >= SILENT_SECONDS and notes.watch.silent_for(1) < 10


def test_where_all_fall_silent_at_once_it_is_the_disk(notes):
    notes.write(0, LOOP)
    notes.write(1, LOOP)
    notes.after(0)
    notes.after(10 * SILENT_SECONDS)
    assert notes.watch.silent_for(0) == notes.watch.silent_for(1) == 0


def test_workers_that_began_anew_and_those_that_ended_are_forgotten(notes):
    notes.write(0, LOOP)
    notes.write(1, LOOP)
    notes.after(SILENT_SECONDS - 5)
    notes.write(0, LOOP, process=8)
    (notes.folder / "1.json").unlink()
    notes.after(SILENT_SECONDS - 5)
    assert notes.said == [] and notes.watch.silent_for(1) == 0


def test_survivors_that_write_until_they_are_killed_are_no_frozen_ranks_of_the_next_start(notes):
    for process in (7, 8):
        notes.write(process - 7, LOOP, process=process)
    notes.after(5)
    notes.watch.begin()
    notes.after(5)
    notes.write(1, LOOP, WAIT, process=8)  # rank 0 died; rank 1 waits for it, and is killed ten seconds later
    notes.watch.begin()  # another line is read
    notes.after(5)
    notes.write(1, LOOP, WAIT, process=8)
    for _ in range(30):
        notes.after(5)
        assert notes.watch.num_seen == 0
    assert notes.said == []


def test_new_ranks_are_seen_at_once_beside_survivors_and_named_where_they_freeze(notes):
    notes.write(0, LOOP, process=7)
    notes.after(5)
    notes.watch.begin()
    notes.write(0, LOOP, process=7)
    notes.write(1, LOOP, process=9)
    notes.after(5)
    assert notes.watch.num_seen == 1
    notes.write(0, LOOP, process=10)
    notes.after(5)
    notes.after(SILENT_SECONDS)
    assert sorted(line.split(")")[0] for line in notes.said) == [
        "rank 0 (process 10 on node-a",
        "rank 1 (process 9 on node-a",
    ]


def test_ranks_that_live_on_and_those_with_the_number_of_an_ended_process_are_seen_again(notes):
    """Also where lines that are no faults come faster than survivors end."""
    seen = []
    for at in range(40):
        notes.write(0, LOOP)
        if at % 4 == 0:
            notes.watch.begin()
            notes.write(0, LOOP)
        notes.after(5)
        seen.append(notes.watch.num_seen)
    longest = max(len(run) for run in "".join(map(str, seen)).split("1"))
    assert longest * 5 <= LEAVING_SECONDS + 5, "a run whose ranks are never seen is ended: no nodes"
    beat(notes, LEAVING_SECONDS, {0: (LOOP,)})
    notes.after(SILENT_SECONDS)
    assert any("rank 0 (process 7 on node-a) has not answered" in line for line in notes.said)


def test_a_torn_note_is_passed_over(notes):
    (notes.folder / "0.json").write_text('{"process": 7, "ho')
    notes.after(10)
    assert notes.said == []


def test_a_worker_notes_where_its_own_thread_stands_and_nothing_of_its_values(tmp_path, monkeypatch):
    monkeypatch.setattr(stacks, "LOOK_SECONDS", 0.01)
    file, found = tmp_path / "stacks" / "3.json", []

    def stand_here():
        secret = "a patient's record"  # noqa: F841
        deadline = time.monotonic() + 20
        while not found and time.monotonic() < deadline:
            time.sleep(0.01)
            text = file.read_text()
            if "stand_here" in text:
                found.append(text)

    def work():
        with noting_stack(file):
            stand_here()

    thread = threading.Thread(target=work)  # Ray runs a rank's function in a thread of its own
    thread.start()
    thread.join()
    assert any("test_stacks.py" in place for place in json.loads(found[0])["stack"])
    assert "record" not in found[0] and not file.exists()


def test_the_place_is_that_of_our_code_and_the_innermost():
    assert place_of([LOOP]) == LOOP
    assert place_of(["python.py:3 run", WAIT]) == WAIT
    assert place_of([]) == "an unknown place"
