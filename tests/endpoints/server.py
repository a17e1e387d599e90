"""A real HTTP server on loopback for OpenAI's chat completions and embeddings, and notes to ask it about."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from ckd_dist.notes.note import Note

USAGE = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}


@dataclass
class Reply:
    """What the server sends: a status, a body, headers; or it hangs up in the middle."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    hang_up: bool = False


def completion(text: str | None, usage: dict[str, int] | None = USAGE, finish: str = "stop") -> Reply:
    """A chat completion that says `text`."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
    body = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    return Reply(body=body | ({"usage": usage} if usage else {}))


def entities(*stated: tuple[int, str, str]) -> Reply:
    """A completion that states entities: line, text, type."""
    return completion(json.dumps({"entities": [dict(zip(("line", "text", "type"), e, strict=True)) for e in stated]}))


def vectors(rows: list[list[float]], usage: dict[str, int] | None = USAGE, order: list[int] | None = None) -> Reply:
    """Embeddings of phrases 0, 1, ...; order: in which they are listed."""
    data = [{"object": "embedding", "index": i, "embedding": row} for i, row in enumerate(rows)]
    body = {"object": "list", "model": "m", "data": [data[i] for i in order] if order else data}
    return Reply(body=body | ({"usage": usage} if usage else {}))


@dataclass
class Server:
    """`answer(body)` replies to a request; what came in is kept."""

    answer: Callable[[dict[str, Any]], Reply]
    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    def asked(self) -> list[str]:
        """The user message of every request."""
        return [body["messages"][-1]["content"] for body in self.bodies]

    def phrases(self) -> list[str]:
        """All phrases of requests for embeddings."""
        return [phrase for body in self.bodies for phrase in body["input"]]


@contextmanager
def serve(answer: Callable[[dict[str, Any]], Reply]) -> Iterator[Server]:
    """Run a server on a free loopback port until the block ends."""
    server = Server(answer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.bodies.append(body)
            server.headers.append({name.lower(): value for name, value in self.headers.items()})
            server.paths.append(self.path)
            reply = server.answer(body)
            payload = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            try:
                self.send_response(reply.status)
                headers = {"Content-Type": "application/json", "Content-Length": str(len(payload))} | reply.headers
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(payload[: len(payload) // 2] if reply.hang_up else payload)
            except OSError:  # the client has given up waiting
                self.close_connection = True
            self.close_connection |= reply.hang_up

        def log_message(self, *_: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    server.url = f"http://127.0.0.1:{http.server_port}/v1"
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def note(*sentences: str) -> Note:
    """A note of sentences, words as white space parts them, one blank between sentences."""
    starts, ends, numbers, text = [], [], [], ""
    for number, sentence in enumerate(sentences):
        text += " " if text else ""
        at = len(text)
        text += sentence
        for word in sentence.split():
            at = text.index(word, at)
            starts.append(at)
            at += len(word)
            ends.append(at)
            numbers.append(number)
    return Note(text, *(np.array(column, np.int32) for column in (starts, ends, numbers)))
