"""Tokens that are forged, stale, of another's or for another's; and an issuer that is away, slow, or tells nonsense."""

import asyncio
import base64
import hmac
import time
import warnings
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from mythos_gate.audit import exchange
from mythos_gate.authn import issuers, oidc, tokens
from mythos_gate.authn.api_keys import Caller, Stored
from mythos_gate.authn.tokens import Names
from mythos_gate.errors import NotAuthenticated, NotDecided
from mythos_gate.terms import Role
from tests.issuer import AUDIENCE, CONFIGURATION, JWKS, Issuer

pytestmark = pytest.mark.anyio
DIGEST_KEY = bytes(32)
RSA = RSAKey.generate_key(2048)
with warnings.catch_warnings(action="ignore"):
    SMALL_RSA = RSAKey.generate_key(1024)
ALGORITHMS = ["ES256", "ES384", "RS256", "PS256", "EdDSA", "Ed25519"]


@contextmanager
def _quiet():
    """joserfc warns of keys that nobody should use, which is the point of a test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def encoded(content):
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def text(members):
    return encoded(orjson.dumps(members))


class Clock:
    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


def trusted(issuer, **members):
    rule = {"claim": "scope", "value": "gate.ask", "role": "gateway"}
    known = {"issuer": issuer.url, "audience": AUDIENCE, "algorithms": ALGORITHMS, "roles": [rule]}
    return issuers.Issuer.model_validate(known | members)


@asynccontextmanager
async def reading(issuer, clock=None, pace=None, **members):
    async with exchange.client() as client:
        yield oidc.Reader([trusted(issuer, **members)], Names(DIGEST_KEY), client, pace, clock or Clock())


@pytest.fixture
async def issuer():
    async with Issuer().running() as running:
        yield running


async def refused(issuer, token, caplog, reason, **members):
    async with reading(issuer, **members) as reader:
        assert await reader.read(issuer.token())  # all but this is right
        caplog.clear()
        with pytest.raises(NotAuthenticated) as raised:
            await reader.read(token)
    assert str(raised.value) == "the token is not valid"
    assert reason in caplog.text
    assert token[:40] not in caplog.text


async def test_a_good_token_is_read(issuer):
    now = int(time.time())
    async with reading(issuer) as reader:
        found = await reader.read(issuer.token(iat=now, exp=now + 60, scope="openid gate.ask"))
    assert found.not_before == datetime.fromtimestamp(now - 30, UTC)
    assert found.expires_at == datetime.fromtimestamp(now + 90, UTC)
    said = orjson.loads(found.id)
    assert (said["roles"], said["key"]) == (["gateway"], oidc.key_name(issuer.url))
    assert said["id"] == Names(DIGEST_KEY).of(issuer.url, "somebody")
    assert said["id"].startswith("tok_")
    assert "somebody" not in found.id


async def test_a_holder_is_one_caller_whatever_the_token_and_another_at_another_issuer_or_gate(issuer):
    async with reading(issuer) as reader:
        ids = [orjson.loads((await reader.read(issuer.token(jti=jti))).id)["id"] for jti in ("1", "2")]
    assert ids[0] == ids[1]
    others = {
        Names(key).of(url, sub) for key in (bytes(32), bytes([1] * 32)) for url in ("a", "b") for sub in ("c", "d")
    }
    assert len(others) == 8


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        ("RS256", RSA),
        ("PS256", RSA),
        ("ES384", ECKey.generate_key("P-384")),
        ("Ed25519", OKPKey.generate_key("Ed25519")),
        ("EdDSA", OKPKey.generate_key("Ed25519")),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
async def test_each_pinned_algorithm_is_read(issuer, algorithm, key):
    issuer.keys["k2"] = key
    async with reading(issuer) as reader:
        assert await reader.read(issuer.token("k2", {"alg": algorithm}))


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"iss": "http://127.0.0.1:1"}, "issuer is not configured"),
        ({"iss": None}, "issuer is no text"),
        ({"iss": 5}, "issuer is no text"),
        ({"iss": ["https://id.example"]}, "issuer is no text"),
        ({"aud": "https://another.example"}, "audience is another"),
        ({"aud": None}, "audience is another"),
        ({"aud": ["https://another.example"]}, "audience is another"),
        ({"aud": {AUDIENCE: 1}}, "audience is another"),
        ({"aud": f"{AUDIENCE}/"}, "audience is another"),
        ({"exp": None}, "missing, or none"),
        ({"exp": "9999999999"}, "missing, or none"),
        ({"exp": True}, "missing, or none"),
        ({"exp": 1e300}, "missing, or none"),
        ({"exp": 2**80}, "missing, or none"),
        ({"iat": None}, "missing, or none"),
        ({"iat": -1}, "missing, or none"),
        ({"nbf": "now"}, "missing, or none"),
        ({"exp": 2**34}, "good for more than"),
        ({"sub": None}, "subject is no text"),
        ({"sub": ""}, "subject is no text"),
        ({"sub": "x" * 257}, "subject is no text"),
    ],
    ids=lambda each: str(each)[:60] if isinstance(each, dict) else "",
)
async def test_wrong_claims_are_refused(issuer, caplog, claims, reason):
    await refused(issuer, issuer.token(**claims), caplog, reason)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"typ": None}, "type is not"),
        ({"typ": "dpop+jwt"}, "type is not"),
        ({"typ": ["at+jwt"]}, "type is not"),
        ({"crit": ["b64"], "b64": True}, "critical"),
        ({"crit": []}, "critical"),
        ({"kid": None}, "key id is no text"),
        ({"kid": "k2"}, "no such key"),
        ({"kid": "k" * 257}, "key id is no text"),
        ({"kid": ["k1"]}, "key id is no text"),
    ],
    ids=str,
)
async def test_wrong_headers_are_refused(issuer, caplog, header, reason):
    head = {"alg": "ES256", "kid": "k1", "typ": "at+jwt", **header}
    said = f"{text({name: value for name, value in head.items() if value is not None})}.{text(issuer.claims())}"
    # Rightly signed, so that it is the header which is wrong.
    signature = encoded(JWSRegistry.algorithms["ES256"].sign(said.encode(), issuer.keys["k1"]))
    await refused(issuer, f"{said}.{signature}", caplog, reason)


@pytest.mark.parametrize("kind", ["AT+JWT", "application/at+jwt", "JWT"])
async def test_a_type_is_told_as_media_types_are(issuer, kind):
    async with reading(issuer) as reader:
        assert await reader.read(issuer.token(header={"typ": kind}))


async def test_a_changed_claim_breaks_the_signature(issuer, caplog):
    head, _, signature = issuer.token().split(".")
    payload = text(issuer.claims(scope="gate.ask"))
    await refused(issuer, f"{head}.{payload}.{signature}", caplog, "signature is wrong")


async def test_another_key_under_the_same_name_is_no_key(issuer, caplog):
    forger = Issuer(port=issuer.port)
    await refused(issuer, forger.token(), caplog, "signature is wrong")


async def test_a_signature_is_not_to_be_left_out(issuer, caplog):
    head, payload, _ = issuer.token().split(".")
    await refused(issuer, f"{head}.{payload}.", caplog, "signature is wrong")


async def test_the_public_key_is_no_secret_for_an_hmac(issuer, caplog):
    for secret in (issuer.keys["k1"].as_pem(private=False), orjson.dumps(issuer.published()[0])):
        said = f"{text({'alg': 'HS256', 'kid': 'k1', 'typ': 'at+jwt'})}.{text(issuer.claims())}"
        token = f"{said}.{encoded(hmac.digest(secret, said.encode(), 'sha256'))}"
        await refused(issuer, token, caplog, "algorithm is not")


async def test_a_token_without_a_signature_is_none(issuer, caplog):
    head = text({"alg": "none", "kid": "k1", "typ": "at+jwt"})
    payload = text(issuer.claims())
    await refused(issuer, f"{head}.{payload}.", caplog, "algorithm is not")


async def test_an_algorithm_that_is_not_pinned_is_refused_though_the_key_would_fit(issuer, caplog):
    issuer.keys["k2"] = RSA
    token = issuer.token("k2", {"alg": "PS256"})
    await refused(issuer, token, caplog, "algorithm is not", algorithms=["ES256", "RS256"])


async def test_a_key_is_used_with_its_own_algorithm_alone(issuer, caplog):
    issuer.keys["k2"] = RSA
    issuer.lie = lambda path, reply: (
        (200, reply[1].replace(b'"kid":"k2"', b'"kid":"k2","alg":"RS256"')) if path == JWKS else reply
    )
    await refused(issuer, issuer.token("k2", {"alg": "PS256"}), caplog, "no such key")


@pytest.mark.parametrize(
    ("key", "members"),
    [
        (SMALL_RSA, {}),
        (RSA, {"use": "enc"}),
        (RSA, {"key_ops": ["sign"]}),
        (RSA, {"e": 5}),
        (RSA, {"n": "!"}),
        (RSA, {"kty": "oct", "k": "c2VjcmV0"}),
        (RSA, {"kty": ["RSA"]}),
        (RSA, {"d": RSA.as_dict(private=True)["d"]}),
    ],
    ids=["too short", "for encryption", "for signing", "numbers", "no base64", "symmetric", "no type", "private"],
)
async def test_a_published_key_that_cannot_be_used_hurts_no_other(issuer, caplog, key, members):
    issuer.keys["k2"] = key
    publish = issuer.published
    issuer.published = lambda: [
        "no key",
        {},
        *({**each, **(members if each["kid"] == "k2" else {})} for each in publish()),
    ]
    with _quiet():
        token = issuer.token("k2", {"alg": "RS256"})
    await refused(issuer, token, caplog, "no such key")


@pytest.mark.parametrize("token", ["a.b", "a.b.c.d.e", "..", "é.b.c", "a b.c.d", "bm8.bm8.bm8", "W10.W10.W10"], ids=str)
async def test_what_is_no_token_is_refused(issuer, caplog, token):
    async with reading(issuer) as reader:
        with pytest.raises(NotAuthenticated, match=r"^the token is not valid$"):
            await reader.read(token)
    assert issuer.asked == []


async def test_what_is_too_long_is_not_looked_at(issuer, caplog):
    await refused(issuer, issuer.token(note="x" * 8_192), caplog, "more than 8192")


async def test_deep_nesting_is_refused(issuer, caplog):
    deep = encoded(b"[" * 3_000)
    await refused(issuer, f"{deep}.{deep[:2000]}.eA", caplog, "cannot be read")


# --- the issuer's keys ------------------------------------------------------------------------------------------


async def test_keys_are_read_once(issuer):
    async with reading(issuer) as reader:
        for _ in range(3):
            await reader.read(issuer.token())
    assert issuer.asked == [CONFIGURATION, JWKS]


async def test_a_new_key_is_found_at_once_and_unknown_ones_are_looked_up_once_in_a_while(issuer):
    clock = Clock()
    async with reading(issuer, clock) as reader:
        await reader.read(issuer.token())
        clock.now += 31
        issuer.keys["k2"] = ECKey.generate_key("P-256")
        assert await reader.read(issuer.token("k2"))
        assert issuer.asked_for_keys == 2
        for _ in range(20):
            with pytest.raises(NotAuthenticated):
                await reader.read(issuer.token(header={"kid": "made-up"}))
        assert issuer.asked_for_keys == 2
        clock.now += 31
        with pytest.raises(NotAuthenticated):
            await reader.read(issuer.token(header={"kid": "made-up"}))
        assert issuer.asked_for_keys == 3


async def test_many_who_wait_have_the_keys_read_once(issuer):
    issuer.delay = 0.1
    async with reading(issuer) as reader:
        found = await asyncio.gather(*(reader.read(issuer.token(sub=f"s{n}")) for n in range(20)))
    assert len({each.id for each in found}) == 20
    assert issuer.asked_for_keys == 1


async def test_a_key_that_is_published_no_more_is_good_until_the_keys_are_read_anew(issuer):
    clock = Clock()
    async with reading(issuer, clock) as reader:
        old = issuer.token()
        assert await reader.read(old)
        issuer.keys = {"k2": ECKey.generate_key("P-256")}
        clock.now += 31
        assert await reader.read(issuer.token("k2"))
        with pytest.raises(NotAuthenticated):
            await reader.read(old)


async def test_keys_are_read_anew_though_nobody_asks(issuer):
    pace = oidc.Pace(fresh=0.02)
    async with reading(issuer, time.monotonic, pace) as reader:
        running = asyncio.create_task(reader.run())
        while issuer.asked_for_keys < 3:
            await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.wait([running])


async def test_known_keys_are_good_for_an_hour_while_the_issuer_is_away(issuer, caplog):
    clock = Clock()
    async with reading(issuer, clock) as reader:
        assert await reader.read(issuer.token())
        issuer.lie = lambda _path, _reply: (500, b"")
        clock.now += 3_599
        assert await reader.read(issuer.token())
        # Whether a key that is not known is one of theirs, nobody knows.
        with pytest.raises(NotDecided):
            await reader.read(issuer.token(header={"kid": "new"}))
        clock.now += 1
        for _ in range(3):
            with pytest.raises(NotDecided):
                await reader.read(issuer.token())
        clock.now += 31
        issuer.lie = lambda _path, reply: reply
        assert await reader.read(issuer.token())
    assert "it answers 500" in caplog.text


async def test_while_keys_are_read_anew_known_ones_are_used(issuer):
    clock = Clock()
    async with reading(issuer, clock) as reader:
        assert await reader.read(issuer.token())
        clock.now += 31
        issuer.delay = 0.5
        slow = asyncio.create_task(reader.read(issuer.token(header={"kid": "made-up"})))
        await asyncio.sleep(0.05)
        began = time.monotonic()
        assert await reader.read(issuer.token())
        assert time.monotonic() - began < 0.2
        assert not slow.done()
        with pytest.raises(NotAuthenticated):
            await slow


def _configuration(**members):
    return lambda path, reply: (200, orjson.dumps(orjson.loads(reply[1]) | members)) if path == CONFIGURATION else reply


@pytest.mark.parametrize(
    "lie",
    [
        _configuration(issuer="https://another.example"),
        _configuration(issuer=None),
        _configuration(jwks_uri=None),
        _configuration(jwks_uri="http://id.example/keys"),
        _configuration(jwks_uri="file:///etc/passwd"),
        _configuration(jwks_uri="https://[/"),
        _configuration(jwks_uri="https://127.0.0.1:1x/"),
        lambda path, reply: (302, reply[1]),
        lambda path, reply: (302, reply[1]) if path == JWKS else reply,
        lambda path, reply: (200, b"{") if path == JWKS else reply,
        lambda path, reply: (200, b"[]") if path == JWKS else reply,
        lambda path, reply: (200, b'{"keys": {}}') if path == JWKS else reply,
        lambda path, reply: (200, orjson.dumps({"keys": [{}] * 101})) if path == JWKS else reply,
        lambda path, reply: (200, b" " * 65_536 + reply[1]) if path == JWKS else reply,
    ],
    ids=[
        "another issuer's configuration", "of nobody", "no place for keys", "keys without TLS", "keys in a file",
        "no URL", "no port", "a redirect", "keys elsewhere", "no JSON", "no object", "no list", "too many", "too large",
    ],
)  # fmt: skip
async def test_an_issuer_that_tells_nonsense_has_no_keys(issuer, caplog, lie):
    issuer.lie = lie
    async with reading(issuer) as reader:
        with pytest.raises(NotDecided):
            await reader.read(issuer.token())
    assert "cannot be read" in caplog.text


async def test_an_issuer_that_is_slow_holds_nobody_up_for_long(issuer):
    issuer.delay = 30
    async with reading(issuer, pace=oidc.Pace(patience=0.1)) as reader:
        began = time.monotonic()
        with pytest.raises(NotDecided):
            await reader.read(issuer.token())
    assert time.monotonic() - began < 2


async def test_an_issuer_elsewhere_does_not_send_the_gate_to_this_machine():
    assert oidc._is_as_safe("https://keys.example/jwks", "https://id.example")
    assert oidc._is_as_safe("http://127.0.0.1:5/jwks", "http://localhost:5")
    assert not oidc._is_as_safe("http://127.0.0.1:5/jwks", "https://id.example")


# --- with what is on record -------------------------------------------------------------------------------------

NOW = datetime(2026, 11, 24, tzinfo=UTC)
TOKEN = tokens.Token("{}", NOW - timedelta(minutes=1), NOW + timedelta(minutes=1))
KNOWN = Stored(Caller("tok_1", "tok_1", "iss_1", frozenset({Role.AUDITOR})), "")


def test_a_token_makes_its_holder_the_caller_that_is_on_record():
    assert tokens.verify(TOKEN, KNOWN, NOW) == KNOWN.caller


@pytest.mark.parametrize(
    ("stored", "now", "reason"),
    [
        (None, NOW, "not on record"),
        (Stored(KNOWN.caller, "", gone=True), NOW, "has left"),
        (KNOWN, TOKEN.expires_at, "expired"),
        (KNOWN, TOKEN.not_before - timedelta(microseconds=1), "not valid yet"),
    ],
    ids=["of nobody", "of somebody who has left", "just expired", "of tomorrow"],
)
def test_a_token_does_not_pass(caplog, stored, now, reason):
    with pytest.raises(NotAuthenticated, match=r"^the token is not valid$"):
        tokens.verify(TOKEN, stored, now)
    assert reason in caplog.text
