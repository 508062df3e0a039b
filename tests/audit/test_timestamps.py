"""Timestamps: by a real authority (openssl), believed only if they hold, and readable for openssl again."""

import shutil
from datetime import UTC, datetime, timedelta

import pytest

from mythos_gate.audit import exchange, timestamps
from mythos_gate.audit.timestamps import BadTimestamp
from mythos_gate.errors import Misconfigured
from tests.tsa import REPLY, Authority

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl to be the authority"),
]
TEXT = b"test.example/log\n3\nroot\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tsa") / "one")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tsa") / "two")


async def ask(asked, trusted, text=TEXT):
    async with asked.running(), exchange.client() as client:
        return await timestamps.ask(client, timestamps.configured(asked.url, trusted.certificate), text)


async def test_a_token_says_when_and_openssl_agrees(authority):
    token = await ask(authority, authority)
    roots = timestamps.configured("https://tsa.example", authority.certificate).roots
    assert abs(timestamps.verify(token, TEXT, roots) - datetime.now(UTC)) < timedelta(minutes=1)
    assert authority.verifies(timestamps.response(token), TEXT)
    assert not authority.verifies(timestamps.response(token), TEXT + b"x")
    with pytest.raises(BadTimestamp, match="do"):
        timestamps.verify(token, TEXT + b"x", roots)


async def test_a_response_is_laid_around_a_token_as_it_came(authority):
    received = []

    def kept(reply):
        received.append(reply[2])
        return reply

    authority.lie = kept
    token = await ask(authority, authority)
    authority.lie = lambda reply: reply
    assert received == [timestamps.response(token)]


def test_a_response_is_laid_around_a_token_of_any_length():
    for size in (1, 120, 123, 124, 250, 251, 252, 65_530, 65_531, 70_000):
        made = timestamps.response(bytes(size))
        body = timestamps.GRANTED + bytes(size)
        count = made[1] & 0x7F if made[1] & 0x80 else 0
        assert made[2 + count :] == body
        assert int.from_bytes(made[2 : 2 + count]) == len(body) if count else made[1] == len(body)


def _flipped(reply):
    """One bit of the signature, which stands at the end."""
    return reply[0], reply[1], reply[2][:-1] + bytes([reply[2][-1] ^ 1])


LIES = {
    "an altered token": _flipped,
    "nothing": lambda r: (200, REPLY, b""),
    "no token": lambda r: (200, REPLY, b"<html>"),
    "a refusal": lambda r: (200, REPLY, bytes.fromhex("30053003020102")),
    "half of one": lambda r: (200, REPLY, r[2][: len(r[2]) // 2]),
    "an error": lambda r: (500, REPLY, r[2]),
    "elsewhere": lambda r: (302, REPLY, r[2]),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
async def test_what_does_not_hold_is_not_taken(authority, lie):
    authority.lie = lie
    try:
        with pytest.raises(BadTimestamp):
            await ask(authority, authority)
    finally:
        authority.lie = lambda reply: reply


async def test_a_token_of_another_text_or_an_earlier_request_is_not_taken(authority):
    await ask(authority, authority)
    earlier = authority.stamp(authority.asked[-1])
    await ask(authority, authority, b"another")
    other = authority.stamp(authority.asked[-1])
    for given in (earlier, other):
        authority.lie = lambda reply, given=given: (200, REPLY, given)
        with pytest.raises(BadTimestamp):
            await ask(authority, authority)
    authority.lie = lambda reply: reply


async def test_an_authority_that_is_not_trusted_is_not_believed(authority, stranger):
    with pytest.raises(BadTimestamp):
        await ask(stranger, authority)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "tsa.example",
        "ftp://tsa.example",
        "https://",
        "https://u:p@tsa.example",
        "https://tsa.example:99999",
        "http://[",
        "https://a b",
    ],
)
def test_a_url_that_is_none_is_refused_at_the_start(authority, url):
    with pytest.raises(Misconfigured, match="TIMESTAMP_URL"):
        timestamps.configured(url, authority.certificate)


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_roots_that_are_none_are_refused_at_the_start(tmp_path, content):
    if content is not None:
        (tmp_path / "roots").write_bytes(content)
    with pytest.raises(Misconfigured, match="TIMESTAMP_ROOTS"):
        timestamps.configured("https://tsa.example", tmp_path / "roots")
