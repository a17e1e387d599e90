"""The embedding that is asked for, against a real HTTP server on loopback: order, cache, faults, silence."""

import hashlib
import json
import logging
import math
import stat
import traceback
from dataclasses import replace

import numpy as np
import pytest

from ckd_dist.config import Endpoint, values_of
from ckd_dist.endpoints.egress import ALLOWED, PHRASES, check_egress
from ckd_dist.endpoints.errors import EndpointError, UnansweredError
from ckd_dist.studies.concepts.config import EmbeddingEndpoint
from ckd_dist.studies.concepts.embeddings import ServedModel
from ckd_dist.studies.concepts.endpoint import COUNTS, EndpointEmbedder
from launch.verdict import verdict
from tests.endpoints.server import Reply, serve, vectors

CANARY = "CANARYPATIENT77"
KEY = "sk-canary-key-4711"
SAID = ["heart failure", "fever", "heart failure", "cough", "Fever", "gout"]


def served(**fields) -> ServedModel:
    """The model of `embed.endpoints` with these fields."""
    part = EmbeddingEndpoint(**fields)
    return ServedModel(values_of(part, Endpoint), part.template, part.whiten, part.dimensions, part.batch)


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture
def embedder(tmp_path):
    def make(server, **settings):
        return EndpointEmbedder(served(**({"url": server.url, "retries": 0} | settings)), tmp_path / "answers")

    return make


def vector_of(phrase, width=5):
    """What the fake model says of a phrase: numbers of its hash."""
    return [byte / 255 - 0.5 for byte in hashlib.sha256(phrase.encode()).digest()[:width]]


def model(body):
    """Lists its vectors backwards, as a server may; `index` says which is whose."""
    rows = [vector_of(phrase, body.get("dimensions", 5)) for phrase in body["input"]]
    return vectors(rows, order=list(reversed(range(len(rows)))))


@pytest.mark.parametrize("batch", [1, 2, 64])
def test_vectors_come_in_the_order_of_the_phrases_each_asked_once(embedder, batch):
    with serve(model) as server:
        vectors_ND, counts = embedder(server, batch=batch).embed(SAID)
    np.testing.assert_allclose(vectors_ND, [vector_of(phrase) for phrase in SAID], rtol=1e-6)
    assert vectors_ND.dtype == np.float32
    assert sorted(server.phrases()) == sorted(set(SAID))
    assert max(len(body["input"]) for body in server.bodies) <= batch
    assert set(server.paths) == {"/v1/embeddings"} and set(counts) == {*COUNTS, "seconds"}
    asked = math.ceil(5 / batch)
    expected = {
        "phrases": 6,
        "distinct": 5,
        "cached": 0,
        "requests": asked,
        "input_tokens": 100 * asked,
        "uncounted": 0,
    }
    assert {name: counts[name] for name in COUNTS} == expected


def test_only_what_is_needed_is_sent(embedder):
    with serve(model) as server:
        embedder(server, model="some/model").embed(["gout"])
        embedder(server, model="some/model", dimensions=3).embed(["gout"])
    assert server.bodies[0] == {"model": "some/model", "input": ["gout"], "encoding_format": "float"}
    assert server.bodies[1] == server.bodies[0] | {"dimensions": 3}
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert not [name for name in server.headers[0] if name.startswith("x-")]


def test_nothing_is_asked_twice_and_what_is_torn_is_asked_again(embedder, tmp_path):
    with serve(model) as server:
        first, _ = embedder(server).embed(SAID)
        files = sorted((tmp_path / "answers").iterdir())
        assert len(files) == 5
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
        assert stat.S_IMODE((tmp_path / "answers").stat().st_mode) == 0o700
        again, counts = embedder(server, batch=1, timeout=3.0).embed([*SAID[::-1], "asthma"])
        assert server.phrases()[5:] == ["asthma"]
        assert (counts["cached"], counts["requests"], counts["distinct"]) == (5, 1, 6)
        np.testing.assert_array_equal(again[:6], first[::-1])
        files[0].write_bytes(files[0].read_bytes()[:-3])
        files[1].write_bytes(b"")
        np.testing.assert_array_equal(embedder(server).embed(SAID)[0], first)
        assert len(server.phrases()) == 8
        embedder(server, model="x").embed(["gout"])
        embedder(server, dimensions=4).embed(["gout"])
        assert len(server.phrases()) == 10


def test_a_fault_keeps_what_came_before_it(embedder):
    def choosy(body):
        return Reply(500, {}) if "cough" in body["input"] else model(body)

    with serve(choosy) as server, pytest.raises(EndpointError, match=r"fails \(500\)"):
        embedder(server, batch=2).embed(SAID)
    with serve(model) as server:
        vectors_ND, counts = embedder(server, batch=2).embed(SAID)
    assert counts["cached"] == 2 and "heart failure" not in server.phrases()
    np.testing.assert_allclose(vectors_ND, [vector_of(phrase) for phrase in SAID], rtol=1e-6)


def test_a_passing_fault_is_waited_out(embedder):
    left = [Reply(429, {"error": {"message": "slow"}}, {"Retry-After": "0.1"}), replace(vectors([[1.0]]), hang_up=True)]
    with serve(lambda body: left.pop() if left else model(body)) as server:
        _, counts = embedder(server, retries=2).embed(["gout"])
    assert counts["requests"] == len(server.bodies) == 3


def test_answers_without_token_counts_are_counted(embedder):
    with serve(lambda body: vectors([vector_of(p) for p in body["input"]], usage=None)) as server:
        _, counts = embedder(server, batch=2).embed(SAID)
    assert (counts["input_tokens"], counts["uncounted"]) == (0, 5)


def test_how_wide_a_vector_is_is_asked_once(embedder):
    with serve(model) as server:
        made = embedder(server)
        assert made.width == made.width == embedder(server).width == 5
        assert embedder(server, dimensions=7).width == 7
    assert len(server.bodies) == 1


def test_nothing_to_embed(embedder):
    with serve(model) as server:
        vectors_ND, counts = embedder(server).embed([])
    assert server.bodies == [] and vectors_ND.shape[0] == 0 and set(counts) == {*COUNTS, "seconds"}


# --- faults that stay: one sentence, and not a word of a phrase -------------------------------------------------------


def echo(status):
    """A server that quotes the request in its complaint, as some do."""
    return lambda body: Reply(status, {"error": {"message": f"bad request: {json.dumps(body)}", "code": CANARY}})


def doubled(body):
    answer = model(body)
    for item in answer.body["data"]:
        item["index"] = 0
    return answer


def worded(body):
    answer = model(body)
    answer.body["data"][0]["embedding"] = [CANARY] * 5
    return answer


FAULTS = {
    "key": (echo(401), r"refuses the key \(401\).*OPENAI_API_KEY"),
    "model": (echo(404), "knows no model some/model"),
    "request": (echo(400), r"refuses the phrases \(400\).*embeds 64 phrases"),
    "overload": (echo(429), r"still overloaded after 1 attempts \(429\).*lower batch"),
    "server": (echo(500), r"fails \(500\)"),
    "page": (lambda _: Reply(200, CANARY.encode(), {"Content-Type": "text/html"}), "not as an OpenAI-compatible"),
    "torn": (lambda _: Reply(200, f'{{"data": "{CANARY}'.encode()), "not as an OpenAI-compatible"),
    "other": (lambda _: Reply(200, {"error": CANARY}), "not as an OpenAI-compatible"),
    "words": (worded, "not as an OpenAI-compatible"),
    "few": (lambda body: vectors([vector_of(CANARY)]), "gives 1 vectors.*for 2 phrases"),
    "many": (lambda body: vectors([vector_of(CANARY)] * 3), "gives 3 vectors.*for 2 phrases"),
    "none": (lambda body: vectors([]), "gives 0 vectors.*for 2 phrases"),
    "doubled": (doubled, "wrongly numbered"),
    "widths": (lambda body: vectors([[1.0, 2.0], [1.0]]), "of different widths"),
    "empty": (lambda body: vectors([[], []]), "of different widths"),
    "nan": (lambda body: vectors([[1.0, math.nan], [1.0, 2.0]]), "not finite"),
    "zeros": (lambda body: vectors([[0.0, 0.0], [1.0, 2.0]]), "vector of zeros, which says nothing"),
    "huge": (lambda body: vectors([[1.0, 1e39], [1.0, 2.0]]), "not finite"),  # more than float32 holds
}


def test_an_answer_without_a_vector_is_asked_once_more(embedder):
    """Some servers give none now and then, under load: that is no value, and no reason to stop."""
    empty = [vectors([])]
    with serve(lambda body: empty.pop() if empty else model(body)) as server:
        found_ND, counts = embedder(server).embed(["fever"])
    assert counts["requests"] == 2 and np.allclose(found_ND[0], vector_of("fever"), atol=1e-6)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_lasting_fault_is_one_sentence_without_a_word_of_a_phrase(embedder, fault, caplog, tmp_path):
    answer, sentence = FAULTS[fault]
    caplog.set_level(logging.DEBUG)
    with serve(answer) as server:
        with pytest.raises(EndpointError, match=sentence) as raised:
            embedder(server, model="some/model").embed([f"{CANARY} has CKD", "gout"])
        assert server.url in str(raised.value) and "embedding 'endpoint'" in str(raised.value)
    assert any(CANARY in phrase for phrase in server.phrases())
    assert str(raised.value).count("\n") == 0
    shown = "".join(traceback.format_exception(raised.value)) + caplog.text
    cause = raised.value
    while cause is not None:
        shown += repr(cause) + repr(vars(cause))
        cause = cause.__cause__ or cause.__context__
    assert CANARY not in shown and KEY not in shown
    assert not (tmp_path / "answers").exists() or not list((tmp_path / "answers").iterdir())


def test_a_server_that_is_away_is_a_fault(embedder, caplog):
    caplog.set_level(logging.DEBUG)
    with serve(model) as server:
        pass
    with pytest.raises(UnansweredError, match="start the server") as raised:
        embedder(server).embed([CANARY])
    sentence, code = verdict(raised.value)
    assert server.url in sentence and code == 85
    assert CANARY not in "".join(traceback.format_exception(raised.value)) + caplog.text
    assert raised.value.__cause__ is None and raised.value.__context__ is None


def test_dimensions_that_the_server_does_not_heed_are_refused(embedder):
    five = serve(lambda body: vectors([vector_of(p) for p in body["input"]]))
    with five as server, pytest.raises(EndpointError, match="of 5 numbers where dimensions asks for 3"):
        embedder(server, dimensions=3).embed(SAID)


def test_a_model_that_changes_its_width_is_noticed(embedder):
    with serve(model) as server:
        embedder(server).embed(SAID[:2])
    six = serve(lambda body: vectors([vector_of(p, 6) for p in body["input"]]))
    with six as server, pytest.raises(EndpointError, match="different widths"):
        embedder(server).embed(SAID)


# --- which embedding, and where to ------------------------------------------------------------------------------------


def test_the_fingerprint_covers_what_decides_the_vectors_and_nothing_else(tmp_path):
    base = EndpointEmbedder(served(), tmp_path)
    same = {"url": "http://127.0.0.1:1/v1", "key_variable": "K", "timeout": 1.0, "retries": 1, "batch": 2, "name": "x"}
    assert base.fingerprint == EndpointEmbedder(served(**same), tmp_path / "else").fingerprint
    others = [{"model": "m"}, {"dimensions": 3}, {"template": "Disease: {}"}]
    marks = {EndpointEmbedder(served(**other), tmp_path).fingerprint for other in others}
    assert len(marks | {base.fingerprint}) == 4


@pytest.mark.parametrize("egress", ["", "yes", ALLOWED])
def test_phrases_leave_this_machine_only_where_the_recipe_says_so(egress, tmp_path):
    """What allows notes does not allow phrases."""
    away = {"url": "https://api.openai.com/v1"}
    with pytest.raises(ValueError, match="would send phrases to api") as raised:
        EndpointEmbedder(served(**away, egress=egress), tmp_path)
    assert PHRASES.allowed in str(raised.value)
    EndpointEmbedder(served(**away, egress=PHRASES.allowed), tmp_path)
    with pytest.raises(ValueError, match="unencrypted"):
        check_egress(served(url="http://api.openai.com/v1", egress=PHRASES.allowed).endpoint, PHRASES)
