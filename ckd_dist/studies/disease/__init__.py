"""CKD-EHR: a teacher's soft labels make a small model predict the diseases of a patient's next visit."""

from ckd_dist.record import NUMBERS
from ckd_dist.runfolder import SHARDS
from ckd_dist.studies.disease.config import DiseaseRecipe
from ckd_dist.studies.disease.recipes import RECIPES
from ckd_dist.studies.disease.runfolder import DiseaseRun
from ckd_dist.study import Command, RunDataset, Stage, Study

STAGES, PROMPTS = f"{__name__}.stages", f"{__name__}.prompt_stage"
SIZE, IDENTITY = f"{__name__}.size", f"{__name__}.from_run_identity"

CODES = ("events/metadata/codes.parquet",)
BASE = ("base", "revision", "tiny")
TEXT = tuple(
    f"prompt.{name}"
    for name in ("diagnosis_names", "efficacies", "shrinkage", "min_support", "question", "teacher_only")
)
KNOWLEDGE = ("prompts/knowledge.json",)
OF_TEACHER = ("prompts/*.teacher.*", "base/teacher/*")
STUDENT_TEXT = (*TEXT, "prompt.student_tokens", "prompt.student_instruction")
JUDGED = ("!*",)  # that the teacher was judged; what came out may refuse a label, and decides none
TEMPERATURE = ("softlabels/temperature.json",)
OF_STUDENT = ("prompts/*.student.*", "base/student/*")


def has_experiments(recipe: DiseaseRecipe) -> bool:
    """Say whether students are compared in experiments."""
    return bool(recipe.experiments.variants)


def has_teacher(recipe: DiseaseRecipe) -> bool:
    """Say whether a teacher is trained: not where soft labels are imported, or another run's teacher labels."""
    return recipe.label.import_from is None and recipe.label.from_run is None


def has_predictions(recipe: DiseaseRecipe) -> bool:
    """Say whether a teacher, the run's own or another's, predicts: imported soft labels are of train alone."""
    return recipe.label.import_from is None


STUDY = Study(
    "disease",
    "Diseases of a patient's next visit, from tables of a hospital.",
    DiseaseRecipe,
    RECIPES,
    (
        Stage(
            "extract",
            f"{STAGES}:extract",
            "Tables to events (MEDS), subjects split.",
            part="extract",
            sources=("extract.source", "extract.code_map"),
            size=f"{SIZE}:of_extract",
        ),
        Stage(
            "select",
            f"{STAGES}:select",
            "Events to samples: a visit, and the next one's labels.",
            part="select",
            reads={"extract": ("events/data/*",)},
            sources=("select.labels",),
            size=f"{SIZE}:of_select",
        ),
        Stage(
            "prompt_teacher",
            f"{PROMPTS}:prompt_teacher",
            "Samples to the teacher's prompts: knowledge, text, tokens and spans.",
            part="prompt",
            fields=(
                *TEXT,
                "prompt.teacher_tokens",
                "prompt.teacher_permuted",
                *(f"teacher.{name}" for name in (*BASE, "labelled", "folds")),
            ),
            sources=("teacher.base",),
            reads={"extract": CODES, "select": ()},
            shaped_by=f"{IDENTITY}:prompts_shaped_by",
            size=f"{SIZE}:of_teacher_prompts",
        ),
        Stage(
            "prompt_student",
            f"{PROMPTS}:prompt_student",
            "Samples to the student's texts: tokens and spans.",
            part="prompt",
            fields=(*STUDENT_TEXT, *(f"student.{name}" for name in BASE), "student.labelled"),  # it says whose it sees
            sources=("student.base",),
            reads={"extract": CODES, "select": (), "prompt_teacher": KNOWLEDGE},
            size=f"{SIZE}:of_student_prompts",
        ),
        Stage(
            "train_teacher",
            f"{STAGES}:train_teacher",
            "Prompts to teacher, under DeepSpeed ZeRO on Ray workers.",
            part="teacher",
            runs="ranks",
            reads={"select": (), "prompt_teacher": OF_TEACHER},
            sources=("teacher.base",),
            needed=has_teacher,
            size=f"{SIZE}:of_teacher",
        ),
        Stage(
            "validate_teacher",
            f"{__name__}.validate_stage:VALIDATE",
            "Teacher's predictions on labelled tuning pairs: its temperature, and whether it has something to teach.",
            part="label",
            runs="jobs",
            fields=("label", "student.labelled"),
            reads={"select": (), "prompt_teacher": OF_TEACHER, "train_teacher": ()},
            shaped_by=f"{IDENTITY}:labels_shaped_by",
            needed=has_predictions,
            size=f"{SIZE}:of_validation",
        ),
        Stage(
            "label",
            f"{STAGES}:LABEL",
            "Teacher to soft labels, by independent Ray workers.",
            part="label",
            runs="jobs",
            reads={"select": (), "prompt_teacher": OF_TEACHER, "train_teacher": (), "validate_teacher": JUDGED},
            sources=("label.import_from",),
            shaped_by=f"{IDENTITY}:labels_shaped_by",
            size=f"{SIZE}:of_labels",
        ),
        Stage(
            "distill",
            f"{STAGES}:distill",
            "Soft labels to student, data-parallel on Ray workers.",
            part="student",
            runs="ranks",
            fields=(  # its folder says how to read new patients
                "student",
                "select",
                "extract.code_map",
                "extract.synthetic_codes",
                *STUDENT_TEXT,
            ),
            reads={
                "select": (),
                "prompt_teacher": (*KNOWLEDGE, "base/teacher/*"),
                "prompt_student": OF_STUDENT,
                "train_teacher": (),  # whose fingerprint the shards must have
                "validate_teacher": TEMPERATURE,
                "label": (*SHARDS, NUMBERS),
            },
            sources=("student.base", "extract.code_map"),
            size=f"{SIZE}:of_student",
        ),
        Stage(
            "experiment",
            f"{__name__}.experiment_stage:EXPERIMENT",
            "Variants of the student, over label budgets and seeds, as independent jobs.",
            part="experiments",
            runs="jobs",
            fields=("experiments", "student", "label.temperature", "prompt.student_tokens"),
            reads={
                "select": (),
                "prompt_student": OF_STUDENT,
                "label": (*SHARDS, NUMBERS),
            },
            sources=("student.base",),
            shaped_by=f"{IDENTITY}:experiments_shaped_by",
            needed=has_experiments,
            size=f"{SIZE}:of_experiments",
        ),
        Stage(
            "evaluate",
            f"{STAGES}:evaluate",
            "Predictions, with the truth, to report: metrics.json, report.md, report.html.",
            part="evaluate",
            fields=(
                "extract",
                "select",
                "prompt",
                "teacher",
                "label",
                "student",
                "experiments",
                "evaluate",
            ),  # the report shows them
            reads={
                "extract": (NUMBERS,),  # what became of every table's rows
                **dict.fromkeys(("select", "prompt_teacher", "prompt_student", "train_teacher", "distill"), ()),
                "validate_teacher": (NUMBERS,),
                "experiment": (),
                "label": (*SHARDS, NUMBERS),
            },
            shaped_by=f"{__name__}.claims:claims_shape",
            size=f"{SIZE}:of_evaluate",
        ),
    ),
    run_folder=DiseaseRun,
    check=f"{__name__}.checks:check_run",
    dataset=RunDataset(f"{__name__}.dataset:rows_of", ("select", "prompt_teacher", "prompt_student", "label")),
    commands=(
        Command(
            "predict",
            f"{__name__}.predict:predict",
            "Predict calibrated probabilities for new patients.",
            {
                "model": "student's folder, e.g. RUN/student",
                "source": "tables of the new patients: mimic3:DIR, mimic4:DIR, eicu:DIR or meds:DIR",
                "out": "folder for predictions, in the project's table and in MEDS form",
            },
        ),
        Command(
            "compare",
            f"{__name__}.compare:compare",
            "Show what the experiments found.",
            {},
            on_run=True,
        ),
        Command(
            "explain",
            f"{__name__}.explain:explain",
            "Show the words that a prediction rests on.",
            {"sample": "number of the visit: sample_id in RUN/samples or RUN/predictions"},
            on_run=True,
        ),
        Command(
            "export",
            f"{STAGES}:export",
            "Write prompts and soft labels as CKD-EHR's own files.",
            {"out": "folder for the files"},
            on_run=True,
        ),
    ),
)
