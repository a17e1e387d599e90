"""Where no worker runs it is said every minute, and ends after ten; a sign of one begins the count anew."""

import pytest

from launch.lock import REQUEUE, Failure
from launch.missing import MISSING_SECONDS, Missing
from launch.verdict import verdict


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def after(clock, missing, seconds, runs=False, step=5.0):
    for _ in range(int(seconds / step)):
        clock.now += step
        missing.look(runs)


def test_it_is_said_once_a_minute_and_given_up_after_ten(clock):
    said = []
    missing = Missing("rank", said.append, clock)
    missing.look(False)
    after(clock, missing, MISSING_SECONDS)
    assert [line.split(":")[0] for line in said] == [f"no rank has run for {minute} min" for minute in range(1, 10)]
    with pytest.raises(Failure, match="no rank could be started within 10 minutes") as caught:
        after(clock, missing, 5)
    assert verdict(caught.value)[1] == REQUEUE


def test_a_sign_begins_the_count_anew(clock):
    said = []
    missing = Missing("worker", said.append, clock)
    for _ in range(5):
        after(clock, missing, MISSING_SECONDS - 5)
        missing.look(True)
    assert len(said) == 5 * 9 and {line.split(" min")[0] for line in said[::9]} == {"no worker has run for 1"}


def test_nothing_is_said_while_workers_run(clock):
    said = []
    after(clock, Missing("rank", said.append, clock), 3 * MISSING_SECONDS, runs=True)
    assert said == []
