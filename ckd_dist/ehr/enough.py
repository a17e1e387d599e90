"""Whether enough of a table was kept to go on, and the sentence that refuses it where not.

A required table of which more than half is lost for one fault (unreadable times, codes, keys) has a broken column, and
makes another hospital, whatever comes out; rows that are lost one by one, each for its own reason, are counted.
An optional table may be left away: one that is there and gives nothing, or next to nothing, was meant to be read.  Rows
that repeat others or that the table map passes over by choice are no fault.  Rows of visits that are not there are none
either while the visits that are there have rows: a site may cut its visits and leave other tables whole.  Where most
rows meet no visit and hardly a visit meets a row, the ids are not the same.  Births or deaths of which most cells
cannot be read are refused: no row would be missed.  A single id in exponent form is refused: its last digits are lost,
so it may be another patient's.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from ckd_dist.account import counted
from ckd_dist.ehr.cells import IDS, TIMES
from ckd_dist.ehr.staging import Report

FAULTS = ("malformed", "no readable", "no code", "icd_version", "discharge before", "offset of more", "no usable")
MOST_OF_ONE = 0.5  # share of a required table's rows that one fault may take
MOST_OF_ALL = 0.95  # share of any table's rows that all faults may take
LEAST_MET = {"diagnoses": 0.5, "visits": 0.5}  # share of visits (of patients) that have a row; of other tables:
LEAST_MET_ELSE = 0.05  # few visits may have an operation
SLIPS = 2  # cells of one column that may be slips of the hand
UNMISSED = ("birth", "dod", "died_at")  # times without which a row is kept
MOST_MALFORMED = 0.25  # of any table: rows that break by the quarter are a file of another encoding or dialect

ADVICE = (  # what a fault begins with -> what to do
    ("malformed", "write it anew as CSV in UTF-8, every row with the fields of the header"),
    ("icd_version", "say 9 or 10 in every row"),
    ("discharge before", "are the columns of the two times changed over?"),
    ("no code", "fill the column of codes"),
    ("no drug", "fill the column of the drugs' names"),
    ("", "do both tables come from one export, with the same ids?"),
)
WANTED = {
    **dict.fromkeys(TIMES, "write times as YYYY-MM-DD HH:MM:SS"),
    **dict.fromkeys(IDS, "give ids as whole numbers"),
    "version": "say 9 or 10 in every row",
}


def check_enough(path: Path, required: bool, report: Report, names: Mapping[str, str]) -> None:
    """Raise ValueError where too little of the table was kept.  names: its own columns -> ours."""
    unreadable: Mapping[str, Mapping[str, int]] = report.get("unreadable", {})
    for column, forms in unreadable.items():
        rounded = {form: n for form, n in forms.items() if re.fullmatch(r"9+([.,]9+)?A[+]?9+", form)}
        if rounded and names.get(column) in IDS:
            raise ValueError(
                f"{path}: {_cells(column, rounded)}: a spreadsheet has rounded the ids; export the table again, with"
                " the column as text"
            )
    at_fault = {reason: n for reason, n in report["skipped"].items() if reason.startswith(FAULTS)}
    one, every = max(at_fault.values(), default=0), sum(at_fault.values())
    column_broken = every > MOST_OF_ALL * report["rows"] or (required and one > MOST_OF_ONE * report["rows"])
    nothing = not report["kept"] and (required or any(report["skipped"].values()))
    broken = report["skipped"].get("malformed row", 0) > MOST_MALFORMED * report["rows"]
    if not nothing and not broken and not column_broken:
        return
    if why := report.get("malformed"):
        at_fault[f"malformed rows ({', '.join(why)})"] = at_fault.pop("malformed row")
    lost = dict(sorted((at_fault or report["skipped"]).items(), key=lambda item: -item[1]))
    looks = [_cells(column, forms) for column, forms in unreadable.items()]
    wanted = {WANTED[names[column]] for column in unreadable if names.get(column) in WANTED}
    advice = sorted(wanted) or [next(what for start, what in ADVICE if next(iter(lost), "").startswith(start))]
    go_without = "" if required else ", or take the table away to go without it"
    raise ValueError(
        f"{path}: of {report['rows']:,} rows {report['kept']:,} can be used"
        f"{f'; lost: {counted(lost)}' if lost else ''}{''.join(f'; {look}' for look in looks)}: "
        f"{', '.join(advice) if lost else 'the table holds no row'}{go_without}"
    )


def count_alone(report: Report) -> int:
    """Count the rows that belong to no visit, or to none of their patient's."""
    return sum(n for reason, n in report["skipped"].items() if " not in " in reason or "of another" in reason)


def check_join(path: Path, name: str, report: Report, owners: int, met: int) -> None:
    """Raise ValueError where most rows are alone, and hardly one of the `owners` has a row (`met` have)."""
    alone = count_alone(report)
    if alone > report["rows"] / 2 and met < LEAST_MET.get(name, LEAST_MET_ELSE) * owners:
        whose = "patients" if name == "visits" else "visits"
        raise ValueError(
            f"{path}: {alone:,} of {report['rows']:,} rows belong to none of the {whose}, and of {owners:,} {whose}"
            f" {met:,} have a row: {ADVICE[-1][1]}"
        )


def check_unmissed(path: Path, unreadable: Mapping[str, int], num_read: Mapping[str, int]) -> None:
    """Raise ValueError where most cells of a column cannot be read.  unreadable, num_read: column -> cells."""
    for column, number in unreadable.items():
        if number > max(SLIPS, num_read[column]):
            raise ValueError(
                f"{path}: {number:,} of {number + num_read[column]:,} cells of {column} cannot be read:"
                " write times as YYYY-MM-DD HH:MM:SS"
            )


def _cells(column: str, forms: Mapping[str, int]) -> str:
    """Say what a column looks like.

    >>> _cells("admittime", {"99/99/9999 99:99": 1048})
    'admittime reads 99/99/9999 99:99 (9 a digit, A a letter) 1,048 times'
    """
    form, number = next(iter(forms.items()))
    return f"{column} reads {form} (9 a digit, A a letter) {number:,} times"
