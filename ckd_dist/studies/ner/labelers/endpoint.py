"""A labeler that asks a large language model behind an OpenAI-compatible address.

    notes -> questions -> (cache | endpoint) -> answers -> mentions, and counts of every outcome

Each step is a file: question.py, answer.py and align.py here, cache.py, client.py and egress.py (where notes may be
sent) in ckd_dist/endpoints.  The model states no confidence that could be trusted, so every mention gets the recipe's
one.  Left out: several samples of one question, whose agreement would be a confidence (it multiplies the cost).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from ckd_dist.config import Endpoint
from ckd_dist.endpoints import cache
from ckd_dist.endpoints.cache import Answer
from ckd_dist.endpoints.client import Advice, Chat, Pace, ask
from ckd_dist.endpoints.egress import check_egress
from ckd_dist.endpoints.errors import EndpointError
from ckd_dist.notes.note import Mention, Note, Prediction
from ckd_dist.studies.ner.labelers.align import OUTCOMES, RULES, align
from ckd_dist.studies.ner.labelers.answer import read_answer
from ckd_dist.studies.ner.labelers.asking import Asking
from ckd_dist.studies.ner.labelers.labelled import Labelled
from ckd_dist.studies.ner.labelers.places import Span
from ckd_dist.studies.ner.labelers.question import Question, instructions, questions, schema
from ckd_dist.studies.ner.labelers.unread import HOPELESS, unread_sentence

TOKENS = ("input_tokens", "output_tokens", "cached_input_tokens", "cached_output_tokens", "untold")
ANSWERS = ("broken_answers", "cut_answers", "unread_answers", "empty_answers")
COUNTS = (
    "notes",
    "words",
    "questions",
    "cached",
    "requests",
    *TOKENS,
    *OUTCOMES,
    *ANSWERS,
    "unknown_words",
    "vague_words",
)


@dataclass(frozen=True)
class EndpointLabeler:
    """`labeler(notes)` returns the mentions that the model behind `endpoint.url` states.

    Raises ValueError when it is made for an address that notes may not go to; while it labels EndpointError or
    UnansweredError, as client.py's `ask` does.
    """

    endpoint: Endpoint
    asking: Asking
    types: Sequence[str]
    cache_folder: Path

    def __post_init__(self) -> None:
        check_egress(self.endpoint)

    @property
    def name(self) -> str:
        return self.endpoint.name

    @property
    def chat(self) -> Chat:
        """What every question is asked with."""
        asking = self.asking
        advice = Advice(
            who=f"labeler {self.name!r}",
            overloaded="lower parallel or set requests_per_minute",
            refused="a question in every form",
            see=f"takes a system message and temperature {asking.temperature:g}, and has room for max_words and "
            "max_output_tokens",
        )
        return Chat(instructions(self.types), schema(self.types), asking.temperature, asking.max_output_tokens, advice)

    @property
    def asked(self) -> str:
        """A hash of what shapes an answer beside the question: not the address, the key, a limit or a price."""
        temperature, most = repr(self.asking.temperature), str(self.asking.max_output_tokens)
        return cache.key(self.endpoint.model, temperature, most, instructions(self.types), repr(schema(self.types)))

    @property
    def fingerprint(self) -> str:
        """A hash of what shapes the mentions: the answers, how notes are cut and answers read, how sure they are."""
        return cache.key(self.asked, str(self.asking.max_words), str(RULES), repr(self.asking.confidence))

    def __call__(self, notes: Sequence[Note]) -> Labelled:
        """Label every note.  counts: those of align.py, and

        notes, words, questions; `cached` of these were not asked now; requests sent, retries and refused forms
        included; input_tokens, output_tokens and usd that this call spent, and cached_input_tokens and
        cached_output_tokens that kept answers once cost; untold: answers without token counts, so that the cost is
        higher; cut_answers: they did not end by themselves; empty_answers: without a letter; unknown_words: those of
        which the answers say nothing, and vague_words those of them that an entity without a place or a type of ours
        may have meant; seconds of this call, wall-clock.

        An answer that cannot be read is not kept: asked again, a mended server may give another.
        """
        began = perf_counter()
        parts = [questions(note, self.asking.max_words) for note in notes]
        name_of = {q.text: cache.key(self.asked, q.text) for part in parts for q in part}
        found = {text: cache.find(self.cache_folder, name) for text, name in name_of.items()}
        kept = {text: answer for text, answer in found.items() if answer and not self._unread(answer)}
        fresh, num_requests = self._ask({text: name for text, name in name_of.items() if text not in kept})
        answer_of = kept | fresh
        num_questions = sum(map(len, parts))
        counts = Counter(dict.fromkeys(COUNTS, 0))
        counts.update(notes=len(notes), words=sum(map(len, notes)), questions=num_questions)
        counts.update(cached=num_questions - len(fresh), requests=num_requests)
        predictions, unknown = [], []
        for note, part in zip(notes, parts, strict=True):
            mentions, silent, vague = self._align(note, part, answer_of, counts)
            predictions.append([Prediction(mention, self.asking.confidence) for mention in mentions])
            unknown.append(silent)
            counts["unknown_words"] += words_within(note, silent, mentions)
            counts["vague_words"] += words_within(note, vague, mentions)
        usd = _count_tokens(counts, fresh.values(), kept.values(), self.asking)
        return Labelled(predictions, {**counts, "usd": usd, "seconds": perf_counter() - began}, unknown)

    def _ask(self, name_of: dict[str, str]) -> tuple[dict[str, Answer], int]:
        outcomes: list[bool] = []  # threads append safely
        empty: list[bool] = []

        def keep(name: str, answer: Answer) -> None:
            outcomes.append(self._unread(answer))
            empty.append(not answer.text.strip())
            if not outcomes[-1]:
                cache.keep(self.cache_folder, name, answer)
            elif len(outcomes) >= HOPELESS and all(outcomes):
                asked = len(outcomes)
                raise EndpointError(unread_sentence(self.name, self.endpoint.model, asked, asked, sum(empty)))

        texts = {name: text for text, name in name_of.items()}
        pace = Pace(self.asking.parallel, self.asking.requests_per_minute)
        answers, num_requests = ask(texts, self.endpoint, self.chat, keep, pace)
        return {texts[name]: answer for name, answer in answers.items()}, num_requests

    def _unread(self, answer: Answer) -> bool:
        return read_answer(answer.text, self.types, answer.cut).unread

    def _align(
        self, note: Note, part: list[Question], answer_of: dict[str, Answer], counts: Counter[str]
    ) -> tuple[list[Mention], list[Span], list[Span]]:
        """Return a note's mentions in order, what stays unknown, and what of that is vague; add to `counts`."""
        mentions, unknown, vague = [], [], []
        for question in part:
            answer = answer_of[question.text]
            aligned = align(answer.text, note.text, question.lines, self.types, answer.cut)
            mentions += aligned.mentions
            unknown += aligned.unknown
            vague += aligned.vague
            counts.update(aligned.counts)
            counts["cut_answers"] += answer.cut
            counts["empty_answers"] += not answer.text.strip()
        return mentions, unknown, vague


def words_within(note: Note, unknown: Sequence[Span], mentions: Sequence[Mention]) -> int:
    """Count the words of unknown parts that no mention has."""
    within_U = np.zeros(len(note), bool)
    for start, end in unknown:
        within_U |= (note.end_U > start) & (note.start_U < end)
    for start, end, _ in mentions:
        within_U &= (note.end_U <= start) | (note.start_U >= end)
    return int(within_U.sum())


def _count_tokens(counts: Counter[str], fresh: Iterable[Answer], kept: Iterable[Answer], asking: Asking) -> float:
    """Add the tokens of all answers to `counts`; return what the fresh ones cost, US dollars."""
    for prefix, answers in (("", fresh), ("cached_", kept)):
        for answer in answers:
            counts[f"{prefix}input_tokens"] += answer.input_tokens or 0
            counts[f"{prefix}output_tokens"] += answer.output_tokens or 0
            counts["untold"] += answer.input_tokens is None or answer.output_tokens is None
    sent = counts["input_tokens"] * asking.usd_per_million_input
    return (sent + counts["output_tokens"] * asking.usd_per_million_output) / 1e6
