"""AuthZEN metadata (1.0, section 9): what is offered, where, and signed by whom."""

import subprocess
import warnings
from contextlib import asynccontextmanager

import orjson
import pytest
from joserfc import jwt
from joserfc.errors import BadSignatureError, SecurityWarning
from joserfc.jwk import ECKey, OKPKey

from mythos_gate.api import metadata
from mythos_gate.errors import Misconfigured
from mythos_gate.settings import Settings
from tests.service import Service

pytestmark = pytest.mark.anyio
PATH = "/.well-known/authzen-configuration"
KEY = OKPKey.generate_key("Ed25519", private=True)


@asynccontextmanager
async def serving(database, tmp_path, **settings):
    async with Service.running(database, tmp_path, **settings) as running:
        yield running.client


def expected(base):
    return {
        "policy_decision_point": base,
        "access_evaluation_endpoint": f"{base}/access/v1/evaluation",
        "access_evaluations_endpoint": f"{base}/access/v1/evaluations",
        "search_subject_endpoint": f"{base}/access/v1/search/subject",
        "search_resource_endpoint": f"{base}/access/v1/search/resource",
        "search_action_endpoint": f"{base}/access/v1/search/action",
    }


async def test_every_endpoint_is_named_as_configured_whatever_the_host(database, tmp_path):
    async with serving(database, tmp_path, public_url="https://pdp.example") as client:
        answer = await client.get(PATH, headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        assert answer.json() == expected("https://pdp.example")
        assert answer.headers["cache-control"] == "max-age=300"
        assert (await client.get(f"{PATH}/tenant1")).status_code == 404


async def test_every_endpoint_is_there(database, tmp_path):
    async with serving(database, tmp_path) as client:
        told = (await client.get(PATH)).json()
        assert told == expected("http://127.0.0.1:8321")
        for name, url in told.items():
            if name != "policy_decision_point":
                path = url.removeprefix(told["policy_decision_point"])
                assert (await client.post(path)).status_code == 401, name
                assert (await client.get(path)).status_code == 405, name


@pytest.mark.parametrize("tenant", ["tenant1", "a/b"])
async def test_a_path_stands_behind_the_well_known_one(database, tmp_path, tenant):
    async with serving(database, tmp_path, public_url=f"https://pdp.example/{tenant}") as client:
        assert (await client.get(f"{PATH}/{tenant}")).json() == expected(f"https://pdp.example/{tenant}")
        for other in ("tenant2", f"{tenant}/x", "a", "", "a//b", "%00", "x" * 1000, "%ED%A0%80"):
            answer = await client.get(f"{PATH}/{other}")
            assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json"), other


def test_the_identifier_is_told_as_it_was_configured():
    told = metadata.made(Settings(public_url="https://pdp.example/t/"))
    assert told == expected("https://pdp.example/t") | {"policy_decision_point": "https://pdp.example/t/"}


@pytest.mark.parametrize(
    "url",
    [
        "pdp.example",
        "ftp://pdp.example",
        "https://",
        "https:///x",
        "https://pdp.example?",
        "https://a/b#c",
        "https://[::1",
    ],
)
def test_what_is_no_identifier_is_refused_at_the_start(url):
    with pytest.raises(Misconfigured, match="MYTHOS_GATE_PUBLIC_URL"):
        metadata.made(Settings(public_url=url))


def verified(token, key):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        return jwt.decode(token, key, algorithms=["EdDSA"])


@pytest.mark.parametrize("form", ["PEM", "JWK"])
async def test_signed_metadata_says_the_same_under_the_configured_key(database, tmp_path, form):
    path = tmp_path / "metadata.key"
    path.write_bytes(KEY.as_pem(private=True) if form == "PEM" else orjson.dumps(KEY.as_dict(private=True)))
    async with serving(database, tmp_path, public_url="https://pdp.example/t", metadata_key=path) as client:
        answers = [(await client.get(each)).json() for each in (PATH, f"{PATH}/t", PATH)]
    assert answers[0] == answers[1] == answers[2]
    told = verified(answers[0].pop("signed_metadata"), KEY)
    assert answers[0] == expected("https://pdp.example/t")
    assert told.claims == {"iss": "https://pdp.example/t"} | answers[0]
    assert (told.header["alg"], told.header["kid"]) == ("EdDSA", KEY.thumbprint())


def test_another_key_or_a_changed_value_does_not_verify(tmp_path):
    path = tmp_path / "metadata.key"
    path.write_bytes(KEY.as_pem(private=True))
    token = metadata.made(Settings(metadata_key=path))["signed_metadata"]
    head, body, seal = token.split(".")
    for spoiled, key in ((token, OKPKey.generate_key("Ed25519")), (f"{head}.{body[:-2]}AA.{seal}", KEY)):
        with pytest.raises(BadSignatureError):
            verified(spoiled, key)


def test_a_key_that_openssl_made_signs(tmp_path):
    """As docs/operations.md says."""
    path = tmp_path / "metadata.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", path], check=True, capture_output=True)
    public = subprocess.run(["openssl", "pkey", "-in", path, "-pubout"], check=True, capture_output=True).stdout
    token = metadata.made(Settings(metadata_key=path))["signed_metadata"]
    assert verified(token, OKPKey.import_key(public)).claims["iss"] == "http://127.0.0.1:8321"


UNUSABLE = {
    "nothing": "",
    "no key": "secret",
    "a public PEM": KEY.as_pem(private=False).decode(),
    "an X25519 key": OKPKey.generate_key("X25519", private=True).as_pem(private=True).decode(),
    "an EC key": ECKey.generate_key("P-256", private=True).as_pem(private=True).decode(),
    "no JWK": "{}",
    "broken JSON": "{",
    "a letter": "é",
}


@pytest.mark.parametrize("text", UNUSABLE.values(), ids=list(UNUSABLE))
def test_a_key_that_cannot_sign_is_refused_at_the_start(tmp_path, text):
    path = tmp_path / "metadata.key"
    path.write_text(text)
    with pytest.raises(Misconfigured, match="MYTHOS_GATE_METADATA_KEY"):
        metadata.made(Settings(metadata_key=path))


def test_a_key_that_is_not_there_is_refused_at_the_start(tmp_path):
    with pytest.raises(Misconfigured, match="MYTHOS_GATE_METADATA_KEY"):
        metadata.made(Settings(metadata_key=tmp_path / "none"))
