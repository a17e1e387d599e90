"""Several plans as one row of jobs: every shard has one number."""

import numpy as np
import pytest

from ckd_dist.softlabels.errors import ShardError
from ckd_dist.softlabels.generate import generate
from ckd_dist.softlabels.plan import LabelSource, make_plan
from ckd_dist.softlabels.plans import find, open_all, still_missing


def plan(num, name):
    return make_plan(np.arange(num), LabelSource(["d0"], "", "", name), split="s", shard_rows=4)


def test_shards_are_numbered_through_all_plans_each_once(tmp_path):
    plans = {"a": plan(9, "a"), "b": plan(4, "b"), "c": plan(1, "c")}
    found = [find(plans, number)[::2] for number in range(5)]
    assert found == [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("c", 0)]
    assert all(find(plans, number)[1] is plans[find(plans, number)[0]] for number in range(5))
    with pytest.raises(ValueError, match="there are 5 shards, asked for number 5"):
        find(plans, 5)
    assert still_missing(tmp_path, plans, "digest") == [0, 1, 2, 3, 4]
    generate(plans["b"], tmp_path, [0], lambda rows: np.zeros((len(rows), 1), np.float32))
    assert still_missing(tmp_path, plans, "digest") == [0, 1, 2, 4]


def test_a_worker_opens_the_plans_of_its_stage_in_their_order(tmp_path):
    plans = {("b", "train"): plan(9, "b"), ("a", "train"): plan(4, "a")}
    still_missing(tmp_path, plans, "one")
    still_missing(tmp_path, {"other": plan(1, "c")}, "another")
    opened = open_all(tmp_path, "one")
    assert list(opened) == list(plans)
    assert [each.text for each in opened.values()] == [each.text for each in plans.values()]
    opened["b", "train"].check_teacher("b", "labeler b")
    with pytest.raises(ShardError, match="labeler b has changed since its labels were planned"):
        opened["b", "train"].check_teacher("c", "labeler b")
