"""Say what the report's numbers mean: what they forbid to claim, how good the primary model is, and how fast."""

from ckd_dist.report.wording import (
    Sentences,
    count,
    difference,
    estimate,
    known,
    lower_first,
    number,
    percent,
    too_small_for_claims,
)
from ckd_dist.studies.disease.report.measure import FEW_PAIRS, FEW_PATIENTS
from ckd_dist.studies.disease.report.tables import DiseaseReport, HeldOutSize
from ckd_dist.studies.disease.report.verdicts import helped


def sentences_of(report: DiseaseReport) -> Sentences:
    """Return the report's sentences."""
    return Sentences(
        warnings(report.held_out), [*helped_sentence(report), quality_sentence(report), *speed_sentence(report)]
    )


def warnings(held_out: HeldOutSize) -> list[str]:
    """List what the numbers themselves forbid to claim, a sentence each."""
    sentences = []
    if held_out.too_small:
        has = f"{count(held_out.pairs)} pairs of visits from {count(held_out.patients)} patients"
        sentences.append(too_small_for_claims(has, f"{FEW_PAIRS} pairs or {FEW_PATIENTS} patients"))
    unscorable = held_out.labels - held_out.scorable_labels
    if unscorable:
        sentences.append(
            f"{unscorable} of {held_out.labels} diseases cannot be scored: in the held-out part "
            "every patient has them, or none. Macro means go over the others."
        )
    return sentences


def quality_sentence(report: DiseaseReport) -> str:
    """Say how good the primary model is; where claims are allowed, beside the last visit and the best possible."""
    primary, held_out = report.model(report.primary), report.held_out
    whose = "run's own " if report.experiments else ""  # beside the mean of the experiments' seeds
    sentence = (
        f"On {count(held_out.pairs)} pairs of visits of {count(held_out.patients)} patients it never saw, the "
        f"{whose}{lower_first(primary.title)} predicts the diseases of the next visit with a macro-AUROC of "
        f"{estimate(primary.overall.macro_auroc)} and a macro-AUPRC of {estimate(primary.overall.macro_auprc)}"
    )
    if held_out.too_small:
        return sentence + "."
    pair = (primary.name, "copy_last_visit")
    copying = next((row for row in report.differences if (row.first, row.second) == pair), None)
    if copying:
        sentence += f"; that is {difference(copying.metrics['macro_auprc'])} macro-AUPRC against copying the last visit"
    gap = next((row.metrics["macro_auprc"] for row in report.gaps if row.name == primary.name), None)
    if gap and known(gap.value):
        sentence += f" and {percent(gap.value)} of the way from prevalence to the best possible"
    return sentence + "."


def helped_sentence(report: DiseaseReport) -> list[str]:
    """Say whether distilling helped; nothing where there were no experiments."""
    return [helped(report.experiments)] if report.experiments else []


def speed_sentence(report: DiseaseReport) -> list[str]:
    """Say how fast the primary model is, beside the teacher; nothing where it was not timed."""
    timings = {timing.name: timing for timing in report.timings}
    student, teacher = timings.get(report.primary), timings.get("teacher")
    if not student:
        return []
    sentence = (
        f"It answers for one visit in {number(student.latency_median_ms, 1)} ms and for "
        f"{number(student.samples_per_second, 0)} visits a second in batches of {student.batch}"
    )
    if teacher:
        faster = student.samples_per_second / teacher.samples_per_second
        sentence += f", {number(faster, 1)} times the teacher's rate"
    return [f"{sentence} ({student.hardware}, {student.dtype})."]
