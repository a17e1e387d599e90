"""The third study's configuration: sites, embeddings of their concepts, patient models, a grid.  Shared: config.py."""

from typing import Literal

from pydantic.dataclasses import dataclass

from ckd_dist.config import STRICT, Optim, Tiny, Workers, how, what

TEMPLATE = r"^[^{}]*\{\}[^{}]*$"  # exactly one pair of braces, or every phrase would be the same


@dataclass(frozen=True, config=STRICT)
class Sites:
    """sources -> cases of every site: concepts and outcomes"""

    sources: tuple[str, ...] = what(
        ("synthetic:1200",),
        "eicu:DIR, mimic3:DIR, mimic4:DIR, meds:DIR, findings:DIR or synthetic:N (cases a site); NAME=SOURCE makes all "
        "of a source one site",
    )
    synthetic_seed: int = what(0, "seed of the made-up hospitals", ge=0)
    by: Literal["site", "region", "hospital"] = what("site", "what of a source without NAME= tells sites apart")
    keep: tuple[str, ...] = what((), "sites that count; none: all")
    min_cases: int = what(50, "a site with fewer is left out, and counted", ge=1)
    outcome: Literal["death", "stay", "next_visit"] = what(
        "death", "death in hospital, a long stay, or the phenotypes of the next visit; findings: brings its own"
    )
    stay_days: float = what(7.0, "a long stay is longer, days from admission", gt=0)
    begin: Literal["admission", "icu"] = what("admission", "what a case begins with; a next visit's: its discharge")
    hours: float = what(24.0, "a case is predicted so long after it began; who left before is not a case", ge=0)
    history_days: float = what(365.0, "how far back before the beginning a concept counts", ge=0)
    codes: tuple[str, ...] = what(
        ("DIAGNOSIS//", "PROCEDURE//", "MEDICATION//", "TREATMENT//", "HISTORY//"),
        "codes of events that are concepts, by how they begin",
    )
    missing: Literal["left", "absent"] = what("left", "a finding of a fixed list that nobody looked for")
    max_concepts: int = what(256, "concepts of a case that are read, the latest", ge=1)
    train_fraction: float = what(0.6, "share of subjects to learn from", gt=0, lt=1)
    tuning_fraction: float = what(0.15, "share for choosing checkpoints", gt=0, lt=1)
    split_seed: int = what(0, "seed of the subject hash", ge=0)
    memory_gb: float = how(4.0, "most memory that reading may take, GB", gt=0.1)


@dataclass(frozen=True, config=STRICT)
class TextModel:
    """An embedding by a model on this machine: an encoder, a causal language model, or this project's own teacher."""

    name: str = what("model", "its name in the report")
    base: str = what("tiny", "a folder (also RUN/teacher of another run), a hub name, tiny or tiny_encoder")
    revision: str | None = what(None, "commit of a hub model")
    tiny: Tiny = what(Tiny(), "shape of the tiny base")
    synonyms: str | None = what(
        None,
        "for a tiny base: a CSV of two columns, phrases that mean the same, to learn first; synthetic: a made-up one",
    )
    pooling: Literal["own", "mean", "cls", "last"] = what(
        "own", "own: as the folder says (sentence-transformers), else mean of an encoder, last of a causal model"
    )
    template: str = what("{}", "what is said around a phrase, which stands for {}", pattern=TEMPLATE)
    whiten: int | None = what(None, "directions kept and made equally long, fitted on the source; none: left", ge=1)
    max_tokens: int = what(128, "longest phrase, tokens", ge=8)
    dtype: Literal["float32", "bfloat16"] = what("float32", "precision of the forward pass")


@dataclass(frozen=True, config=STRICT)
class EmbeddingEndpoint:
    """An embedding by a model behind an OpenAI-compatible address."""

    name: str = what("endpoint", "its name in the report")
    url: str = how("http://127.0.0.1:8000/v1", "base address; anything but loopback needs `egress`")
    model: str = what("Qwen/Qwen3-Embedding-8B", "model name that is asked for")
    egress: str = how(
        "", 'to send phrases off this machine: "the data use agreement of these records allows this endpoint"'
    )
    key_variable: str = how("OPENAI_API_KEY", "environment variable that holds the key, if one is needed")
    dimensions: int | None = what(None, "shortened vectors, where the model can; none: its own width", ge=1)
    template: str = what("{}", "what is said around a phrase, which stands for {}", pattern=TEMPLATE)
    whiten: int | None = what(None, "directions kept and made equally long, fitted on the source; none: left", ge=1)
    batch: int = how(64, "phrases in a question", ge=1)
    timeout: float = how(120.0, "seconds for an answer", gt=0)
    retries: int = how(5, "further attempts after an overload or a broken connection", ge=0)


@dataclass(frozen=True, config=STRICT)
class Embeddings:
    """concepts -> vectors of every embedding"""

    models: tuple[TextModel, ...] = what((TextModel(name="tiny teacher", pooling="mean"),), "models on this machine")
    endpoints: tuple[EmbeddingEndpoint, ...] = what((), "models that are asked")
    one_hot: bool = what(True, "a baseline: a learned vector for every code, none for an unseen one")
    random: int | None = what(None, "a baseline: a fixed random vector of this width for every code; none: left out")
    phrases: str | None = what(
        None, "a text file of further phrases, one a line, that a student learns from too; synthetic: made-up ones"
    )
    shard_rows: int = what(1024, "phrases in a shard", ge=1)
    order_seed: int = what(0, "seed of the order in which shards are made", ge=0)
    micro_tokens: int = how(16384, "padded tokens in a forward pass", ge=16)
    workers: Workers = how(Workers(), "independent embedders")


@dataclass(frozen=True, config=STRICT)
class SpaceLoss:
    """cosine_weight * (1 - cos(student, teacher)) + relation_weight * mean square difference of cosines to anchors"""

    cosine_weight: float = what(1.0, "share of the vectors themselves", ge=0)
    relation_weight: float = what(1.0, "share of their relations to the anchors", ge=0)
    anchors: int = what(256, "phrases of the source that relations are measured to", ge=1)


@dataclass(frozen=True, config=STRICT)
class Encoder:
    """vectors of a large model -> a small encoder with the same space"""

    of: str | None = what(None, "name of the embedding that it learns; none: no student")
    name: str = what("student", "its name in the report")
    base: str = what("tiny", "BERT-family encoder: a folder, a hub name, or tiny")
    revision: str | None = what(None, "commit of a hub model")
    tiny: Tiny = what(Tiny(), "shape of the tiny base")
    held_out_fraction: float = what(0.1, "share of its phrases that only measure it", gt=0, lt=1)
    dtype: Literal["float32", "bfloat16"] = what("float32", "precision of activations; weights stay float32")
    max_tokens: int = what(64, "longest phrase, tokens", ge=8)
    loss: SpaceLoss = what(SpaceLoss(), "what it learns from")
    optim: Optim = what(Optim(epochs=20, learning_rate=1e-4), "schedule")
    engine: Literal["ddp", "zero1"] = how("ddp", "data parallelism")
    workers: Workers = how(Workers(), "data-parallel ranks")


@dataclass(frozen=True, config=STRICT)
class PatientModel:
    """One patient model: what is made of the vectors of a case's concepts"""

    kind: Literal["max", "mean", "attention", "transformer"] = what(
        "max", "published: an MLP a concept and the maximum; mean and attention pool a set; a Transformer reads events"
    )
    filters: int = what(100, "width after the first layer", ge=1)
    dropout: float = what(0.5, "before the last layer", ge=0, lt=1)
    layers: int = what(2, "layers of a transformer", ge=1)
    heads: int = what(4, "attention heads of a transformer", ge=1)


Regime = Literal["local", "shared", "frozen", "full", "thawed", "pooled", "adversarial"]


@dataclass(frozen=True, config=STRICT)
class Grid:
    """cases and vectors -> every cell: embedding x patient model x source -> target x regime x size x seed"""

    models: tuple[PatientModel, ...] = what((PatientModel(),), "patient models")
    regimes: tuple[Regime, ...] = what(
        ("local", "shared", "frozen", "full", "thawed", "pooled", "adversarial"),
        "local: target alone; shared: source unchanged; frozen: last layer tuned; full: all but the vectors tuned; "
        "thawed: vectors too; pooled: both sites' cases; adversarial: source with sites made alike (DANN)",
    )
    pairs: tuple[str, ...] = what((), "SOURCE->TARGET each, or rest->TARGET; none: all ordered pairs of sites")
    seeds: int = what(5, "training runs of each cell, every one from the start", ge=1)
    sizes: tuple[int, ...] = what((), "also with so many training cases of the target: a curve; all is always run")
    steps_curve: int = what(0, "tune so many times longer than asked, scoring the target on the way; 0: no curve", ge=0)
    train: Optim = what(
        Optim(epochs=20, learning_rate=1e-3, batch_samples=32, warmup_fraction=0.0, clip_norm=1.0), "training"
    )
    tune: Optim = what(
        Optim(epochs=10, learning_rate=1e-3, batch_samples=32, warmup_fraction=0.0, clip_norm=1.0), "tuning on a target"
    )
    rates: tuple[float, ...] = what(
        (), "learning rates that every training tries, to take what is best on tuning cases; none: the schedule's own"
    )
    adversary_weight: float = what(0.1, "share of the reversed gradient", ge=0)
    workers: Workers = how(Workers(), "independent jobs")


@dataclass(frozen=True, config=STRICT)
class Compare:
    """cells -> report"""

    bootstrap_draws: int = what(1000, "resamples of subjects for the 95 % intervals", ge=100)
    seed: int = what(0, "seed of the resamples", ge=0)
    neighbours: int = what(8, "target concepts whose nearest source concepts are shown", ge=0)
    least_subjects: int = what(10, "a concept that fewer subjects have is not named in the report", ge=1)


@dataclass(frozen=True, config=STRICT)
class ConceptRecipe:
    """A whole run of the third study."""

    study: Literal["concepts"] = how("concepts", "which study")
    name: str = how("unnamed", "shown in the report")
    sites: Sites = what(Sites(), "sources to cases")
    embed: Embeddings = what(Embeddings(), "concepts to vectors")
    student: Encoder = what(Encoder(), "vectors to a small encoder")
    grid: Grid = what(Grid(), "cases and vectors to cells")
    evaluate: Compare = what(Compare(), "to a report")
