"""May notes or phrases be sent to this address?  Loopback: yes.  Elsewhere: only if the recipe says so, word for word.

The data use agreements of MIMIC and its like forbid sharing rows, and PhysioNet advises local models (its post on
responsible use, September 2025), so nothing is sent until a person writes the sentence into the recipe.  An address
must have one plain form, a scheme, a host, a port, a path: what has a user name, a query, a backslash or a number in
disguise (`0x7f.1`) is refused before any parser can read it differently.  Left out: a tunnel whose near end is a
loopback port looks like this machine; names other than `localhost` are never looked up, whatever they resolve to.
"""

import ipaddress
import re
import socket
from dataclasses import dataclass

from ckd_dist.config import Endpoint


@dataclass(frozen=True)
class Sending:
    """What would be sent, by whom, and the sentence that allows it."""

    who: str
    what: str
    allowed: str


ALLOWED = "the data use agreement of these notes allows this endpoint"
NOTES = Sending("labeler", "notes", ALLOWED)
PHRASES = Sending("embedding", "phrases", "the data use agreement of these records allows this endpoint")
PLAIN = re.compile(
    r"(?P<scheme>https?)://(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[a-z0-9][a-z0-9.-]*))(?::(?P<port>[0-9]{1,5}))?"
    r"(?:/[a-z0-9._~/-]*)?",
    re.ASCII | re.IGNORECASE,
)


def check_egress(settings: Endpoint, sending: Sending = NOTES) -> None:
    """Raise ValueError for an endpoint off this machine without the sentence that allows it, or without https."""
    parts = PLAIN.fullmatch(settings.url)
    if parts is None:
        raise ValueError(
            f"the url of {sending.who} {settings.name!r} is not of the form http://HOST:PORT/PATH; user names, queries "
            "and signs beyond letters, digits and .~_- are refused: write it plainly"
        )
    if is_loopback(settings.url):
        return
    host = parts["v6"] or parts["name"]
    if settings.egress != sending.allowed:
        raise ValueError(
            f"{sending.who} {settings.name!r} would send {sending.what} to {host}, which is not this machine: use a "
            f'server on 127.0.0.1, or, if it is true, set its egress to exactly "{sending.allowed}"'
        )
    if parts["scheme"].lower() != "https":
        raise ValueError(f"{sending.who} {settings.name!r} would send {sending.what} to {host} unencrypted: use https")


def is_loopback(url: str) -> bool:
    """Say whether a plain address is this machine alone: 127.0.0.0/8, ::1, or localhost where it resolves to them."""
    parts = PLAIN.fullmatch(url)
    if parts is None:
        return False
    if parts["name"] and parts["name"].lower() == "localhost":
        return _resolves_to_loopback(int(parts["port"] or 80))
    return _is_loopback_number(parts["v6"] or parts["name"])


def _is_loopback_number(host: str) -> bool:
    """Say so of numbers in their usual form alone: 2130706433, 0x7f.1 and 127.1 are names here, hence elsewhere."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _resolves_to_loopback(port: int) -> bool:
    try:
        places = socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return bool(places) and all(_is_loopback_number(place[4][0]) for place in places)
