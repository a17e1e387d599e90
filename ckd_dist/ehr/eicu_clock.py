"""eICU's unit stays on one clock a patient: the clock is synthetic, since eICU has no dates.

`patient` gives the year of discharge and the wall time of admission, and minutes.  A hospital stay is admitted on 1
January of its year at that wall time, or on the first day after the patient's stay before it; its unit stays hang on it
by hospitaladmitoffset.  Times within a hospital stay are real differences.  Gaps between hospital stays are not, and
their order is what year, age and death say: where those are equal, patienthealthsystemstayid decides, and a note counts
it.  No later stay moves an earlier one, so a date says nothing of the future.
"""

from ckd_dist.ehr.staging import Connection, number

SUBJECT = "('0x' || left(sha256(pid), 15))::BIGINT"  # 60 bits: the same in every release and every subset
CENTURY = 60 * 24 * 36525  # minutes; no offset is longer
WITHIN_A_CENTURY = f"BETWEEN -{CENTURY} AND {CENTURY}"

# The unit's word counts where the hospital has none; where they contradict each other, a note counts it.
EXPIRED = "says_died(status) OR says_died(location) OR (status IS NULL AND says_died(unit_status))"

# Adds `reason` to every row of `raw`: null where the row is kept.
JUDGE = f"""SELECT *, {SUBJECT} AS subject_id, {EXPIRED} AS expired, CASE
    WHEN pid IS NULL OR hadm_id IS NULL OR stay_id IS NULL
        THEN 'no readable uniquepid, patienthealthsystemstayid or patientunitstayid'
    WHEN row_number() OVER (PARTITION BY stay_id ORDER BY raw) > 1 THEN 'patientunitstayid repeated'
    WHEN pid <> min(pid) OVER (PARTITION BY hadm_id) THEN 'patienthealthsystemstayid of another patient'
    WHEN year IS NULL OR year NOT BETWEEN 1900 AND 2200 THEN 'no readable hospitaldischargeyear'
    WHEN hospital_begin IS NULL OR hospital_end IS NULL THEN 'no readable offset of hospital admission or discharge'
    WHEN hospital_begin NOT {WITHIN_A_CENTURY} OR hospital_end NOT {WITHIN_A_CENTURY}
        THEN 'offset of more than a century'
    WHEN hospital_end < hospital_begin THEN 'discharge before admission'
    END AS reason FROM raw"""

# One row a hospital stay: what its unit stays say differently is taken from the first of them that says it.  `day`
# counts from 1970: its year's first, or later where the stays before it (`before`: their days) have not ended by then.
HADM = """CREATE TABLE hadm AS
    WITH units AS (SELECT *, row_number() OVER (PARTITION BY hadm_id ORDER BY hospital_begin DESC, stay_id) AS nth,
            hospital_end - hospital_begin AS minutes FROM visits WHERE reason IS NULL),
    hospital AS (SELECT subject_id, hadm_id, arg_min(year, nth) AS year, arg_min(age, nth) AS age,
            arg_min(gender, nth) AS gender, arg_min(time_of_day, nth) AS clock, arg_min(source, nth) AS source,
            arg_min(location, nth) AS location, arg_min(status, nth) AS status, arg_min(hospital, nth) AS hospital,
            bool_or(expired) AS died, max(minutes) AS longest, min(minutes) AS shortest
        FROM units GROUP BY subject_id, hadm_id),
    ranked AS (SELECT *, row_number() OVER (PARTITION BY subject_id ORDER BY year, age NULLS LAST, died, hadm_id)
            AS visit, make_date(year, 1, 1) - DATE '1970-01-01' AS new_year,
            floor((epoch(coalesce(clock, TIME '00:00')) / 60 + longest) / 1440)::BIGINT + 1 AS days FROM hospital),
    shifted AS (SELECT *, coalesce(sum(days) OVER (PARTITION BY subject_id ORDER BY visit
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)::BIGINT AS before FROM ranked),
    placed AS (SELECT *, before + max(new_year - before) OVER (PARTITION BY subject_id ORDER BY visit) AS day,
        DATE '1970-01-01' + day::INT + coalesce(clock, TIME '00:00') AS admitted FROM shifted)
    SELECT subject_id, hadm_id, visit, year, age, gender, clock, source, location, status, hospital, died,
        shortest, longest, admitted, admitted + to_minutes(longest) AS discharged,
        CASE WHEN age BETWEEN 0 AND 150 THEN make_date(year - age, 1, 1)::TIMESTAMP END AS birth FROM placed"""

# One row a unit stay, skipped ones too, so that their rows differ from rows of no stay.
STAYS = f"""CREATE TABLE stays AS SELECT visits.subject_id, stay_id, hadm_id, visits.reason, unit, unit_location,
    unit_status, visit,
    CASE WHEN reason IS NULL THEN admitted - to_minutes(hospital_begin) END AS began,
    CASE WHEN unit_end BETWEEN 0 AND {CENTURY} THEN began + to_minutes(unit_end) END AS ended
    FROM visits LEFT JOIN hadm USING (hadm_id)
    WHERE stay_id IS NOT NULL AND reason IS DISTINCT FROM 'patientunitstayid repeated'"""

SHARED = "SELECT count(*) FROM (SELECT 1 FROM visits GROUP BY subject_id HAVING count(DISTINCT pid) > 1)"

UNORDERED = """SELECT count(*) FROM (SELECT age, count(*) OVER (PARTITION BY subject_id, year, age, died) AS alike,
        count(*) OVER (PARTITION BY subject_id, year) AS near FROM hadm)
    WHERE alike > 1 OR (age IS NULL AND near > 1)"""

STAYS_THAT = "SELECT count(*) FROM stays LEFT JOIN hadm USING (hadm_id) WHERE stays.reason IS NULL AND "
NOTES = {
    "hospital stays whose order within their year is not known": UNORDERED,
    "hospital stays after one that ended in death": """SELECT count(*) FROM (SELECT bool_or(died) OVER (PARTITION BY
        subject_id ORDER BY visit ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS late FROM hadm) WHERE late""",
    "hospital stays without a readable wall time, from midnight": "SELECT count(*) FROM hadm WHERE clock IS NULL",
    "hospital stays of several lengths, the longest taken": "SELECT count(*) FROM hadm WHERE shortest < longest",
    "hospital stays without a discharge status, taken as alive": """SELECT count(*) FROM hadm
        WHERE status IS NULL AND NOT died""",
    "unit stays that begin before their hospital stay": STAYS_THAT + "began < admitted",
    "unit stays that end after their hospital stay": STAYS_THAT + "ended > discharged",
    "unit stays without a readable end": STAYS_THAT + "ended IS NULL",
    "unit stays that end in death, their hospital stay alive": STAYS_THAT + "says_died(unit_status) AND NOT died",
}


def place(con: Connection) -> None:
    """Make tables `hadm` and `stays` of the judged `visits`.  Raises ValueError where two patients share a number."""
    if num_shared := number(con, SHARED):
        raise ValueError(
            f"patient: {num_shared} numbers made from uniquepid would mean two patients or more each; rename those"
            " patients"
        )
    con.execute(HADM)
    con.execute(STAYS)
