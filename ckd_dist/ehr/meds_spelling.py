"""ICD codes of a MEDS data set that a program has spoilt before: restored, or refused, as those of tables are.

The converter read the same tables: a code column that was read as numbers is DIAGNOSIS//ICD//9//4280.0 in MEDS.
"""

from collections import Counter
from pathlib import Path

import pyarrow as pa

from ckd_dist.ehr.spelling import BEFORE_DOT, read_spelling
from ckd_dist.ehr.staging import Connection

SPELT = """SELECT split_part(rest, '//', 1), split_part(rest, '//', 2), sum(num)::BIGINT
    FROM readings JOIN said USING (said)
    WHERE prefix = ? AND reason IS NULL GROUP BY ALL ORDER BY ALL"""


def respell(con: Connection, place: Path) -> dict[str, int]:
    """Give the ICD codes of table `readings` the spelling of the code tables; return what was restored -> events.

    Raises ValueError where codes have two readings.
    """
    restored: Counter[str] = Counter()
    for prefix in BEFORE_DOT:
        rows = con.execute(SPELT, [prefix]).fetchall()
        spelling = read_spelling({(version, code): num for version, code, num in rows}, prefix, f"{place}, {prefix}")
        restored.update(spelling.restored)
        new = {"//".join(was): "//".join(code) for was, code in spelling.codes.items() if was != code}
        con.register(
            "spelling",
            pa.table({"was": pa.array(list(new), pa.string()), "now": pa.array(list(new.values()), pa.string())}),
        )
        con.execute("UPDATE readings SET rest = now FROM spelling WHERE rest = was AND prefix = ?", [prefix])
        con.unregister("spelling")
    return dict(restored)
