"""The third study's configuration: sites, embeddings of their concepts, patient models, a grid of experiments.

Parts that studies share: ckd_dist/config.py.
"""

from typing import Literal

from pydantic.dataclasses import dataclass

from ckd_dist.config import (
    STRICT,
    BootstrapPart,
    Endpoint,
    LabelPart,
    ModelPart,
    Optim,
    StudentPart,
    TablesPart,
    Workers,
    how,
    redeclared,
    what,
)
from ckd_dist.endpoints.egress import PHRASES
from ckd_dist.schema import FEWEST_SUBJECTS
from ckd_dist.studies.concepts.regimes import Regime

TEMPLATE = r"^[^{}]*\{\}[^{}]*$"  # exactly one pair of braces, or every phrase would be the same


@dataclass(frozen=True, config=STRICT)
class Sites(TablesPart):
    """sources -> cases of every site: concepts and outcomes"""

    sources: tuple[str, ...] = what(
        ("synthetic:1200",),
        "list of eicu:DIR, mimic3:DIR, mimic4:DIR, meds:DIR, findings:DIR or synthetic:N (N cases a site); NAME=SOURCE "
        "makes all of a source one site",
    )
    by: Literal["site", "region", "hospital"] = what(
        "site", "property of a visit that tells sites apart, where a source has no NAME="
    )
    keep: tuple[str, ...] = what((), "names of the sites to keep; none: all")
    min_cases: int = what(50, "fewest cases of a site; a smaller site is left out, and counted", ge=1)
    outcome: Literal["death", "stay", "next_visit"] = what(
        "death", "outcome: death in hospital, a long stay, or the phenotypes of the next visit; findings: has its own"
    )
    stay_days: float = what(7.0, "length above which a stay is long, days from admission", gt=0)
    begin: Literal["admission", "icu"] = what(
        "admission", "beginning of a case: admission to hospital or to the unit; of outcome next_visit: the discharge"
    )
    hours: float = what(
        24.0, "time from the beginning to the prediction, hours; a visit that ended before it is no case", ge=0
    )
    history_days: float = what(365.0, "time before the beginning from which concepts are read, days", ge=0)
    codes: tuple[str, ...] = what(
        ("DIAGNOSIS//", "PROCEDURE//", "MEDICATION//", "TREATMENT//", "HISTORY//"),
        "prefixes of the event codes that are read as concepts",
    )
    missing: Literal["left", "absent"] = what(
        "left", "reading of a finding of a site's list that a case has no row of: left out, or taken as absent"
    )
    max_concepts: int = what(256, "most concepts of a case; beyond it the latest are kept", ge=1)
    train_fraction: float = redeclared(TablesPart, "train_fraction", 0.6)


@dataclass(frozen=True, config=STRICT)
class PhrasePart:
    """What is done to a phrase before an embedding, and to its vector after it."""

    template: str = what("{}", "text around a phrase, which takes the place of {}", pattern=TEMPLATE)
    whiten: int | None = what(
        None, "number of directions kept and made equally long, fitted on the source; none: no whitening", ge=1
    )


@dataclass(frozen=True, config=STRICT)
class TextModel(PhrasePart, ModelPart):
    """An embedding by a model on this machine: an encoder, a causal language model, or this project's own teacher."""

    name: str = what("model", "name in the report")
    base: str = redeclared(
        ModelPart,
        "base",
        "tiny",
        "model: a folder (also RUN/teacher of another run), a hub name, tiny (causal) or tiny_encoder",
    )
    synonyms: str | None = what(
        None,
        "CSV of two columns, phrases that mean the same, which a tiny base learns first; synthetic: those of the "
        "synthetic hospitals",
    )
    pooling: Literal["own", "mean", "cls", "last"] = what(
        "own",
        "pooling over tokens; own: as the folder says (sentence-transformers), else mean of an encoder, last of a "
        "causal model",
    )
    max_tokens: int = what(128, "longest phrase, tokens", ge=8)


@dataclass(frozen=True, config=STRICT)
class EmbeddingEndpoint(PhrasePart, Endpoint):
    """An embedding by a model behind an OpenAI-compatible address."""

    model: str = what("Qwen/Qwen3-Embedding-8B", "model name that is asked for")
    egress: str = how("", f'sentence that allows sending phrases off this machine: "{PHRASES.allowed}"')
    dimensions: int | None = what(None, "width of shortened vectors, where the model can; none: its own width", ge=1)
    batch: int = how(64, "phrases in a request", ge=1)


@dataclass(frozen=True, config=STRICT)
class Embeddings(LabelPart):
    """concepts -> vectors of every embedding"""

    models: tuple[TextModel, ...] = what((TextModel(name="tiny teacher", pooling="mean"),), "models on this machine")
    endpoints: tuple[EmbeddingEndpoint, ...] = what((), "models behind an address")
    one_hot: bool = what(True, "one-hot baseline: a learned vector for every code, none for an unseen one")
    random: int | None = what(
        None, "width of the random baseline, a fixed random vector for every code; none: no such baseline"
    )
    phrases: str | None = what(
        None,
        "text file of further phrases, one a line, that a student learns from too; synthetic: those of the synthetic "
        "hospitals",
    )
    shard_rows: int = redeclared(LabelPart, "shard_rows", 1024, "phrases in a shard")
    workers: Workers = how(Workers(), "independent embedders")


@dataclass(frozen=True, config=STRICT)
class SpaceLoss:
    """cosine_weight * (1 - cos(student, teacher)) + relation_weight * mean square difference of cosines to anchors"""

    cosine_weight: float = what(1.0, "weight of the vectors themselves", ge=0)
    relation_weight: float = what(1.0, "weight of their relations to the anchors", ge=0)
    anchors: int = what(256, "number of the source's phrases that relations are measured to", ge=1)


@dataclass(frozen=True, config=STRICT)
class Encoder(StudentPart):
    """vectors of a large model -> a small encoder with the same space"""

    of: str | None = what(None, "name of the embedding that it learns; none: no student")
    name: str = what("student", "name in the report")
    held_out_fraction: float = what(0.1, "share of its phrases that only choose the checkpoint", gt=0, lt=1)
    max_tokens: int = what(64, "longest phrase, tokens", ge=8)
    loss: SpaceLoss = what(SpaceLoss(), "what it learns from")
    optim: Optim = what(Optim(epochs=20, learning_rate=1e-4), "training of the student")


@dataclass(frozen=True, config=STRICT)
class PatientModel:
    """One patient model: what is made of the vectors of a case's concepts"""

    kind: Literal["max", "mean", "attention", "transformer"] = what(
        "max", "kind: max (published: an MLP a concept and the maximum), mean, attention, or transformer over events"
    )
    filters: int = what(100, "width after the first layer", ge=1)
    dropout: float = what(0.5, "dropout before the last layer", ge=0, lt=1)
    layers: int = what(2, "layers of a transformer", ge=1)
    heads: int = what(4, "attention heads of a transformer", ge=1)


@dataclass(frozen=True, config=STRICT)
class Grid:
    """cases and vectors -> experiments: embedding x patient model x source -> target x regime x size x seed"""

    models: tuple[PatientModel, ...] = what((PatientModel(),), "patient models")
    regimes: tuple[Regime, ...] = what(
        ("local", "shared", "frozen", "full", "thawed", "pooled", "adversarial"),
        "regimes; local: target alone; shared: source unchanged; frozen: last layer tuned; full: all but the vectors "
        "tuned; thawed: vectors too; pooled: both sites' cases; adversarial: source with sites made alike (DANN)",
    )
    pairs: tuple[str, ...] = what((), "list of SOURCE->TARGET or rest->TARGET; none: all ordered pairs of sites")
    seeds: int = what(5, "seeds of each experiment, every one from the start", ge=1)
    sizes: tuple[int, ...] = what(
        (), "numbers of labelled training cases of the target, a curve beside all of them, which is always run"
    )
    steps_curve: int = what(
        0, "length of the curve over tuning steps, multiples of the tuning schedule; 0: no curve", ge=0
    )
    train: Optim = what(
        Optim(epochs=20, learning_rate=1e-3, batch_samples=32, warmup_fraction=0.0, clip_norm=1.0), "training schedule"
    )
    tune: Optim = what(
        Optim(epochs=10, learning_rate=1e-3, batch_samples=32, warmup_fraction=0.0, clip_norm=1.0),
        "schedule of tuning on a target",
    )
    rates: tuple[float, ...] = what(
        (),
        "learning rates that every training tries, of which the tuning cases choose one; none: the schedule's own",
    )
    adversary_weight: float = what(0.1, "weight of the reversed gradient", ge=0)
    workers: Workers = how(Workers(), "independent workers")


@dataclass(frozen=True, config=STRICT)
class Compare(BootstrapPart):
    """experiments -> report"""

    neighbours: int = what(8, "target concepts whose nearest source concepts are shown", ge=0)
    least_subjects: int = what(FEWEST_SUBJECTS, "fewest subjects of a concept that the report names", ge=1)


@dataclass(frozen=True, config=STRICT)
class ConceptRecipe:
    """A whole run of the third study."""

    study: Literal["concepts"] = how("concepts", "name of the study")
    name: str = how("unnamed", "name shown in the report")
    sites: Sites = what(Sites(), "sources to cases")
    embed: Embeddings = what(Embeddings(), "concepts to vectors")
    student: Encoder = what(Encoder(), "vectors to a small encoder")
    grid: Grid = what(Grid(), "cases and vectors to experiments")
    evaluate: Compare = what(Compare(), "experiments to report")
