"""The first study's configuration.  Parts that studies share: ckd_dist/config.py."""

from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge
from pydantic import AfterValidator
from pydantic.dataclasses import dataclass

from ckd_dist.config import (
    STRICT,
    BootstrapPart,
    LabelPart,
    Optim,
    SoftLossPart,
    StudentPart,
    TablesPart,
    TeacherPart,
    Workers,
    how,
    redeclared,
    what,
)
from ckd_dist.report.compare import LEAST_SEEDS
from ckd_dist.schema import FEWEST_SUBJECTS
from ckd_dist.studies.disease.claims import Claim
from ckd_dist.studies.disease.variants import Name

RunPath = Annotated[str, AfterValidator(lambda path: str(Path(path).expanduser().absolute()))]  # kept whole


@dataclass(frozen=True, config=STRICT)
class Extract(TablesPart):
    """Settings of tables -> events."""

    source: str = what(
        "synthetic:1000",
        "tables: mimic3:DIR, mimic4:DIR, eicu:DIR, meds:DIR, or synthetic:N, a synthetic hospital of N subjects",
    )
    synthetic_codes: Literal["icd9", "icd10"] = what(
        "icd9", "codes that a synthetic hospital writes: ICD-9, or ICD-10 and other names of the same drugs"
    )
    code_map: str | None = what(
        None, "file that maps the source's own codes to event codes: CSV (code, event_code) or YAML; none: as they are"
    )


@dataclass(frozen=True, config=STRICT)
class Select:
    """Settings of events -> samples."""

    labels: str = what(
        "phenotypes25", "label set: phenotypes25, or a YAML file (name -> use_in_benchmark, type, codes)"
    )
    history_visits: int = what(1, "most earlier visits kept with a sample", ge=0, le=20)
    min_age: float = what(0.0, "youngest age at the index visit, years", ge=0)
    max_gap_days: float | None = what(None, "longest time to the next visit, days; later ones are censored", gt=0)
    unlabelled: bool = what(True, "whether visits without a next visit are kept, for a teacher to label")
    absent_labels: Literal["refuse", "allow"] = what("refuse", "treatment of a label that never occurs in train")


@dataclass(frozen=True, config=STRICT)
class Prompt:
    """Settings of samples -> prompts."""

    diagnosis_names: Literal["ccs", "title"] = what("ccs", "name of a diagnosis: its CCS category, or its full title")
    efficacies: int = what(
        2, "most treatments listed for each current disease (EADF's m); 0 leaves knowledge out", ge=0, le=10
    )
    shrinkage: float = what(20.0, "pseudo-visits that pull a treatment's efficacy to its disease's mean", ge=0)
    min_support: int = what(
        FEWEST_SUBJECTS,
        "fewest training subjects with a treatment for it to be listed; a student's texts, which knowledge.json goes "
        f"with, list none of fewer than {FEWEST_SUBJECTS}",
        ge=1,
    )
    teacher_tokens: int = what(1024, "budget of a teacher's prompt, tokens", ge=64)
    student_tokens: int = what(512, "budget of a student's text, tokens", ge=32)
    student_instruction: bool = what(False, "whether the student's text has the instruction too, as published")
    question: Literal["names", "short"] = what(
        "names", "instruction: the published question with the names of all labels, or a short one without"
    )
    teacher_only: tuple[Literal["history", "efficacies", "drugs"], ...] = what(
        (), "parts of a record that only the teacher reads: history (earlier visits), efficacies, drugs (medications)"
    )
    teacher_permuted: bool = what(
        False, "whether the teacher reads the teacher-only parts of another subject's visit: a control"
    )


@dataclass(frozen=True, config=STRICT)
class Labelled:
    """Subjects whose labels a role sees; a visit of another counts as unlabelled."""

    train: int | float | None = what(
        None,
        "subjects of train whose labels are seen: a number, or a share below 1 of those with a label; none: all",
        ge=0,
    )
    tuning: int | float | None = what(
        None,
        "subjects of tuning whose labels are seen: a number, or a share below 1 of those with a label; none: all",
        ge=0,
    )
    seed: int = what(0, "seed of the hash that orders subjects: smaller sets lie within larger", ge=0)
    noise: float = what(0.0, "share of the seen labels of train that are flipped, for experiments", ge=0, lt=1)


@dataclass(frozen=True, config=STRICT)
class Teacher(TeacherPart):
    """Settings of prompts -> teacher."""

    sft: Optim = what(
        Optim(epochs=3, learning_rate=1e-5, batch_samples=8), "supervised fine-tuning (SFT) on the answer text"
    )
    sft_tuning: Literal["lora", "full"] = what("lora", "weights that supervised fine-tuning trains")
    labels: Optim = what(Optim(epochs=3, learning_rate=1e-4, batch_samples=32), "training of the classification")
    labelled: Labelled = what(Labelled(), "subjects whose labels the teacher sees")
    folds: int = what(
        1,
        "teachers, each of which labels the subjects of its fold and learns from those of the others (cross-fitting); "
        "1: no cross-fitting",
        ge=1,
    )


@dataclass(frozen=True, config=STRICT)
class Label(LabelPart):
    """Settings of teacher -> soft labels."""

    import_from: str | None = what(None, "soft-label JSON file in CKD-EHR's form, in place of a teacher's soft labels")
    from_run: RunPath | None = how(  # the teacher in it is what decides, wherever it lies: from_run_identity.py
        None,
        "folder of another run of this study, whose teacher labels in place of the run's own; the teacher "
        "shapes the result, wherever the folder lies",
    )
    dtype: Literal["float32", "float16"] = what("float32", "precision of stored logits")
    temperature: Literal["none", "scalar", "per_label"] = what(
        "none",
        "temperature that the teacher's logits are divided by before they are taught, fitted on the tuning labels that "
        "the student sees: none, one for all labels (scalar), or one a label (per_label)",
    )
    gate: Literal["say", "refuse"] = how(
        "say",
        "treatment of a teacher that is not clearly better, on tuning, than a logistic regression of the labels that "
        "the student sees: say so, or refuse to label with it",
    )


@dataclass(frozen=True, config=STRICT)
class Loss(SoftLossPart):
    """Weights of the loss (1 - soft_weight) * BCE(hard) + soft_weight * T^2 * BCE(teacher at T)."""

    soft_weight: float = redeclared(SoftLossPart, "soft_weight", 0.7)
    temperature: float = redeclared(SoftLossPart, "temperature", 2.0)
    unlabelled_weight: float = what(1.0, "weight of a visit without a seen label; a visit with one weighs 1", ge=0)


@dataclass(frozen=True, config=STRICT)
class Student(StudentPart):
    """Settings of soft labels -> student."""

    loss: Loss = what(Loss(), "weights of the terms of hard and soft labels")
    optim: Optim = what(Optim(epochs=10, learning_rate=2e-5), "training of the student")
    labelled: Labelled = what(Labelled(), "subjects whose labels the student's hospital has")
    hard_baseline: bool = what(True, "whether a hard-label baseline is trained: the same student without soft labels")


@dataclass(frozen=True, config=STRICT)
class Experiments:
    """Settings of experiments: which students and baselines are compared, on how many labels."""

    variants: tuple[Name, ...] = what((), "variants that are compared; none: no experiments")
    budgets: tuple[Annotated[int, Ge(1)], ...] = what(
        (), "labelled training subjects, a table of the report each; none: as student.labelled says"
    )
    controls: Literal["first", "all"] = what("first", "budgets at which controls are trained: the first alone, or all")
    seeds: int = what(
        3, f"seeds of every variant: of weights, order and labelled subjects; a claim needs {LEAST_SEEDS}", ge=1
    )
    claims: tuple[Claim, ...] = how((), "what the first budget is expected to show; none: nothing is promised")
    workers: Workers = how(Workers(), "independent workers, an experiment at a time each")


@dataclass(frozen=True, config=STRICT)
class Evaluate(BootstrapPart):
    """Settings of predictions -> report."""

    timing_samples: int = what(64, "samples in the measurement of latency and throughput", ge=1)
    timing_batch: int = what(32, "samples a call, for throughput", ge=1)


@dataclass(frozen=True, config=STRICT)
class DiseaseRecipe:
    """A whole run of the first study."""

    study: Literal["disease"] = how("disease", "name of the study")
    name: str = how("unnamed", "name shown in the report")
    extract: Extract = what(Extract(), "tables to events")
    select: Select = what(Select(), "events to samples")
    prompt: Prompt = what(Prompt(), "samples to prompts")
    teacher: Teacher = what(Teacher(), "prompts to teacher")
    label: Label = what(Label(), "teacher to soft labels")
    student: Student = what(Student(), "soft labels to student")
    experiments: Experiments = what(Experiments(), "soft labels and hard ones to compared students")
    evaluate: Evaluate = what(Evaluate(), "predictions to report")

    def __post_init__(self) -> None:
        """Raise ValueError where parts of the recipe contradict each other."""
        if self.label.import_from and self.label.from_run:
            raise ValueError("label.import_from and label.from_run both say who labels: drop one of them")
        if self.prompt.teacher_permuted and self.label.from_run:
            raise ValueError(
                "prompt.teacher_permuted is set where label.from_run is, whose teacher reads as its own recipe says: "
                "set it in that run"
            )
        for field in ("import_from", "from_run"):
            if self.teacher.folds > 1 and getattr(self.label, field):
                raise ValueError(
                    f"teacher.folds is more than 1 where label.{field} is set, which leaves no teacher to cross-fit: "
                    "drop one of them"
                )
        if self.teacher.folds > 1 and self.prompt.efficacies:
            raise ValueError(
                "teacher.folds is more than 1 where prompt.efficacies is more than 0: efficacies are fitted on all "
                "labels that the teacher sees, those of a fold's own subjects too, so set prompt.efficacies=0"
            )
