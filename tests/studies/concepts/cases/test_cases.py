"""Cases as patient models read them."""

import polars as pl


def test_cases_are_read_as_they_were_written(run, worker):
    """Concept v is id v + 1, in order, zeros after the last; outcomes and sites of the same row."""
    frame, cases = pl.read_parquet(run.cases), worker.cases
    for row in range(0, len(frame), 23):
        wanted = [v + 1 for v in frame["concepts"][row]]
        assert cases.ids_NL[row].tolist() == wanted + [0] * (cases.ids_NL.shape[1] - len(wanted))
        assert cases.outcomes_NK[row].tolist() == frame["outcomes"][row].to_list()
    assert cases.site_N.tolist() == frame["site"].to_list() and cases.case_id_N.tolist() == frame["case_id"].to_list()
    assert cases.rows(["south"], "tuning").tolist() == [
        row
        for row, (site, split) in enumerate(frame.select("site", "split").rows())
        if (site, split) == ("south", "tuning")
    ]
