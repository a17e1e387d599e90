"""What eICU's drugs are called: two in five rows of `medication` have no drugname, but most a number of the drug.

`drughiclseqno` numbers the ingredients (First Databank's HICL).  Hospitals spell one number in many ways, so there is
one reading of a row without a name: the spelling that the table's other rows with its number use most, the first in
the alphabet of those used equally; upper and lower case count as one.  Rows of cancelled orders and of skipped stays
name numbers too.  What stays without a name is counted by site: it differs between hospitals, and a study of transfer
would take that for a difference of their patients.
"""

from ckd_dist.ehr.staging import Connection, Report, number

UNNUMBERED = "no drugname"
UNNAMED = "no drugname, and no row names its drughiclseqno"
REASONS = f"WHEN path IS NULL AND hicl IS NULL THEN '{UNNUMBERED}' WHEN path IS NULL THEN '{UNNAMED}'"

# The rows of `medication` in place of `raw`: named where one reading is left; `by_number`: which were.
NAMED = """(SELECT * REPLACE (coalesce(path, CASE WHEN hicl IS NOT NULL THEN first_value(path) OVER (PARTITION BY hicl
        ORDER BY path IS NULL, times DESC, lower(path)) END) AS path), path IS NULL AS by_number
    FROM (SELECT *, count(path) OVER (PARTITION BY hicl, lower(path)) AS times FROM raw)) AS raw"""

BY_NUMBER = "drugs without a name, called what other rows with their drughiclseqno are"


def num_named_by_number(con: Connection) -> int:
    """Count the kept rows that other rows named."""
    return number(con, "SELECT count(*) FROM medications WHERE reason IS NULL AND by_number")


def unnamed_by_place(con: Connection, with_regions: bool) -> dict[str, dict[str, list[int]]]:
    """Return, by hospital and by region, how many orders have no name, of how many that are not cancelled."""
    con.execute("""CREATE TABLE orders AS SELECT hospital, count(*) FILTER (path IS NULL) AS unnamed, count(*) AS num
        FROM medications JOIN stays USING (stay_id) JOIN hadm ON hadm.hadm_id = stays.hadm_id
        WHERE cancelled IS DISTINCT FROM 1 AND stays.reason IS NULL GROUP BY hospital""")
    places = {"hospital": "orders"}
    if with_regions:
        places["region"] = "orders JOIN (SELECT hospital, region FROM hospitals WHERE reason IS NULL) USING (hospital)"
    found = {}
    for place, orders in places.items():
        rows = con.execute(f"""SELECT {place}, sum(unnamed)::BIGINT, sum(num)::BIGINT FROM {orders}
            WHERE {place} IS NOT NULL GROUP BY {place} ORDER BY {place}""").fetchall()
        found[place] = {name: numbers for name, *numbers in rows}
    con.execute("DROP TABLE orders")
    return found


def remarks(report: Report) -> list[str]:
    """Say how many drugs other rows named, and for what share of a region's drugs no name is left."""
    said = [f"{num:,} {BY_NUMBER}" for num in [report["notes"].get(BY_NUMBER, 0)] if num]
    regions = report.get("unnamed_drugs", {}).get("region", {})
    shares = sorted((unnamed / orders, region) for region, (unnamed, orders) in regions.items())
    if shares and shares[-1][0]:
        (least, low), (most, high) = shares[0], shares[-1]
        said.append(f"no name left for {least:.1%} ({low}) to {most:.1%} ({high}) of a region's drugs")
    return said
