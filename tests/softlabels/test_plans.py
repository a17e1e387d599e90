"""Several plans as one row of jobs: every shard has one number."""

import numpy as np
import pytest

from ckd_dist.softlabels.generate import generate
from ckd_dist.softlabels.plan import LabelSource, make_plan
from ckd_dist.softlabels.plans import find, still_missing


def test_shards_are_numbered_through_all_plans_each_once(tmp_path):
    def plan(num, name):
        return make_plan(np.arange(num), LabelSource(["d0"], "", "", name), split="s", shard_rows=4)

    plans = {"a": plan(9, "a"), "b": plan(4, "b"), "c": plan(1, "c")}
    found = [find(plans, number)[::2] for number in range(5)]
    assert found == [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("c", 0)]
    assert all(find(plans, number)[1] is plans[find(plans, number)[0]] for number in range(5))
    with pytest.raises(ValueError, match="there are 5 shards, asked for number 5"):
        find(plans, 5)
    assert still_missing(tmp_path, plans) == [0, 1, 2, 3, 4]
    generate(plans["b"], tmp_path, [0], lambda rows: np.zeros((len(rows), 1), np.float32))
    assert still_missing(tmp_path, plans) == [0, 1, 2, 4]
