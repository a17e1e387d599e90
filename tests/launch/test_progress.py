"""The progress file: few lines, whole lines, the last always; rates start afresh with every phase."""

import doctest
import math

from ckd_dist import progress
from ckd_dist.progress import Point, Rate, Tracker, describe, describe_saves, last, read


def test_calls_close_together_write_one_line_and_the_end_is_always_written(tmp_path):
    now = iter([0.0, 0.1, 0.2, 0.5, 0.51])
    track = Tracker(tmp_path / "stage.jsonl", seconds=0.25, clock=lambda: next(now))
    for done in (1, 2, 3, 4, 5):
        track(done, 5, loss=1 / done)
    assert [point.done for point in read(tmp_path / "stage.jsonl")[0]] == [1, 4, 5]


def test_a_number_that_is_none_is_left_out(tmp_path):
    track = Tracker(tmp_path / "stage.jsonl")
    track(5, 5, loss=math.nan, rate=2)
    assert last(tmp_path / "stage.jsonl").numbers == {"rate": 2.0}


def test_a_line_still_being_written_waits_for_its_end(tmp_path):
    file = tmp_path / "stage.jsonl"
    file.write_text('{"time": 1, "done": 1, "total": 9}\n{"time": 2, "do')
    points, offset = read(file)
    assert [point.done for point in points] == [1]
    with file.open("a") as stream:
        stream.write('ne": 2, "total": 9}\n')
    points, offset = read(file, offset)
    assert [point.done for point in points] == [2]
    assert read(file, offset) == ([], offset)


def test_a_line_torn_by_a_crash_is_passed_over(tmp_path):
    file = tmp_path / "stage.jsonl"
    file.write_text('{"time": 1, "done": 1, "tot\n{"time": 2, "done": 2, "total": 9}\n')
    assert [point.done for point in read(file)[0]] == [2]


def test_a_file_that_began_anew_is_read_from_its_start(tmp_path):
    file = tmp_path / "stage.jsonl"
    file.write_text('{"time": 1, "done": 1, "total": 9}\n' * 3)
    _, offset = read(file)
    file.write_text('{"time": 1, "done": 0, "total": 9}\n')
    assert [point.done for point in read(file, offset)[0]] == [0]


def test_the_rate_is_that_of_the_current_phase():
    rate = Rate().add(Point(0, 0, 100, {})).add(Point(10, 100, 100, {}))
    assert rate.per_second == 10
    rate.add(Point(20, 0, 50, {})).add(Point(30, 10, 50, {}))
    assert (rate.per_second, rate.seconds_left) == (1.0, 40.0)
    assert describe(rate) == "10/50  20 %  1.0/s  40 s left"


def test_a_point_without_time_or_total_is_said_without_a_rate():
    assert describe(Rate().add(Point(0, 0, 0, {}))) == "0/0"


def test_doctests():
    assert doctest.testmod(progress).failed == 0


def told(*points):
    rate = Rate()
    for point in points:
        rate.add(point)
    return rate


def test_the_next_save_counts_from_the_last_one_or_from_the_phase_s_start():
    start, saved = Point(0, 1, 100, {}), Point(60, 12, 100, {"saved": 10})
    assert (
        describe_saves(told(start), 120, 15)
        == "last step 2 min ago; nothing saved yet; next save in 13 min at the latest"
    )
    said = "last step 1 min ago; saved: step 10, 1 min ago; next save in 14 min at the latest"
    assert describe_saves(told(start, saved), 120, 15) == said
    assert describe_saves(told(start, saved), 960, 15).endswith("15 min ago; the next save is due")
    assert describe_saves(told(start, saved), 90, None) == "last heard of 30 s ago"


def test_a_save_stands_after_a_fault_and_not_in_the_next_phase():
    saved = Point(60, 12, 100, {"saved": 10})
    assert "saved: step 10, 2 min ago" in describe_saves(told(saved, Point(180, 11, 100, {})), 180, 15)
    assert "nothing saved yet" in describe_saves(told(saved, Point(180, 1, 50, {})), 180, 15)
