"""Notes leave this machine only when the recipe says so in so many words (TESTS row 24)."""

import socket

import pytest

from ckd_dist.endpoints.client import Advice, Chat, EndpointError, ask
from ckd_dist.endpoints.egress import ALLOWED, check_egress, is_loopback
from ckd_dist.studies.ner.config import LabelEndpoint
from tests.endpoints.server import Reply, entities, note, serve
from tests.studies.ner.labelers.asked import labeler_of

CHAT = Chat("", {}, 0.0, 16, Advice("labeler", "", "", ""))
HERE = [
    "http://127.0.0.1:8000/v1",
    "http://127.0.0.1",
    "http://127.8.9.10:80/v1",
    "https://127.0.0.1/v1",
    "http://[::1]:8000/v1",
    "http://localhost:8000/v1",
    "http://LOCALHOST:8000/v1/",
]
ELSEWHERE = [
    "http://10.0.0.5:8000/v1",
    "http://0.0.0.0:8000/v1",
    "http://[::]:8000/v1",
    "http://[fe80::1]:8000/v1",
    "http://128.0.0.1/v1",
    "https://api.openai.com/v1",
    "http://localhost.evil.com/v1",
    "http://evil.com/127.0.0.1",
    "http://127.0.0.1.evil.com/v1",
    "http://localhost./v1",  # no name but localhost is trusted to be this machine
    "http://2130706433/v1",  # 127.0.0.1 as one number; so are the next three in other disguises
    "http://0x7f000001/v1",
    "http://0177.0.0.1/v1",
    "http://127.1/v1",
    "http://3232235777/v1",
    "http://[::ffff:10.0.0.1]/v1",
]
NOT_PLAIN = [
    "http://127.0.0.1@evil.com/v1",
    "http://127.0.0.1:80@evil.com/v1",
    "http://user:secret@127.0.0.1/v1",
    "http://127.0.0.1\\@evil.com/v1",
    "http://127.0.0.1#@evil.com/v1",
    "http://127.0.0.1?@evil.com/v1",
    "http://evil.com#@127.0.0.1/v1",
    "http://127.0.0.1%2eevil.com/v1",
    "http://[::1%eth0]/v1",
    "http://１２７.0.0.1/v1",  # full-width digits
    "http://ⓛocalhost/v1",
    "http://127.0.0.1/v1\n.evil.com",
    " http://127.0.0.1/v1",
    "//127.0.0.1/v1",
    "127.0.0.1:8000",
    "ftp://127.0.0.1/v1",
    "unix:///tmp/socket",
    "http:///v1",
    "",
]


@pytest.mark.parametrize("url", HERE)
def test_this_machine_needs_no_acknowledgement(url):
    check_egress(LabelEndpoint(url=url))


@pytest.mark.parametrize("url", ELSEWHERE)
def test_elsewhere_needs_the_exact_sentence_and_https(url):
    for egress in ("", "yes", "true", ALLOWED.upper(), ALLOWED + ".", ALLOWED[:-1]):
        with pytest.raises(ValueError, match="not this machine"):
            check_egress(LabelEndpoint(url=url, egress=egress))
    secure = "https:" + url.partition(":")[2]
    check_egress(LabelEndpoint(url=secure, egress=ALLOWED))
    with pytest.raises(ValueError, match="unencrypted"):
        check_egress(LabelEndpoint(url="http:" + url.partition(":")[2], egress=ALLOWED))


@pytest.mark.parametrize("url", NOT_PLAIN)
def test_an_address_that_two_parsers_could_read_differently_is_refused_even_if_acknowledged(url):
    for egress in ("", ALLOWED):
        with pytest.raises(ValueError, match="write it plainly") as refused:
            check_egress(LabelEndpoint(url=url, egress=egress))
        assert "secret" not in str(refused.value)
    assert not is_loopback(url)


def test_the_recipe_describes_the_sentence_that_is_asked_for():
    assert f'"{ALLOWED}"' in LabelEndpoint.__pydantic_fields__["egress"].description


def test_a_localhost_that_is_not_this_machine_is_elsewhere(monkeypatch):
    """A hosts file or a name server may send localhost anywhere; one place off loopback among several is enough."""
    places = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 80)) for host in ("127.0.0.1", "10.0.0.5")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: places)
    with pytest.raises(ValueError, match="not this machine"):
        check_egress(LabelEndpoint(url="http://localhost:8000/v1"))


def test_a_labeler_for_elsewhere_is_not_even_made(tmp_path):
    with pytest.raises(ValueError, match="not this machine"):
        labeler_of(tmp_path, url="https://api.openai.com/v1")


def test_nothing_is_asked_elsewhere_whoever_asks():
    with pytest.raises(ValueError, match="not this machine"):
        ask({"name": "a note"}, LabelEndpoint(url="https://api.openai.com/v1"), CHAT, lambda *_: None)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(status, tmp_path):
    """The second server stands for another host: it must hear nothing."""
    with serve(lambda _: entities()) as other:
        moved = Reply(status, {}, {"Location": f"{other.url}/chat/completions"})
        with serve(lambda _: moved) as server:
            labeler = labeler_of(tmp_path, url=server.url, retries=0)
            with pytest.raises(EndpointError, match=f"sends elsewhere \\({status}\\)"):
                labeler([note("Has CKD .")])
            assert len(server.bodies) == 1
        assert other.bodies == []


def test_no_proxy_of_the_environment_stands_before_loopback(tmp_path, monkeypatch):
    with serve(lambda _: entities()) as proxy, serve(lambda _: entities((1, "CKD", "disease"))) as server:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url.removesuffix("/v1"))
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        labelled = labeler_of(tmp_path, url=server.url)([note("Has CKD .")])
        assert labelled.counts["aligned"] == 1
        assert proxy.bodies == []
