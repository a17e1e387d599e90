"""Full configurations of the first study, as functions."""

import dataclasses

from ckd_dist.config import Lora, Optim, Tiny, Workers
from ckd_dist.studies.disease.claims import Claim
from ckd_dist.studies.disease.config import (
    DiseaseRecipe,
    Evaluate,
    Experiments,
    Extract,
    Label,
    Labelled,
    Loss,
    Prompt,
    Select,
    Student,
    Teacher,
)


def tiny() -> DiseaseRecipe:
    """Run the whole study in minutes on two cores: a synthetic hospital, a tiny Qwen2, a tiny BERT."""
    workers = Workers(num=2, cpus=1)
    return DiseaseRecipe(
        name="tiny",
        extract=Extract(source="synthetic:3000"),
        select=Select(history_visits=1),
        prompt=Prompt(efficacies=1, teacher_tokens=512, student_tokens=256),
        teacher=Teacher(
            dtype="float32",
            lora=Lora(rank=8, alpha=16, dropout=0.0),
            sft=Optim(epochs=1, learning_rate=3e-3, batch_samples=16),
            sft_tuning="full",
            labels=Optim(epochs=2, learning_rate=3e-3, batch_samples=16),
            gradient_checkpointing=False,
            workers=workers,
        ),
        label=Label(shard_rows=256, micro_tokens=4096, workers=workers),
        student=Student(optim=Optim(epochs=3, learning_rate=1e-3, batch_samples=16), workers=workers),
        experiments=Experiments(workers=workers),
        evaluate=Evaluate(bootstrap_draws=500),
    )


# Some thousand updates from random weights; each look at tuning costs as much as twenty of them.
BRIEF = Optim(beta2=0.98, schedule="linear", batch_samples=16, evaluate_every=640)


def elsewhere() -> DiseaseRecipe:
    """Train a teacher where labels are plentiful, another synthetic hospital: pipeline --until train_teacher."""
    recipe = tiny()
    # Its base is random, so its embeddings learn too; adapters on every projection cost half as much again.
    adapter = Lora(rank=32, alpha=64, dropout=0.0, targets=("embed_tokens", "q_proj", "v_proj"))
    return dataclasses.replace(
        recipe,
        name="elsewhere",
        extract=Extract(source="synthetic:6000", synthetic_seed=1),
        prompt=Prompt(efficacies=0, question="short", teacher_tokens=384, student_tokens=256),
        teacher=dataclasses.replace(
            recipe.teacher,
            tiny=Tiny(layers=1),
            lora=adapter,
            sft=Optim(epochs=0),
            labels=dataclasses.replace(BRIEF, epochs=4, learning_rate=4e-3),
        ),
    )


def few_labels() -> DiseaseRecipe:
    """Distil where 86 patients have labels; another hospital's teacher labels all visits.  Give label.from_run."""
    recipe, few = tiny(), Labelled(train=86, tuning=20)
    return dataclasses.replace(
        recipe,
        name="few_labels",
        prompt=Prompt(efficacies=0, student_tokens=256),
        teacher=dataclasses.replace(recipe.teacher, labelled=few),
        student=dataclasses.replace(
            recipe.student,
            tiny=Tiny(layers=1),
            labelled=few,
            loss=Loss(soft_weight=1.0, temperature=1.0),
            optim=dataclasses.replace(BRIEF, epochs=5, learning_rate=3e-3),  # 1,595 updates
            hard_baseline=False,  # it is among the experiments
        ),
        experiments=Experiments(
            variants=(
                "distilled",
                "hard",
                "permuted",
                "own",
                "logistic",
                "trees",
                "copy_last",
                "elsewhere",
                "teacher",
                "oracle",
            ),
            budgets=(86, 172),
            seeds=3,
            claims=(
                Claim("teacher", None, "macro_auroc", "at least", 0.83),
                Claim("distilled", "hard", "macro_auroc", "at least", 0.10),
                Claim("distilled", "hard", "log_loss", "at most", -0.08),
                Claim("distilled", "logistic", "macro_auroc", "at least", 0.03),
                Claim("distilled", "trees", "macro_auroc", "at least", 0.0),
                Claim("distilled", "permuted", "macro_auroc", "at least", 0.2),
                Claim("own", "hard", "macro_auroc", "within", 0.01),
            ),
            workers=recipe.student.workers,
        ),
    )


def other_codes() -> DiseaseRecipe:
    """Do the same where the hospital writes ICD-10: only names are shared.  label.from_run: `elsewhere` on titles."""
    recipe = few_labels()
    against = ("hard", "logistic", "trees", "elsewhere")
    return dataclasses.replace(
        recipe,
        name="other_codes",
        extract=dataclasses.replace(recipe.extract, synthetic_codes="icd10"),
        prompt=dataclasses.replace(recipe.prompt, diagnosis_names="title", student_tokens=512),
        experiments=dataclasses.replace(
            recipe.experiments,
            variants=("distilled", *against, "copy_last", "teacher", "oracle"),
            budgets=recipe.experiments.budgets[:1],
            claims=tuple(Claim("distilled", other, "macro_auroc", "at least", 0.0) for other in against),
        ),
    )


def labels_map() -> DiseaseRecipe:
    """Compare teachers at several label budgets where the law is known.  Give label.from_run, a run of `elsewhere`."""
    recipe = few_labels()
    return dataclasses.replace(
        recipe,
        name="labels_map",
        extract=Extract(source="synthetic:8000"),  # 13,500 visits of train; 3,400 of its subjects have a label
        student=dataclasses.replace(
            recipe.student,
            labelled=Labelled(),  # experiments.budgets
            optim=dataclasses.replace(recipe.student.optim, epochs=1.5),
        ),
        experiments=Experiments(
            variants=(
                *("distilled", "labelled_only", "exact", "exact_labelled", "own", "own_labelled"),
                *("hard", "logistic", "trees", "elsewhere", "teacher", "oracle"),
            ),
            budgets=(100, 300, 1000, 3000),
            controls="all",  # teachers of the same labels
            workers=recipe.experiments.workers,
        ),
    )


def mimic_demo() -> DiseaseRecipe:
    """Run tiny models on the open MIMIC-III demo (100 patients): real tables to a report, far too few for claims."""
    recipe = tiny()
    return dataclasses.replace(
        recipe,
        name="mimic_demo",
        extract=Extract(source="mimic3:mimic_iii_demo", train_fraction=0.5, tuning_fraction=0.25),
        select=dataclasses.replace(recipe.select, absent_labels="allow"),
        prompt=Prompt(efficacies=1, min_support=2, teacher_tokens=1024, student_tokens=512),
    )


def disease_mimic3_7b() -> DiseaseRecipe:
    """Run CKD-EHR on MIMIC-III: Qwen2.5-7B-Instruct with LoRA under ZeRO-3, bert-base-uncased.  Give extract.source."""
    gpu = Workers(num=0, cpus=8, gpus=1)  # 0: all that the cluster has
    return DiseaseRecipe(
        name="disease_mimic3_7b",
        extract=Extract(source="mimic3:MIMIC_III", memory_gb=32),
        prompt=Prompt(teacher_tokens=1024, student_tokens=512),
        teacher=Teacher(base="Qwen/Qwen2.5-7B-Instruct", workers=gpu),
        label=Label(workers=gpu, micro_tokens=65536),
        student=Student(
            base="google-bert/bert-base-uncased",
            dtype="bfloat16",
            optim=Optim(epochs=10, learning_rate=2e-5, micro_tokens=32768),
            workers=gpu,
        ),
        experiments=Experiments(workers=gpu),
    )


def disease_mimic4_7b() -> DiseaseRecipe:
    """Run the same as disease_mimic3_7b on MIMIC-IV (hosp/)."""
    recipe = disease_mimic3_7b()
    return dataclasses.replace(
        recipe,
        name="disease_mimic4_7b",
        extract=dataclasses.replace(recipe.extract, source="mimic4:MIMIC_IV"),
    )


def as_published() -> DiseaseRecipe:
    """Run CKD-EHR's own student: 0.9 hard, temperature 1, the instruction too, 2e-5 constant, batch 8, 10 epochs."""
    recipe = disease_mimic3_7b()
    published = Optim(
        epochs=10,
        learning_rate=2e-5,
        weight_decay=0,
        warmup_fraction=0,
        schedule="constant",
        clip_norm=0,
        batch_samples=8,
    )
    return dataclasses.replace(
        recipe,
        name="as_published",
        select=dataclasses.replace(recipe.select, history_visits=0, unlabelled=False),
        prompt=dataclasses.replace(recipe.prompt, efficacies=0, student_instruction=True),
        student=dataclasses.replace(
            recipe.student, loss=Loss(soft_weight=0.1, temperature=1.0), optim=published, dtype="float32"
        ),
    )


SYNTHETIC = (tiny, elsewhere, few_labels, other_codes, labels_map)
REAL = (mimic_demo, disease_mimic3_7b, disease_mimic4_7b, as_published)
RECIPES = {recipe.__name__: recipe for recipe in (*SYNTHETIC, *REAL)}
