"""Do a label set and a source's codes fit together: codes that no table has, labels that nothing can set.

A code of a label set that is in no table of its version and that no event has can set nothing, and a user who wrote
"428" for 4280 would read of it nowhere.  Where a label has no other code it is refused, else it is said.  Codes of a
label set are the user's own file, so they may be quoted.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import polars as pl

from ckd_dist.account import some
from ckd_dist.ehr.codes import ccs_categories, ccs_names, icd9_targets, is_known, known_codes, title
from ckd_dist.ehr.labelset import ICD9, ICD10, LabelSet
from ckd_dist.schema import ANY_DIAGNOSIS, DIAGNOSIS, EICU_DIAGNOSIS, PROCEDURE


@dataclass(frozen=True)
class CodeReport:
    """Counts over the ICD codes given, repeats included."""

    num_codes: int
    num_unknown: int  # in none of the tables
    num_unmapped: int  # known, but leads to no CCS category
    num_straddling: int  # sets two label columns or more
    num_partial: int  # some of its targets lead to a label, others to none


def count_codes(codes: Iterable[str], label_set: LabelSet) -> CodeReport:
    """Count how well the tables and the label set understand ICD event codes, repeats included."""
    counts = Counter(code for code in codes if code.startswith(DIAGNOSIS))
    return CodeReport(
        num_codes=counts.total(),
        num_unknown=sum(n for code, n in counts.items() if not is_known(code)),
        num_unmapped=sum(n for code, n in counts.items() if is_known(code) and not ccs_categories(code)),
        num_straddling=sum(n for code, n in counts.items() if len(label_set.columns_of(code)) > 1),
        num_partial=sum(n for code, n in counts.items() if _is_partial(code, label_set)),
    )


def _is_partial(code: str, label_set: LabelSet) -> bool:
    targets = [bool(label_set.columns_of(f"{DIAGNOSIS}9//{icd9}")) for icd9 in icd9_targets(code)]
    return any(targets) and not all(targets)


# --- codes that match nothing ----------------------------------------------------------------------------------------


def diagnosis_codes(events: Iterable[pl.LazyFrame]) -> set[str]:
    """Return the different diagnosis codes of frames of schema.EVENTS that samples hold: not eICU's own paths."""
    code = pl.col("code")
    of_samples = code.str.starts_with(ANY_DIAGNOSIS) & ~code.str.starts_with(EICU_DIAGNOSIS)
    return set(pl.concat([frame.select(code) for frame in events]).filter(of_samples).unique().collect()["code"])


def check_codes(labels: LabelSet, found: Collection[str], source: str) -> list[str]:
    """Return what is to be known of the label set's codes, a remark each.

    found: the diagnosis event codes of the source.  Raises ValueError where none of the codes that a label lists is in
    a table or among them, where the list has lost its zeros, or where no label knows a vocabulary of the source.
    """
    found = set(found)
    vocabularies = {_vocabulary(code) for code in found}
    strange = strange_codes(labels, found)
    lost = [{code for code in codes if not _can_match(code, found, vocabularies)} for codes in labels.written]
    hopeless = [k for k, codes in enumerate(labels.written) if codes and codes == lost[k] and _sets_nothing(labels, k)]
    if hopeless:
        first = hopeless[0]
        raise ValueError(
            f"label set {source}: {len(hopeless)} of {len(labels.names)} labels can never be set, as their codes are in"
            f" no table and in no event; of {labels.names[first]!r}: {_causes(lost[first], found)}"
        )
    if found and strange.total() == len(found):
        raise ValueError(
            f"label set {source}: the source's diagnoses are of {', '.join(sorted(strange))}, of which no label lists a"
            " code: name a file with labels of that vocabulary in select.labels, or map the codes by extract.code_map"
        )
    unmatched = set().union(*lost)
    if numbers := [code for code in sorted(unmatched) if _with_zeros(code)]:
        raise ValueError(
            f"label set {source}: {_codes(numbers)} in no table would be in one with a leading zero"
            f" ({_causes(numbers, found)}): the list seems to have been kept as numbers, so that other codes may have"
            " become other diseases: write every code as it is, in quotes"
        )
    remarks = strange_remarks(strange)
    if unmatched:
        remarks.append(f"{_codes(unmatched)} of the label set can match nothing: {_causes(unmatched, found)}")
    for vocabulary in sorted(vocabularies - {ICD9, ICD10}):
        listed = {code for codes in labels.written for code in codes if _vocabulary(code) == vocabulary}
        if absent := listed - found:
            remarks.append(
                f"{len(absent)} of {_codes(listed)} of {vocabulary} in the label set occur in no event:"
                f" {_absent(absent, labels, found)}"
            )
    return remarks


def strange_codes(labels: LabelSet, found: Iterable[str]) -> Counter[str]:
    """Count the different diagnosis codes of each vocabulary that no label knows."""
    known = {_vocabulary(code) for code in labels.columns}
    return Counter(vocabulary for code in found if (vocabulary := _vocabulary(code)) not in known)


def strange_remarks(strange: Mapping[str, int]) -> list[str]:
    """Say of which vocabularies no code sets a label.

    >>> strange_remarks({"DIAGNOSIS//SNOMED//": 84})
    ['no label knows DIAGNOSIS//SNOMED//, of which there are 84 codes']
    """
    return [f"no label knows {name}, of which there are {number:,} codes" for name, number in sorted(strange.items())]


def _vocabulary(code: str) -> str:
    """
    >>> _vocabulary("DIAGNOSIS//ICD//9//4280"), _vocabulary("DIAGNOSIS//SNOMED//84114007")
    ('DIAGNOSIS//ICD//9//', 'DIAGNOSIS//SNOMED//')
    """
    return "//".join(code.split("//")[: 3 if code.startswith(DIAGNOSIS) else 2]) + "//"


def _can_match(code: str, found: set[str], vocabularies: set[str]) -> bool:
    """Say whether an event may have this code: one has it, a table has it, or there is no table of its vocabulary."""
    if _vocabulary(code) in (ICD9, ICD10):
        return code in found or is_known(code)
    return _vocabulary(code) in vocabularies


def _sets_nothing(labels: LabelSet, column: int) -> bool:
    """Say whether no code beside those that the label lists (of its category, or by the map) sets it."""
    return not any(column in columns for code, columns in labels.columns.items() if code not in labels.written[column])


def _codes(codes: Collection[str]) -> str:
    return f"{len(codes)} code{'s' if len(codes) > 1 else ''}"


def _causes(codes: Collection[str], found: Collection[str]) -> str:
    return "; ".join(some([_cause(code, found) for code in sorted(codes)]))


def _absent(absent: Collection[str], labels: LabelSet, found: Collection[str]) -> str:
    """Quote codes that no event has, of labels that nothing else sets first; say which are only spelled otherwise."""
    spelled = {_spelling(code) for code in found}
    lines = []
    for names, codes in zip(labels.names, labels.written, strict=True):
        alone = not any(code in found or is_known(code) for code in codes)
        for code in codes & set(absent):
            otherwise = ", which events spell with other zeros, marks or capitals" if _spelling(code) in spelled else ""
            lines.append((not alone, f"{code.removeprefix(_vocabulary(code))} (of {names!r}{otherwise})"))
    return ", ".join(some([line for _, line in sorted(lines)]))


def _spelling(code: str) -> str:
    """
    >>> _spelling("DIAGNOSIS//OWN//AS01") == _spelling("DIAGNOSIS//OWN//as-1"), _spelling("AS10") == _spelling("AS1")
    (True, False)
    """
    return re.sub(r"(?<![0-9])0+(?=[0-9])|[\W_]", "", code.lower())


def _with_zeros(code: str) -> list[str]:
    """Return the codes that an unknown ICD-9 code is where its leading zeros were lost, as the tables have them."""
    bare = code.removeprefix(ICD9)
    return [zeros + bare for zeros in ("0", "00") if code != bare and is_known(ICD9 + zeros + bare)]


def _cause(code: str, found: Collection[str]) -> str:
    """Say why a code matches nothing, and what to write in its place."""
    vocabulary, bare = _vocabulary(code), code.removeprefix(_vocabulary(code))
    if vocabulary not in (ICD9, ICD10):
        there = ", ".join(sorted({_vocabulary(each) for each in found})) or "none"
        return f"{bare} is of {vocabulary}, of which there is no event (there are: {there})"
    version, field = ("9", "codes") if vocabulary == ICD9 else ("10", "codes10")
    other, other_version, other_field = (ICD10, "10", "codes10") if vocabulary == ICD9 else (ICD9, "9", "codes")
    stem = re.sub(r"[-*%?X_]+$", "", bare)
    below = [each for each in known_codes(vocabulary) if stem and each.startswith(stem)]
    zeros = _with_zeros(code)
    elsewhere = [_vocabulary(each) for each in found if each.endswith(f"//{bare}") and not each.startswith(DIAGNOSIS)]
    readings = [
        (f"an ICD-{other_version} code: put it under {other_field}", is_known(other + bare)),
        (f"{' or '.join(zeros)} without its zero", zeros),
        (f"a heading, no code: list its codes, such as {' and '.join(below[:2])}", below),
        (f"of {elsewhere[0] if elsewhere else ''}: list it under that vocabulary", elsewhere),
        ("a procedure's code, and labels are of diagnoses", title(f"{PROCEDURE}{version}//{bare}")),
        ("several codes in one: quote each by itself", re.search(r"[,;]", bare)),
        (f"a CCS category: write id: {bare}", bare.isdecimal() and int(bare) in ccs_names()),
    ]
    told = [reading for reading, holds in readings if holds] or [f"in no table of ICD-{version}"]
    return f"{bare} (under {field}) is {', or '.join(told)}"
