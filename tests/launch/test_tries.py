"""What several ranks raise at once: tried again where one of them tells of its machine, at once at an end where not."""

import pytest

from launch.faults import TRIES, Faults, RayError
from launch.lock import Failure

ECC = RuntimeError("CUDA error: uncorrectable ECC error encountered")
PEER = RuntimeError("[gloo/pair.cc:534] Connection closed by peer [127.0.0.1]:1234")
MISTAKE = ValueError("labels.yaml has 24 labels, the shards have 25")
STRANGE = RuntimeError("mat1 and mat2 shapes cannot be multiplied")


@pytest.fixture
def faults(tmp_path):
    return Faults(tmp_path / "faults")


def meet(faults, *errors):
    faults.after_exception(None, dict(enumerate(errors)))


def lines(faults):
    return faults.file.read_text().splitlines()


@pytest.mark.parametrize("others", [PEER, MISTAKE, STRANGE])
@pytest.mark.parametrize("own", [ECC, RayError("the actor died"), OSError(116, "Stale file handle")])
def test_what_others_say_of_a_rank_whose_machine_failed_does_not_matter(faults, own, others):
    for _ in range(TRIES):
        meet(faults, others, own)
    assert [line.rpartition("(")[2] for line in lines(faults)] == [f"{num} of {TRIES})" for num in (1, 2, 3)]
    with pytest.raises(Failure, match=f"lost {TRIES + 1} times in a row"):
        meet(faults, others, own)


def test_a_mistake_ends_the_run_at_once_whatever_its_peers_say(faults):
    with pytest.raises(ValueError, match="24 labels"):
        meet(faults, PEER, MISTAKE, PEER)
    assert not faults.file.exists()


def test_what_names_no_machine_is_tried_once_more_also_after_a_machine_s_fault(faults):
    meet(faults, ECC, PEER)
    meet(faults, STRANGE, PEER)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        meet(faults, PEER, STRANGE)
    assert len(lines(faults)) == 2


def test_steps_that_are_committed_begin_the_count_anew(faults):
    for error in [ECC, STRANGE] * 3:
        meet(faults, error, PEER)
        faults.after_report(None, {}, None)
    assert all(line.endswith(f"(1 of {TRIES})") for line in lines(faults))


def test_ranks_that_all_lost_a_peer_are_tried_again(faults):
    for _ in range(TRIES):
        meet(faults, PEER, PEER)
    with pytest.raises(Failure):
        meet(faults, PEER, PEER)
