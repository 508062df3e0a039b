import pytest

from mythos_gate.authn import issuers
from mythos_gate.authn.issuers import Unusable
from mythos_gate.authn.tokens import Claimed
from mythos_gate.errors import Misconfigured
from mythos_gate.terms import Role

GOOD = """
[[issuers]]
issuer = "https://id.example/realm"
audience = "https://gate.example"
algorithms = ["RS256", "ES256"]
leeway = 10
person = { claim = "employee", organization = "acme" }

[[issuers.roles]]
claim = ["realm_access", "roles"]
value = "gate-audit"
role = "auditor"

[[issuers.roles]]
claim = "scope"
value = "gate.ask"
role = "gateway"
models = ["mythos-5"]
organizations = ["acme", "other"]

[[issuers.roles]]
claim = "groups"
value = "admins"
role = "org_admin"
organization_claim = "org"

[[issuers.roles]]
claim = "groups"
value = "export"
role = "officer"
authority = "export-office"

[[issuers.roles]]
claim = "groups"
value = "acme-admins"
role = "org_admin"
organization = "acme"
"""


def read(tmp_path, text=GOOD):
    path = tmp_path / "issuers.toml"
    path.write_text(text)
    return issuers.read(path)


def test_a_file_says_whose_tokens_are_taken_and_how(tmp_path):
    (issuer,) = read(tmp_path)
    assert (issuer.issuer, issuer.audience, issuer.leeway) == ("https://id.example/realm", "https://gate.example", 10)
    assert issuer.algorithms == {"RS256", "ES256"}
    assert issuer.types == {"at+jwt", "jwt"}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('issuer = "https://id.example/realm"', "", "issuers 1, issuer: Field required"),
        ('audience = "https://gate.example"', "", "issuers 1, audience: Field required"),
        ('audience = "https://gate.example"', 'audience = ""', "audience"),
        ('"ES256"]', '"HS256"]', "algorithms"),
        ('"ES256"]', '"none"]', "algorithms"),
        ('["RS256", "ES256"]', "[]", "algorithms"),
        ('algorithms = ["RS256", "ES256"]', "", "algorithms: Field required"),
        ("leeway = 10", "leeway = 61", "leeway"),
        ("leeway = 10", "leeway = -1", "leeway"),
        ("leeway = 10", "leeway = true", "leeway"),
        ("leeway = 10", "types = []", "types"),
        ("leeway = 10", "audiense = 1", "audiense"),
        ("https://id.example/realm", "http://id.example/realm", "is https"),
        ("https://id.example/realm", "https://id.example/?a", "without user"),
        ("https://id.example/realm", "https://a:b@id.example/", "without user"),
        ("https://id.example/realm", "id.example", "is like https"),
        ('role = "auditor"', 'role = "superuser"', "issuers 1, roles 1, role"),
        ('role = "auditor"', "", "issuers 1, roles 1, role: Field required"),
        ('value = "gate-audit"', 'value = ""', "roles 1, value"),
        ('role = "auditor"', 'role = "auditor"\norganization = "acme"', "an org_admin or scim has either"),
        ('role = "auditor"', 'role = "org_admin"', "an org_admin or scim has either"),
        (
            'organization_claim = "org"',
            'organization_claim = "org"\norganization = "acme"',
            "an org_admin or scim has either",
        ),
        ('role = "auditor"', 'role = "officer"', "an officer has an authority"),
        ('role = "auditor"', 'role = "auditor"\nauthority = "a"', "an officer has an authority"),
        ('role = "auditor"', 'role = "auditor"\nmodels = ["m"]', "only a gateway"),
        (', organization = "acme" }', " }", "a person has either"),
        ("[[issuers.roles]]", "[[issuers.rules]]", "roles: Field required"),
        (GOOD, "", "issuers: Field required"),
        (GOOD, "issuers = []", "issuers"),
        (GOOD, "issuers = [", "cannot be read"),
        (GOOD, GOOD + GOOD, "the same issuer"),
    ],
)
def test_a_file_with_something_wrong_is_refused_and_says_where(tmp_path, old, new, told):
    assert old in GOOD
    with pytest.raises(Misconfigured, match=told):
        read(tmp_path, GOOD.replace(old, new))


def test_an_issuer_on_this_machine_may_do_without_tls(tmp_path):
    (issuer,) = read(tmp_path, GOOD.replace("https://id.example/realm", "http://127.0.0.1:8080/realm"))
    assert issuer.issuer == "http://127.0.0.1:8080/realm"


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(Misconfigured, match="cannot be read"):
        issuers.read(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({}, Claimed()),
        ({"groups": ["gate-audit"]}, Claimed()),
        ({"realm_access": {"roles": ["gate-audit", 3]}}, Claimed(frozenset({Role.AUDITOR}))),
        ({"realm_access": {"roles": "gate-audit"}}, Claimed(frozenset({Role.AUDITOR}))),
        ({"realm_access": {"roles": ["gate-auditor"]}}, Claimed()),
        ({"realm_access": ["roles"]}, Claimed()),
        ({"groups": "admins export", "org": "acme"}, Claimed()),
        (
            {"scope": "openid gate.ask"},
            Claimed(frozenset({Role.GATEWAY}), models=("mythos-5",), organizations=("acme", "other")),
        ),
        ({"groups": ["admins"], "org": "other"}, Claimed(frozenset({Role.ORG_ADMIN}), organization="other")),
        ({"groups": ["export"]}, Claimed(frozenset({Role.OFFICER}), authority="export-office")),
        (
            {"groups": ["admins", "acme-admins"], "org": "acme", "employee": "us"},
            Claimed(frozenset({Role.ORG_ADMIN}), organization="acme", person=("acme", "us")),
        ),
    ],
    ids=lambda each: str(each) if isinstance(each, dict) else "",
)
def test_claims_make_of_their_holder_what_the_rules_say_and_nothing_else(tmp_path, claims, expected):
    (issuer,) = read(tmp_path)
    assert issuer.claimed(claims) == expected


@pytest.mark.parametrize(
    "claims",
    [
        {"groups": ["admins"]},
        {"groups": ["admins"], "org": ["acme"]},
        {"groups": ["admins"], "org": "Acme"},
        {"groups": ["admins"], "org": "acme\n"},
        {"groups": ["admins", "acme-admins"], "org": "other"},
        {"groups": ["admins", "export"], "org": "acme"},
        {"groups": ["export"], "realm_access": {"roles": ["gate-audit"]}},
        {"employee": 7},
        {"employee": ""},
        {"employee": "u\x00s"},
        {"employee": "u" * 257},
    ],
    ids=str,
)
def test_claims_that_leave_a_doubt_make_nobody_a_caller(tmp_path, claims):
    (issuer,) = read(tmp_path)
    with pytest.raises(Unusable):
        issuer.claimed(claims)
