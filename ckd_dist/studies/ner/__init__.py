"""Clinical entities: labelers' combined soft tags make a small model tag the words of notes.

Vedula et al. 2024 (arXiv 2501.00031) label notes with language models and an ontology, choose the best combination on
a development set and train a BERT tagger on it.  A unit is a word, a column a BIO tag.
"""

from ckd_dist.record import NUMBERS
from ckd_dist.runfolder import SHARDS
from ckd_dist.studies.ner.config import NerRecipe
from ckd_dist.studies.ner.recipes import RECIPES
from ckd_dist.studies.ner.runfolder import NerRun
from ckd_dist.study import Command, RunDataset, Stage, Study

STAGES, SIZE = f"{__name__}.stages", f"{__name__}.size"

READ = tuple(
    f"notes.{name}" for name in ("source", "synthetic_seed", "types", "train_fraction", "tuning_fraction", "split_seed")
)
GOLD = ("notes.gold_documents", "notes.split_seed")  # which annotated notes are learned from
WINDOW = ("base", "revision", "tiny", "max_tokens", "context_tokens")
NOTES = ("notes/*",)
LEARNED = ("notes/train.parquet", "notes/tuning.parquet", "notes/tags.json")
HELD_OUT = ("notes/held_out.parquet", "notes/tags.json")
VOCABULARIES = ("tables/vocabulary/*",)
OF_TEACHER = ("windows/*.teacher.*", "base/teacher/*")
COMBINED = ("combination.json", *SHARDS, NUMBERS)
OF_STUDENT = ("windows/*.student.*", "base/student/*")


def has_teacher(recipe: NerRecipe) -> bool:
    """Say whether a local teacher is trained and labels."""
    return recipe.label.teacher


STUDY = Study(
    "ner",
    "Entities of clinical notes: diseases, medications, symptoms.",
    NerRecipe,
    RECIPES,
    (
        Stage(
            "read",
            f"{STAGES}:read_source",
            "Corpus to notes: words, human annotations, splits.",
            part="notes",
            fields=READ,
            sources=("notes.source",),
            size=f"{SIZE}:of_read",
        ),
        Stage(
            "window_teacher",
            f"{STAGES}:window_teacher",
            "Notes to the teacher's windows of tokens.",
            part="teacher",
            fields=(*(f"teacher.{name}" for name in WINDOW), "teacher.twice"),
            sources=("teacher.base",),
            reads={"read": (*NOTES, *VOCABULARIES)},
            needed=has_teacher,
            size=f"{SIZE}:of_windows",
        ),
        Stage(
            "window_student",
            f"{STAGES}:window_student",
            "Notes to the student's windows of tokens.",
            part="student",
            fields=tuple(f"student.{name}" for name in WINDOW),
            sources=("student.base",),
            reads={"read": NOTES},
            size=f"{SIZE}:of_windows",
        ),
        Stage(
            "train_teacher",
            f"{STAGES}:train_teacher",
            "Annotated notes to teacher, under DeepSpeed ZeRO on Ray workers.",
            part="teacher",
            runs="ranks",
            fields=("teacher", *GOLD),
            reads={"read": LEARNED, "window_teacher": OF_TEACHER},
            sources=("teacher.base",),
            needed=has_teacher,
            size=f"{SIZE}:of_teacher",
        ),
        Stage(
            "label",
            f"{STAGES}:LABEL",
            "Notes to soft tags of every labeler, by independent Ray workers.",
            part="label",
            runs="jobs",
            reads={"read": (*NOTES, *VOCABULARIES), "window_teacher": OF_TEACHER, "train_teacher": ()},
            sources=("label.ontologies",),
            size=f"{SIZE}:of_labels",
        ),
        Stage(
            "combine",
            f"{STAGES}:combine",
            "Every labeler's tags to one set of soft tags.",
            part="combine",
            fields=("combine", "notes.split_seed"),
            reads={"read": NOTES, "label": (*SHARDS, NUMBERS)},
            size=f"{SIZE}:of_combination",
        ),
        Stage(
            "distill",
            f"{STAGES}:distill",
            "Soft tags to student, data-parallel on Ray workers.",
            part="student",
            runs="ranks",
            fields=("student", *GOLD),
            reads={"read": LEARNED, "window_student": OF_STUDENT, "combine": COMBINED},
            sources=("student.base",),
            size=f"{SIZE}:of_student",
        ),
        Stage(
            "evaluate",
            f"{STAGES}:evaluate",
            "Students and labelers to report: metrics.json, report.md, report.html.",
            part="evaluate",
            fields=("notes", "teacher", "label", "combine", "student", "evaluate"),  # the report shows them
            reads={
                "read": (*HELD_OUT, *VOCABULARIES, NUMBERS),
                "label": (*SHARDS, NUMBERS),
                "combine": COMBINED,
                "distill": (),
            },
            sources=("evaluate.other_corpora",),
            size=f"{SIZE}:of_evaluate",
        ),
    ),
    run_folder=NerRun,
    dataset=RunDataset(f"{__name__}.dataset:rows_of", ("read", "combine")),
    commands=(
        Command(
            "annotate",
            f"{__name__}.predict:annotate",
            "Find the entities of new notes.",
            {
                "model": "tagger's folder, e.g. RUN/student",
                "notes": "folder of .txt files, or text:DIR, jsonl:DIR, hf:DIR, brat:DIR, mimic3:DIR, ...",
                "out": "folder for entities.jsonl, brat/ and entities.html",
            },
        ),
    ),
)
