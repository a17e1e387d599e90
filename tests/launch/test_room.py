"""How many workers the nodes hold, what is refused, and which GPUs stay idle."""

import pytest
from pydantic import ValidationError

from ckd_dist.config import Workers
from launch.room import check_room, filled, num_that_fit, say_idle

EIGHT, FEW_CORES = {"CPU": 64.0, "GPU": 8.0}, {"CPU": 48.0, "GPU": 8.0}


@pytest.mark.parametrize(
    "workers, nodes, words",
    [
        (Workers(num=3, cpus=1), [{"CPU": 2}], "has 2 CPU cores and 0 GPUs .* give teacher.workers.num=2"),
        (Workers(num=1, cpus=4), [{"CPU": 2}, {"CPU": 2}], "lower teacher.workers.cpus"),
        (Workers(num=2, gpus=1), [{"CPU": 8, "GPU": 1}], "teacher.workers.num=1"),
        (Workers(num=1, gpus=1), [{"CPU": 8}], "lower .* teacher.workers.gpus"),
        (Workers(num=0, gpus=1), [{"CPU": 8}], "lower .* teacher.workers.gpus"),
        (Workers(num=4, min=3), [{"CPU": 2}], "asks for 3 workers .* give teacher.workers.min=2"),
    ],
)
def test_workers_that_do_not_fit_are_refused_at_once(workers, nodes, words):
    with pytest.raises(ValueError, match=words):
        check_room({"teacher": workers}, nodes, "this machine")


@pytest.mark.parametrize(
    "workers, nodes",
    [
        (Workers(num=3, cpus=2, gpus=1), [{"CPU": 4, "GPU": 2}, {"CPU": 2, "GPU": 4}]),
        (Workers(num=0, cpus=2), [{"CPU": 2}]),
        (Workers(num=4, min=2), [{"CPU": 2}]),
    ],
)
def test_workers_that_fit_are_not_refused(workers, nodes):
    check_room({"teacher": workers}, nodes, "here")


def test_an_open_number_is_as_many_as_the_nodes_hold():
    assert filled(Workers(num=0, cpus=8, gpus=1), [EIGHT, EIGHT]).num == 16
    assert filled(Workers(num=0, cpus=1.5), [{"CPU": 4}, {"CPU": 1}]).num == 2
    assert filled(Workers(num=3), [EIGHT]).num == 3
    assert num_that_fit(Workers(gpus=0.5, cpus=1), [{"CPU": 8, "GPU": 2}]) == 4


@pytest.mark.parametrize(
    "workers, nodes, words",
    [
        (Workers(num=8, cpus=8, gpus=1), [EIGHT, EIGHT], "8 of 16 GPUs stay idle; teacher.workers.num=0 uses all"),
        (
            Workers(num=0, cpus=8, gpus=1),
            [{"CPU": 48, "GPU": 8}],
            "2 of 8 GPUs stay idle; lower teacher.workers.cpus to 6",
        ),
        (Workers(num=0, cpus=8, gpus=1), [EIGHT, EIGHT], None),
        (Workers(num=2), [EIGHT], None),
    ],
)
def test_gpus_that_stay_idle_are_said(workers, nodes, words):
    said = []
    say_idle({"teacher": workers}, nodes, said.append)
    assert said == ([] if words is None else [f"teacher: {words}"])


def test_more_than_all_are_never_the_fewest():
    with pytest.raises(ValidationError, match=r"workers\.min is 3 where workers\.num is 2"):
        Workers(num=2, min=3)
