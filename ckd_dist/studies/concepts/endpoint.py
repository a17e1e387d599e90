"""Turn phrases into vectors by a model behind an OpenAI-compatible address.

    phrases -> (cache | endpoint) -> vectors in the order of the phrases, and counts

A phrase is asked once, whoever asks again; every answer is kept (cache.py) before the next question goes out.  Vectors
come in any order and are put in theirs by `index`; an answer with another number of vectors, another width, or a number
that is not finite is refused whole, because what follows could not see it.  They are asked for as numbers, not as
base64, which some servers do not have.  Left out: questions in parallel (the workers of a run are), batch interfaces.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from time import perf_counter

import numpy as np
import openai
from openai.types import CreateEmbeddingResponse

from ckd_dist.endpoints import cache
from ckd_dist.endpoints.client import Advice, connect, problem
from ckd_dist.endpoints.egress import PHRASES, check_egress
from ckd_dist.endpoints.errors import EndpointError
from ckd_dist.studies.concepts.embeddings import ServedModel

COUNTS = ("phrases", "distinct", "cached", "requests", "input_tokens", "uncounted")
Numbered = tuple[list[tuple[int, np.ndarray]], int | None]  # (index, vector) each, and tokens read
PROBE = "fever"  # asked to learn how wide a vector is; says nothing of anyone


@dataclass(frozen=True)
class EndpointEmbedder:
    """The model behind `served.endpoint.url`; no template is applied.

    Raises ValueError when it is made for an address that phrases may not go to.
    """

    served: ServedModel
    cache_folder: Path

    def __post_init__(self) -> None:
        check_egress(self.served.endpoint, PHRASES)

    @property
    def fingerprint(self) -> str:
        """Hash what shapes a vector beside the phrase: not the address, the key or a limit."""
        return cache.key("embedding", self.served.endpoint.model, str(self.served.dimensions), self.served.template)

    @cached_property
    def width(self) -> int:
        """Return the numbers of a vector; where the recipe does not say, one phrase is asked."""
        return self.served.dimensions or self.embed([PROBE])[0].shape[1]

    def embed(self, phrases: Sequence[str]) -> tuple[np.ndarray, dict[str, float]]:
        """Return vectors, float32 [N, D] in the order of `phrases`, and counts:

        phrases; distinct ones; `cached` of these were not asked now; requests sent, retries included; input_tokens that
        this call spent; uncounted: answers that came without their number; seconds, wall-clock.  Raises EndpointError
        or UnansweredError, which quote no phrase.
        """
        began = perf_counter()
        names = {phrase: self._name(phrase) for phrase in phrases}
        kept = {phrase: cache.find_vector(self.cache_folder, name) for phrase, name in names.items()}
        vector_of = {phrase: vector_D for phrase, vector_D in kept.items() if vector_D is not None}
        counts = Counter(dict.fromkeys(COUNTS, 0))
        counts.update(phrases=len(phrases), distinct=len(names), cached=len(vector_of))
        missing = [phrase for phrase in names if phrase not in vector_of]
        if missing:
            with connect(self.served.endpoint) as (client, sent):
                for start in range(0, len(missing), self.served.batch):
                    part = missing[start : start + self.served.batch]
                    vectors_BD = self._ask(client, part, counts)
                    self._check_width([*list(vector_of.values())[:1], *vectors_BD])
                    cache.keep_vectors(self.cache_folder, [names[phrase] for phrase in part], vectors_BD)
                    vector_of |= dict(zip(part, vectors_BD, strict=True))
            counts["requests"] = len(sent)
        self._check_width(list(vector_of.values()))
        seconds = {"seconds": perf_counter() - began}
        if not phrases:
            return np.empty((0, self.served.dimensions or 0), np.float32), counts | seconds
        return np.stack([vector_of[phrase] for phrase in phrases]), counts | seconds

    def _name(self, phrase: str) -> str:
        return cache.key("embedding", self.served.endpoint.model, str(self.served.dimensions), phrase)

    def _ask(self, client: openai.OpenAI, phrases: list[str], counts: Counter[str]) -> np.ndarray:
        """Ask for some phrases; return their vectors in their order, float32 [B, D]."""
        answer, trouble = self._try(client, phrases)
        if answer is None:
            raise trouble  # outside of any `except`: an exception's context gets out with it
        vectors, input_tokens = answer
        if sorted(index for index, _ in vectors) != list(range(len(phrases))):
            raise self._wrong(f"gives {len(vectors)} vectors, or wrongly numbered ones, for {len(phrases)} phrases")
        self._check_width([vector_D for _, vector_D in vectors])
        vectors_BD = np.stack([vector_D for _, vector_D in sorted(vectors, key=lambda pair: pair[0])])
        if not np.isfinite(vectors_BD).all():
            raise self._wrong("gives a vector with a number that is not finite")
        if not vectors_BD.any(1).all():
            raise self._wrong("gives a vector of zeros, which says nothing of its phrase")
        counts["input_tokens"] += input_tokens or 0
        counts["uncounted"] += len(phrases) * (input_tokens is None)
        return vectors_BD

    def _try(self, client: openai.OpenAI, phrases: list[str]) -> tuple[Numbered | None, Exception | None]:
        """Return the numbered vectors and the tokens read, or None and what is to be raised."""
        shortened = {} if self.served.dimensions is None else {"dimensions": self.served.dimensions}
        try:
            for _ in range(2):
                answer = client.embeddings.create(
                    model=self.served.endpoint.model, input=phrases, encoding_format="float", **shortened
                )
                if getattr(answer, "data", None) != []:  # some servers do so now and then, under load
                    break
            if not isinstance(answer, CreateEmbeddingResponse):
                raise TypeError("not embeddings")
            with np.errstate(over="ignore"):  # what float32 cannot hold is found as not finite
                vectors = [(int(item.index), np.array(item.embedding, np.float32)) for item in answer.data]
            return (vectors, answer.usage and int(answer.usage.prompt_tokens)), None
        except Exception as error:  # of any kind: each may quote the question or the answer
            return None, problem(error, self.served.endpoint, self._advice)

    @property
    def _advice(self) -> Advice:
        dimensions = self.served.dimensions
        return Advice(
            who=f"embedding {self.served.name!r}",
            overloaded="lower batch, or the number of workers",
            refused="the phrases",
            see=f"embeds {self.served.batch} phrases at a time"
            + (f", and can shorten vectors to {dimensions}" if dimensions else ""),
        )

    def _check_width(self, vectors: Sequence[np.ndarray]) -> None:
        widths = {vector_D.shape for vector_D in vectors}
        wanted = self.served.dimensions
        if len(widths) > 1 or any(len(shape) != 1 or not shape[0] for shape in widths):
            raise self._wrong("gives vectors of different widths, now or in kept answers")
        if wanted and widths - {(wanted,)}:
            raise self._wrong(f"gives vectors of {widths.pop()[0]} numbers where dimensions asks for {wanted}")

    def _wrong(self, what: str) -> EndpointError:
        return EndpointError(
            f"embedding {self.served.name!r}: {self.served.endpoint.url} {what}: see that it serves model "
            f"{self.served.endpoint.model} and nothing else by that name"
        )
