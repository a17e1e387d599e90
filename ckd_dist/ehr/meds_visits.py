"""Which visits a MEDS data set has, and which visit an event without a name belongs to: tables `hadm`, `placed`.

An event belongs to the visit that its hadm_id names.  Where it names none, it belongs to the visit during which it
happens: the earlier one for codes of discharge, the later one for drugs; a drug dated at midnight may precede its
admission on the same day.

Whether visits are named is a matter of the subject: shards may come from several tools.  Where no admission of a
subject carries a hadm_id, its hadm_ids are not used.  An admission and the discharge that follows it next are one
visit, where both are without a name; they are numbered over all subjects in order of subject and time, behind the
largest hadm_id.  Where one of the two is without, it completes the other's visit, if that lacks it.

A data set may have no events of discharge, and say in a column `end` of an admission when it ended: then that is its
discharge.
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
STAY_KINDS = ranks(ADMISSION, DISCHARGE)
VISIT_KINDS = ranks(ADMISSION, DISCHARGE, MEDICATION, ICU_ADMISSION, ICU_DISCHARGE, TREATMENT, HISTORY, *CODED)

# Of a visit that one event tells of, with its end in a column, as meds_etl writes OMOP's: the discharge.
ENDED = f"""INSERT INTO found SELECT * REPLACE (ended AS time, '{DISCHARGE}UNKNOWN' AS code,
        {KIND[DISCHARGE]}::TINYINT AS kind, -row - 1 AS row) FROM found
    WHERE kind = {KIND[ADMISSION]} AND reason IS NULL AND ended IS NOT NULL
    AND NOT EXISTS (FROM found WHERE kind = {KIND[DISCHARGE]})"""

UNNAMED = f"""UPDATE found SET hadm_id = NULL WHERE hadm_id IS NOT NULL AND subject_id NOT IN
    (SELECT subject_id FROM found WHERE kind = {KIND[ADMISSION]} AND hadm_id IS NOT NULL)"""

NAMED = f"""CREATE TABLE named_visits AS SELECT subject_id, hadm_id, min(time) FILTER (kind = {KIND[ADMISSION]})
    AS admitted, max(time) FILTER (kind = {KIND[DISCHARGE]}) AS discharged
    FROM found WHERE hadm_id IS NOT NULL GROUP BY subject_id, hadm_id"""

# An admission and the discharge next to it, at least one of them without a name.
PAIRS = f"""CREATE TABLE pairs AS
    WITH steps AS (SELECT subject_id, row, time, kind, hadm_id, lead(kind) OVER following AS next_kind,
            lead(time) OVER following AS next_time, lead(row) OVER following AS next_row,
            lead(hadm_id) OVER following AS next_id
        FROM found WHERE kind IN ({STAY_KINDS}) AND time IS NOT NULL
        WINDOW following AS (PARTITION BY subject_id ORDER BY time, row)),
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
