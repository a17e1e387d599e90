"""What embeddings there are: models on this machine, models behind an address, and two baselines without a model."""

from dataclasses import dataclass
from typing import Literal

from ckd_dist.config import Endpoint, Tiny


@dataclass(frozen=True)
class LocalModel:
    """An embedding by a model on this machine."""

    name: str
    base: str  # folder or hub name; tiny, tiny_encoder: made on the spot, of shape `tiny`
    revision: str | None
    tiny: Tiny
    synonyms: str | None  # CSV of phrases that mean the same, which a tiny base learns first
    pooling: Literal["own", "mean", "cls", "last"]
    template: str  # text around a phrase
    whiten: int | None  # directions kept and made equally long; none: no whitening
    max_tokens: int
    dtype: str


@dataclass(frozen=True)
class ServedModel:
    """An embedding by a model behind an address."""

    endpoint: Endpoint
    template: str
    whiten: int | None
    dimensions: int | None  # of shortened vectors; none: its own width
    batch: int  # phrases in a request

    @property
    def name(self) -> str:
        """Its name in the report."""
        return self.endpoint.name


@dataclass(frozen=True)
class Learned:
    """The small encoder's embedding.  of: the embedding that it learns; none: there is no encoder."""

    name: str
    of: str | None


@dataclass(frozen=True)
class EmbeddingOptions:
    """All embeddings of a run, and how their phrases are cut into shards."""

    models: tuple[LocalModel, ...]
    endpoints: tuple[ServedModel, ...]
    one_hot: bool
    random: int | None  # width of the random baseline; none: no such baseline
    phrases: str | None  # text file of further phrases
    shard_rows: int
    order_seed: int
    micro_tokens: int  # padded tokens in a forward pass
