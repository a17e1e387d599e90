"""Ask an OpenAI-compatible address many questions at once; every one is answered, or an error says what to do.

The official client sends the requests: it retries overloads, server errors and broken connections, and waits as long as
`Retry-After` says (up to two minutes).  The first question goes alone, so that a wrong address, key or model costs one
failure and not `parallel` of them; then threads ask, and each answer is kept before its thread asks the next question.

Servers differ in structured output, so a request that is refused with 400, 422 or words about response_format is tried
again with less: JSON schema, JSON object, plain; the fullest form that works is used from then on.  Considered: vLLM
and Ollama from 0.5 hold to the schema; llama.cpp does, but some of its builds accept and ignore it, as `transformers
serve` and Ollama's cloud do; older llama.cpp forks know the JSON object only; OpenAI's newer models want
`max_completion_tokens`.  That is why a prompt should state the form as well, and its answers be read with care.  Ollama
silently cuts a prompt that exceeds its `num_ctx`: set that to twice max_output_tokens or more.

Only what the recipe asks for is sent: no headers from the client's own environment variables, no statistics of the
client, no redirect is followed, and loopback is reached without a proxy.  An exception of the client can quote the
request or the answer, so none is raised further, not even as the cause of another.  `requests_per_minute` holds for
each worker, retries included.  Left out: batch interfaces, streaming, a limit on the time of a
whole answer that trickles in.
"""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import openai
from openai.types.chat import ChatCompletion

from ckd_dist.config import Endpoint
from ckd_dist.endpoints.cache import Answer
from ckd_dist.endpoints.egress import check_egress, is_loopback
from ckd_dist.endpoints.errors import EndpointError, UnansweredError

HEADERS = {"host", "accept", "accept-encoding", "connection", "content-type", "content-length", "user-agent"}
REFUSED = (400, 422)
AWAY = (502, 503, 504)  # a server that starts or ends, or the proxy before it says so
STRANGE = {  # what came in place of a completion -> what is likely wrong
    "a web page": "correct url, which mostly ends in /v1",
    "a stream of events": "turn streaming off in the server, or in the proxy before it",
    "an error": "url is right, the server's own log says what failed",
    "something else": "correct url, or see the server's own log",
}

Keep = Callable[[str, Answer], None]  # keep(name of the question, its answer)


class StrangeAnswerError(TypeError):
    """What came is no completion.  Its message is a key of STRANGE and nothing of the answer."""


@dataclass(frozen=True)
class Advice:
    """What the sentence about a failure takes from whoever asks."""

    who: str  # e.g. labeler 'llm'
    overloaded: str  # what to do about an overload
    refused: str  # what was refused
    see: str  # what the server should do


@dataclass(frozen=True)
class Chat:
    """What every question is asked with."""

    system: str  # message
    schema: dict[str, Any]  # JSON schema of an answer
    temperature: float
    max_output_tokens: int
    advice: Advice


@dataclass(frozen=True)
class Pace:
    """How fast questions follow one another."""

    parallel: int = 8  # questions under way at once
    requests_per_minute: float | None = None  # none: as fast as they are answered


def ask(
    questions: Mapping[str, str],
    settings: Endpoint,
    chat: Chat,
    keep: Keep,
    pace: Pace = Pace(),
) -> tuple[dict[str, Answer], int]:
    """Ask questions (name -> user message); return their answers by name, each given to `keep` too, and requests sent.

    Raises ValueError for an address that notes may not go to; at the first question without an answer EndpointError
    where the server refuses it, UnansweredError where there is none.
    """
    check_egress(settings)
    if not questions:
        return {}, 0
    with connect(settings, pacer(pace.requests_per_minute)) as (client, sent):
        return dict(_answers(questions, Asker(client, settings, chat), pace.parallel, keep)), len(sent)


@contextmanager
def connect(
    settings: Endpoint, wait_for_turn: Callable[[], None] = lambda: None
) -> Iterator[tuple[openai.OpenAI, list[None]]]:
    """Open a client of `settings.url` that sends what the recipe asks for, and a list with an item a request sent.

    wait_for_turn: called before each.  Call `check_egress` beforehand.
    """
    sent: list[None] = []  # threads append safely; they do not add safely
    key = _key(settings)

    def prepare(request: Any) -> None:
        wait_for_turn()
        sent.append(None)
        for header in [name for name in request.headers if name.lower() not in HEADERS]:
            del request.headers[header]
        if key:
            request.headers["Authorization"] = f"Bearer {key}"

    transport = openai.DefaultHttpxClient(
        follow_redirects=False, trust_env=not is_loopback(settings.url), event_hooks={"request": [prepare]}
    )
    with openai.OpenAI(
        base_url=settings.url,
        api_key=key or "none",
        timeout=settings.timeout,
        max_retries=settings.retries,
        http_client=transport,
    ) as client:
        yield client, sent


class Asker:
    """`asker(question)` returns the answer.  It remembers the fullest form that the server takes."""

    def __init__(self, client: openai.OpenAI, settings: Endpoint, chat: Chat) -> None:
        self.client, self.settings, self.chat = client, settings, chat
        self.forms = forms(chat.schema, chat.max_output_tokens)
        self.form = 0

    def __call__(self, question: str) -> Answer:
        for form in range(self.form, len(self.forms)):
            answer, refused, trouble = self._try(question, self.forms[form])
            if answer is not None:
                self.form = max(self.form, form)
                return answer
            if not refused:
                break
        raise trouble  # outside of any `except`: an exception's context is an exception that gets out

    def _try(self, question: str, form: dict[str, Any]) -> tuple[Answer | None, bool, Exception | None]:
        """Return the answer, or None, whether a lesser form could be accepted, and what is to be raised."""
        try:
            completion = self._complete(question, form)
            if getattr(completion, "choices", None) == []:  # some servers do so now and then, under load
                completion = self._complete(question, form)
            return _answer(completion), False, None
        except Exception as error:  # of any kind: each may quote the question or the answer
            refused = getattr(error, "status_code", None) in REFUSED or "response_format" in str(error)
            return None, refused, problem(error, self.settings, self.chat.advice)

    def _complete(self, question: str, form: dict[str, Any]) -> Any:
        return self.client.chat.completions.create(
            model=self.settings.model,
            temperature=self.chat.temperature,
            messages=[{"role": "system", "content": self.chat.system}, {"role": "user", "content": question}],
            **form,
        )


def forms(schema: dict[str, Any], max_tokens: int) -> list[dict[str, Any]]:
    """Return the request's fields that state form and limit of an answer, the fullest first."""
    strict = {"type": "json_schema", "json_schema": {"name": "entities", "strict": True, "schema": schema}}
    return [
        {"response_format": strict, "max_tokens": max_tokens},
        {"response_format": strict, "max_completion_tokens": max_tokens},
        {"response_format": {"type": "json_object"}, "max_tokens": max_tokens},
        {"max_tokens": max_tokens},
    ]


def pacer(per_minute: float | None) -> Callable[[], None]:
    """Return a function that returns at most `per_minute` times a minute, evenly, whichever threads call it."""
    lock = threading.Lock()
    next_turn = time.monotonic()

    def wait() -> None:
        nonlocal next_turn
        with lock:
            turn = max(time.monotonic(), next_turn)
            next_turn = turn + (60 / per_minute if per_minute else 0)
        time.sleep(max(0.0, turn - time.monotonic()))

    return wait


def _answers(questions: Mapping[str, str], asker: Asker, parallel: int, keep: Keep) -> Iterator[tuple[str, Answer]]:
    def ask_and_keep(name: str) -> tuple[str, Answer]:
        answer = asker(questions[name])
        keep(name, answer)
        return name, answer

    first, *rest = questions
    yield ask_and_keep(first)
    with ThreadPoolExecutor(parallel) as pool:
        futures = [pool.submit(ask_and_keep, name) for name in rest]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # what is under way ends and is kept; the rest never starts
            raise


def _answer(completion: Any) -> Answer:
    if not isinstance(completion, ChatCompletion) or not isinstance(completion.choices, list):
        raise StrangeAnswerError(_instead(completion))
    usage = completion.usage
    tokens = (usage and usage.prompt_tokens, usage and usage.completion_tokens)
    if not completion.choices:
        return Answer("", False, *tokens)
    choice = completion.choices[0]
    return Answer(_said(choice.message), choice.finish_reason in ("length", "content_filter"), *tokens)


def _said(message: Any) -> str:
    """Return the text of a message; empty for a refusal, or where all tokens went into thinking.

    Where `content` is empty, a JSON object that is all of the reasoning, or of the one tool call, is the answer that a
    server's parser has put there.
    """
    content = message.content
    if isinstance(content, list):  # of parts
        content = "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    if content:
        return str(content)
    calls = message.tool_calls or []
    elsewhere = [getattr(message, name, None) for name in ("reasoning_content", "reasoning")]
    elsewhere += [getattr(getattr(call, "function", None), "arguments", None) for call in calls if len(calls) == 1]
    return next((text for text in elsewhere if _is_object(text)), "")


def _is_object(text: Any) -> bool:
    """Say whether a text is one JSON object and nothing else."""
    try:
        return isinstance(text, str) and isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _instead(came: Any) -> str:
    """Return what came in place of a completion, in words of STRANGE."""
    if isinstance(came, str):
        return (
            "a web page" if came.lstrip()[:1] == "<" else "a stream of events" if "data:" in came else "something else"
        )
    return "an error" if getattr(came, "error", None) else "something else"


def _key(settings: Endpoint) -> str:
    key = os.environ.get(settings.key_variable, "").strip()
    if not all("!" <= letter <= "~" for letter in key):
        raise ValueError(f"environment variable {settings.key_variable} holds characters that no key has: set it again")
    return key


def problem(error: Exception, settings: Endpoint, advice: Advice) -> EndpointError | UnansweredError:
    """Return what to raise: what happened at which address and what to do, from the error's kind and status alone."""
    status = getattr(error, "status_code", None)
    attempts = f"{settings.retries + 1} attempts"
    if isinstance(error, openai.APITimeoutError):
        happened = (
            f"did not answer within {settings.timeout:g} s in {attempts}: see what the server does, or raise timeout"
        )
    elif isinstance(error, openai.APIConnectionError):
        happened = (
            f"cannot be reached or broke the connection in {attempts}: start the server (vllm serve {settings.model}, "
            "transformers serve), or correct url"
        )
    elif status in (401, 403):
        happened = f"refuses the key ({status}): put a valid one into environment variable {settings.key_variable}"
    elif status == 404:
        happened = (
            f"knows no model {settings.model} or no such path (404): correct model, or url, which mostly ends in /v1"
        )
    elif status == 429:
        happened = f"is still overloaded after {attempts} (429): {advice.overloaded}"
    elif status in REFUSED:
        happened = f"refuses {advice.refused} ({status}): see that it serves model {settings.model}, {advice.see}"
    elif status is not None and 300 <= status < 400:
        happened = f"sends elsewhere ({status}), which is not followed: give the address itself as url"
    elif status is not None and status >= 400:
        happened = f"fails ({status}) in {attempts}: see the server's own log"
    elif isinstance(error, StrangeAnswerError):
        happened = f"answers with {error}, not as an OpenAI-compatible server: {STRANGE[str(error)]}"
    else:
        happened = (
            f"answers, but not as an OpenAI-compatible server ({type(error).__name__}): {STRANGE['something else']}"
        )
    is_away = isinstance(error, openai.APIConnectionError) or status in AWAY  # a time-out is a broken connection, too
    return (UnansweredError if is_away else EndpointError)(f"{advice.who}: {settings.url} {happened}")
