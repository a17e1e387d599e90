"""What a prediction rests on: the words of that visit and no others, as much as its logit is made of them."""

import numpy as np
import polars as pl
import pytest

from ckd_dist.studies.disease.explain import NUM_DISEASES, explain_row, span_scores
from ckd_dist.studies.disease.rows import read_table
from tests.end_to_end.small import ckd


@pytest.fixture(scope="module")
def sample(finished):
    return pl.read_parquet(finished.prompts("held_out", "student")).row(0, named=True)


def test_every_span_is_of_that_visit_s_text_and_the_strongest_come_first(finished, sample):
    explained = explain_row(finished, "held_out", 0)
    assert len(explained) == NUM_DISEASES
    assert [each.probability for each in explained] == sorted((e.probability for e in explained), reverse=True)
    for each in explained:
        assert each.spans and all(span.text in sample["text"] for span in each.spans)
        sizes = [abs(span.score) for span in each.spans]
        assert sizes == sorted(sizes, reverse=True) and sizes[0] > 0


def test_the_score_of_a_section_is_at_least_that_of_what_it_holds_and_a_visit_holds_its_sections(finished):
    """Coarser levels are sums over more tokens: every token of an item is one of its section and of its visit."""
    table = read_table(finished, "held_out", "student")
    tokens_S2, kinds_S, visits_S = table.spans(0)
    ones = np.ones(table.lengths[0])
    counts = np.array(span_scores(ones, table, 0))
    np.testing.assert_array_equal(counts, tokens_S2[:, 1] - tokens_S2[:, 0])
    for visit in set(visits_S.tolist()):
        of_kind = {
            kind: counts[(kinds_S == table.kinds.index(kind)) & (visits_S == visit)].sum()
            for kind in ("visit", "section")
        }
        items = counts[(kinds_S >= 2) & (visits_S == visit)].sum()
        assert of_kind["visit"] >= of_kind["section"] >= items


def test_the_command_says_that_it_shows_a_record(finished, sample):
    said = ckd("explain", finished.root, "--sample", sample["sample_id"])
    assert said.code == 0, said.err
    assert "This is a record of a patient." in said.out and "this visit" in said.out


@pytest.mark.parametrize("wrong", ["999999", "abc", "-1"])
def test_a_sample_that_the_run_lacks_is_one_sentence(finished, wrong):
    said = ckd("explain", finished.root, f"--sample={wrong}")
    assert said.code == 2 and f"has no sample {wrong}" in said.err
