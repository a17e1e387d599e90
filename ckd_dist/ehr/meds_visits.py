"""Which visits a MEDS data set has, and which visit an event without a name belongs to: tables `hadm`, `placed`.

An event belongs to the visit that its hadm_id names.  Where it names none, it belongs to the visit during which it
happens: the earlier one for codes of discharge, the later one for drugs; a drug dated at midnight may precede its
admission on the same day.

Whether visits are named is a matter of the subject: shards may come from several tools.  Where no admission of a
subject carries a hadm_id, its hadm_ids are not used.  An admission and the discharge that follows it next are one
visit, where both are without a name; they are numbered over all subjects in order of subject and time, behind the
largest hadm_id.  Where one of the two is without, it completes the other's visit, if that lacks it.

A visit may have no event of discharge, and say in a column `end` of its admission when it ended: then that is its
discharge.  A number that fills empty cells, 0 or -1, names no visit.
"""

from ckd_dist.ehr.staging import KIND, Connection
from ckd_dist.schema import (
    ADMISSION,
    ANY_DIAGNOSIS,
    ANY_PROCEDURE,
    DIAGNOSIS,
    DISCHARGE,
    EICU_DIAGNOSIS,
    HISTORY,
    ICU_ADMISSION,
    ICU_DISCHARGE,
    MEDICATION,
    PROCEDURE,
    TREATMENT,
)


def ranks(*kinds: str) -> str:
    """Return kinds as SQL's list of their numbers."""
    return ", ".join(str(KIND[kind]) for kind in kinds)


CODED = (EICU_DIAGNOSIS, DIAGNOSIS, PROCEDURE, ANY_DIAGNOSIS, ANY_PROCEDURE)
FILLERS = ", ".join(map(str, (2**31 - 1, 2**32 - 1, 2**63 - 1, *(10**n - 1 for n in range(4, 19)))))
STAY_KINDS = ranks(ADMISSION, DISCHARGE)
VISIT_KINDS = ranks(ADMISSION, DISCHARGE, MEDICATION, ICU_ADMISSION, ICU_DISCHARGE, TREATMENT, HISTORY, *CODED)

# An id that stands for none, 0 or -1, where no one admission of the subject carries it.
FILLED = f"""UPDATE found SET hadm_id = NULL WHERE (hadm_id <= 0 OR hadm_id IN ({FILLERS}))
    AND (subject_id, hadm_id) NOT IN (SELECT (subject_id, hadm_id) FROM found
        WHERE kind = {KIND[ADMISSION]} AND hadm_id IS NOT NULL GROUP BY subject_id, hadm_id HAVING count(*) = 1)"""

# Of a visit that one event tells of, with its end in a column, as meds_etl writes OMOP's: the discharge, where none of
# that visit is told, nor one without a name before the subject's next admission.
ENDED = f"""INSERT INTO found SELECT ends.* EXCLUDE (until) REPLACE (ended AS time, '{DISCHARGE}UNKNOWN' AS code,
        {KIND[DISCHARGE]}::TINYINT AS kind, -row - 1 AS row)
    FROM (SELECT *, coalesce(lead(time) OVER (PARTITION BY subject_id ORDER BY time, row), 'infinity') AS until
        FROM found WHERE kind = {KIND[ADMISSION]} AND reason IS NULL AND time IS NOT NULL) AS ends
    WHERE ended IS NOT NULL AND NOT EXISTS (FROM found AS other
        WHERE other.subject_id = ends.subject_id AND other.kind = {KIND[DISCHARGE]}
        AND (other.hadm_id = ends.hadm_id OR ((other.hadm_id IS NULL OR ends.hadm_id IS NULL)
            AND other.time BETWEEN ends.time AND ends.until)))"""

UNNAMED = f"""UPDATE found SET hadm_id = NULL WHERE hadm_id IS NOT NULL AND subject_id NOT IN
    (SELECT subject_id FROM found WHERE kind = {KIND[ADMISSION]} AND hadm_id IS NOT NULL)"""

NAMED = f"""CREATE TABLE named_visits AS SELECT subject_id, hadm_id, min(time) FILTER (kind = {KIND[ADMISSION]})
    AS admitted, max(time) FILTER (kind = {KIND[DISCHARGE]}) AS discharged
    FROM found WHERE hadm_id IS NOT NULL GROUP BY subject_id, hadm_id"""

# An admission and the discharge next to it, at least one of them without a name.  Of those of one time, the discharge
# comes first where a visit is open by then, and they take turns: files are ordered by code, too.
PAIRS = f"""CREATE TABLE pairs AS
    WITH balance AS (SELECT subject_id, time, sign(count(*) FILTER (kind = {KIND[ADMISSION]})
            - count(*) FILTER (kind = {KIND[DISCHARGE]})) AS more FROM found
        WHERE kind IN ({STAY_KINDS}) AND time IS NOT NULL GROUP BY subject_id, time),
    opened AS (SELECT subject_id, time, coalesce(last_value(nullif(more, 0) IGNORE NULLS) OVER (PARTITION BY subject_id
            ORDER BY time ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), -1) AS was FROM balance),
    turns AS (SELECT found.*, row_number() OVER (PARTITION BY subject_id, time, kind ORDER BY row) AS turn,
            CASE WHEN (kind = {KIND[DISCHARGE]}) = (was > 0) THEN 0 ELSE 1 END AS second
        FROM found JOIN opened USING (subject_id, time) WHERE kind IN ({STAY_KINDS})),
    steps AS (SELECT subject_id, row, time, kind, hadm_id, lead(kind) OVER following AS next_kind,
            lead(time) OVER following AS next_time, lead(row) OVER following AS next_row,
            lead(hadm_id) OVER following AS next_id
        FROM turns WINDOW following AS (PARTITION BY subject_id ORDER BY time, turn, second)),
    next_to AS (SELECT *, coalesce(hadm_id, next_id) AS name FROM steps
        WHERE kind = {KIND[ADMISSION]} AND next_kind = {KIND[DISCHARGE]}
        AND (hadm_id IS NULL OR next_id IS NULL))
    SELECT next_to.subject_id, row AS admission_row, next_row AS discharge_row, time AS admitted,
        next_time AS discharged, coalesce(name, (SELECT coalesce(max(hadm_id), 0) FROM named_visits)
            + row_number() OVER (PARTITION BY name IS NULL ORDER BY next_to.subject_id, time, row)) AS hadm_id
    FROM next_to LEFT JOIN named_visits AS visits
        ON visits.subject_id = next_to.subject_id AND visits.hadm_id = name
    WHERE CASE WHEN next_to.hadm_id IS NOT NULL THEN visits.discharged IS NULL
        WHEN next_id IS NOT NULL THEN visits.admitted IS NULL ELSE true END"""

# One row a visit; `whole`: it has an admission and a discharge, in order.
HADM = """CREATE TABLE hadm AS
    SELECT *, row_number() OVER (PARTITION BY subject_id, whole ORDER BY admitted, hadm_id) AS visit
    FROM (SELECT *, coalesce(admitted <= discharged, false) AS whole FROM (
        SELECT subject_id, hadm_id, min(admitted) AS admitted, max(discharged) AS discharged
        FROM (SELECT subject_id, hadm_id, admitted, discharged FROM named_visits
            UNION ALL SELECT subject_id, hadm_id, admitted, discharged FROM pairs)
        GROUP BY subject_id, hadm_id))"""

WITHIN = f"""found.time <= hadm.discharged AND (found.time >= hadm.admitted
    OR (found.kind = {KIND[MEDICATION]} AND found.time = date_trunc('day', hadm.admitted)))"""

# The visit that an event without a hadm_id happens in.
PLACED = f"""CREATE TABLE placed AS SELECT found.subject_id, found.row,
        CASE WHEN any_value(found.kind) = {KIND[MEDICATION]} THEN arg_max(hadm.hadm_id, hadm.visit)
        ELSE arg_min(hadm.hadm_id, hadm.visit) END AS hadm_id
    FROM found JOIN hadm ON hadm.subject_id = found.subject_id AND hadm.whole AND ({WITHIN})
    WHERE found.hadm_id IS NULL AND found.kind IN ({VISIT_KINDS}) AND found.kind NOT IN ({STAY_KINDS})
    GROUP BY found.subject_id, found.row
    UNION ALL SELECT pairs.subject_id, found.row, pairs.hadm_id FROM pairs JOIN found
        ON found.subject_id = pairs.subject_id AND found.row IN (admission_row, discharge_row)
        AND found.hadm_id IS NULL"""


def place(con: Connection) -> None:
    """Find the visits of table `found`, and the visit of each of its events."""
    for query in (UNNAMED, NAMED, PAIRS, HADM, PLACED):
        con.execute(query)
