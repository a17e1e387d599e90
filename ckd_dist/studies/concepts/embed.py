"""Embed every phrase once with every embedding; its vectors go into shards, as any other soft label does.

A phrase is embedded once, however many code systems have it: row = place among the sorted different phrases.  A plan an
embedding.
"""

from collections.abc import Mapping
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl
import torch

from ckd_dist.files import digest_of
from ckd_dist.models.embed import Embedder, EmbedderOptions, inspect_embedder, load_embedder
from ckd_dist.models.tiny import make_tiny_student, make_tiny_teacher
from ckd_dist.schema import FEWEST_SUBJECTS
from ckd_dist.softlabels.generate import generate
from ckd_dist.softlabels.plan import LabelSource, Plan, make_plan
from ckd_dist.softlabels.plans import find
from ckd_dist.studies.concepts.cases.cases import read_concepts
from ckd_dist.studies.concepts.cases.sheet import read_utf8
from ckd_dist.studies.concepts.embeddings import EmbeddingOptions, Learned, LocalModel, ServedModel
from ckd_dist.studies.concepts.runfolder import ConceptsRun
from ckd_dist.studies.concepts.synonyms import teach_synonyms
from ckd_dist.studies.concepts.synthetic import thesaurus
from ckd_dist.studies.concepts.tables import ONE_HOT, RANDOM

SYNONYM_EPOCHS = 30
MAKERS = {"tiny": make_tiny_teacher, "tiny_encoder": make_tiny_student}


class VectorSource(Protocol):
    """Whatever turns phrases into vectors, known without its weights."""

    @property
    def width(self) -> int:
        """Numbers of a vector."""
        ...

    @property
    def fingerprint(self) -> str:
        """A hash of all that decides a vector, but for the template."""
        ...


def names_of(settings: EmbeddingOptions, student: Learned) -> list[str]:
    """Return the embeddings by models, in order, the student's last.  Raises ValueError where two have one name."""
    names = [each.name for each in (*settings.models, *settings.endpoints)] + [student.name] * bool(student.of)
    for name in names:
        if name in (ONE_HOT, RANDOM) or not name or name[0] == "." or "/" in name or names.count(name) > 1:
            raise ValueError(
                f"an embedding cannot be called {name!r}: give each a name of its own, without a slash or a first dot"
            )
    if student.of and student.of not in names[:-1]:
        raise ValueError(f"student.of names no embedding {student.of!r}: give one of {', '.join(names[:-1]) or 'none'}")
    return names


def embeddings_of(settings: EmbeddingOptions, student: Learned) -> dict[str, int | None]:
    """Return all that a patient model may read, in the report's order -> directions that whitening keeps of it.

    A student keeps those of what it learned, the baselines have none.  Raises ValueError as `names_of` does.
    """
    learned = {student.name: student.of} if student.of else {}
    named = {name: settings_of(settings, learned.get(name, name)).whiten for name in names_of(settings, student)}
    baselines = {ONE_HOT: settings.one_hot, RANDOM: settings.random}
    return named | {name: None for name, wanted in baselines.items() if wanted}


def settings_of(settings: EmbeddingOptions, name: str) -> LocalModel | ServedModel:
    """Return one embedding's settings."""
    return next(each for each in (*settings.models, *settings.endpoints) if each.name == name)


def phrases_of(run: ConceptsRun, further: str | None) -> list[str]:
    """Return the different phrases of all concepts, and of a file of further ones, sorted."""
    return sorted(set(read_concepts(run)["text"]) | set(read_phrases(further)))


def shared_phrases_of(run: ConceptsRun, further: str | None) -> list[str]:
    """Return the phrases that a vocabulary may be learned from: those of enough subjects, and the recipe's own.

    A vocabulary travels with its model, and the title or the drug of a few patients should not.
    """
    cases = pl.read_parquet(run.cases, columns=["subject_id", "concepts"]).explode("concepts").drop_nulls()
    subjects = (
        cases.join(read_concepts(run), left_on="concepts", right_on="concept")
        .group_by("text")
        .agg(pl.col("subject_id").n_unique())
        .filter(pl.col("subject_id") >= FEWEST_SUBJECTS)
    )
    return sorted({*subjects["text"], *read_phrases(further)})


def read_phrases(file: str | None) -> list[str]:
    """Read a text file of phrases, one a line, each once; none where no file is named."""
    if file is None:
        return []
    if file == "synthetic":
        return thesaurus.phrases()
    try:
        lines = read_utf8(Path(file)).decode().splitlines()
    except (ValueError, UnicodeDecodeError) as error:
        raise ValueError(f"embed.phrases {file} cannot be read ({type(error).__name__}): give a UTF-8 text") from None
    if not (phrases := {line.strip() for line in lines} - {""}):
        raise ValueError(f"embed.phrases {file} holds no phrase: write one a line, or leave embed.phrases out")
    return sorted(phrases)


def read_synonyms(file: str | None) -> list[tuple[str, str]]:
    """Read pairs of phrases that mean the same, from a CSV of two columns without a header."""
    if file is None:
        return []
    if file == "synthetic":
        return thesaurus.synonyms()
    try:
        raw = BytesIO(read_utf8(Path(file)))
        frame = pl.read_csv(raw, has_header=False, infer_schema=False).select(pl.all().str.strip_chars())
    except (pl.exceptions.PolarsError, ValueError) as error:
        raise ValueError(f"synonyms {file} cannot be read as CSV ({type(error).__name__})") from None
    if frame.width != 2 or not frame.select(pl.all_horizontal(pl.all().fill_null("") != "").all()).item():
        raise ValueError(f"synonyms {file}: every line must hold two phrases, and the file has {frame.width} columns")
    return frame.rows()


def make_tiny_bases(run: ConceptsRun, settings: EmbeddingOptions) -> None:
    """Make the models that the recipe calls tiny: a vocabulary of shared phrases, and synonyms if any."""
    for each in settings.models:
        if each.base in MAKERS:
            pairs = read_synonyms(each.synonyms)
            shared = shared_phrases_of(run, settings.phrases)
            texts = sorted({*shared, *(phrase for pair in pairs for phrase in pair)})
            MAKERS[each.base](run.base(each.name), (), each.tiny, seed=0, public=texts)
            if pairs:
                pooling = inspect_embedder(run.base(each.name), options_of(each)).pooling
                teach_synonyms(run.base(each.name), pairs, pooling, SYNONYM_EPOCHS, seed=0)
        elif each.synonyms:
            raise ValueError(f"embedding {each.name}: synonyms are for a tiny base alone; {each.base} is read as it is")


def base_of(run: ConceptsRun, settings: LocalModel) -> str:
    """Return the folder or hub name of a model."""
    return str(run.base(settings.name)) if settings.base in MAKERS else settings.base


def options_of(settings: LocalModel) -> EmbedderOptions:
    """Return what decides how a model reads a phrase."""
    dtype = getattr(torch, settings.dtype)
    return EmbedderOptions(settings.revision, settings.pooling, settings.max_tokens, dtype)


def sources_of(run: ConceptsRun, settings: EmbeddingOptions) -> dict[str, VectorSource]:
    """Return what each embedding is.  Raises ValueError where one cannot be read or may not be asked."""
    sources: dict[str, VectorSource] = {
        each.name: inspect_embedder(base_of(run, each), options_of(each)) for each in settings.models
    }
    if settings.endpoints:
        from ckd_dist.studies.concepts.endpoint import EndpointEmbedder  # its client takes a second to import

        sources |= {each.name: EndpointEmbedder(each, run.answers) for each in settings.endpoints}
    return sources


def plan_vectors(run: ConceptsRun, settings: EmbeddingOptions, sources: Mapping[str, VectorSource]) -> dict[str, Plan]:
    """Plan what is to be embedded, by embedding."""
    phrases = phrases_of(run, settings.phrases)
    plans = {}
    for name, source in sources.items():
        own = settings_of(settings, name)
        prompts = digest_of([phrases, own.template])
        plans[name] = make_plan(
            np.arange(len(phrases)),
            LabelSource(column_names(source.width), prompts, "the model's own", source.fingerprint),
            split="concepts",
            shard_rows=settings.shard_rows,
            order_seed=settings.order_seed,
        )
    return plans


def column_names(width: int) -> list[str]:
    """Name a vector's numbers."""
    return [f"d{i}" for i in range(width)]


class EmbeddingWorker:
    """One process with all embeddings; a model is loaded when it is first needed.  Publishing twice is harmless."""

    def __init__(self, run: ConceptsRun, settings: EmbeddingOptions, planned: Mapping[str, Plan], device: str) -> None:
        """planned: by `plan_vectors`."""
        self.run, self.settings, self.planned, self.device = run, settings, planned, device
        self.sources = sources_of(run, settings)
        for name, plan in planned.items():
            plan.check_teacher(self.sources[name].fingerprint, f"embedding {name}")
        self.phrases = np.array(phrases_of(run, settings.phrases), dtype=object)
        self.loaded: tuple[str, Embedder] | None = None

    def do(self, number: int) -> None:
        """Embed the phrases of shard `number`, counted through all plans."""
        name, plan, shard = find(self.planned, number)
        generate(plan, self.run.softlabels, [shard], partial(self._embed, settings_of(self.settings, name)))

    def _embed(self, settings: LocalModel | ServedModel, rows: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
        texts = [settings.template.format(phrase) for phrase in self.phrases[rows]]
        if isinstance(settings, ServedModel):
            return self.sources[settings.name].embed(texts)
        return self._model(settings).embed(texts, micro_tokens=self.settings.micro_tokens), {"phrases": len(texts)}

    def _model(self, settings: LocalModel) -> Embedder:
        """Load the weights of one model at a time: two large ones may not fit."""
        if self.loaded is None or self.loaded[0] != settings.name:
            self.loaded = None
            model = load_embedder(base_of(self.run, settings), options_of(settings), self.device)
            self.loaded = settings.name, model
        return self.loaded[1]
