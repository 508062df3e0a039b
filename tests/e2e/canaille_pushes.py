"""Canaille, which knows the gate as a client that it trusts: whatever it saves, it pushes. Run by its own Python.

Arguments: where the gate's SCIM is, and the key.
"""

import sys
from datetime import UTC, datetime

from canaille import create_app
from canaille.app import models
from canaille.backends import Backend

NAMES = ("zora", "nell", "ivo")


def saved(kind, **attributes):
    made = kind(**attributes)
    Backend.instance.save(made)
    return made


def introduce(url, key):
    """The gate, and the token that Canaille sends it."""
    now = datetime.now(UTC)
    named = {"client_id": "gate", "client_name": "gate", "client_id_issued_at": now}
    client = saved(models.Client, client_uri=url, redirect_uris=["https://gate.example"], **named)
    token = {"access_token": key, "token_id": "t", "refresh_token": "r", "scope": ["openid"], "lifetime": 3600}
    saved(models.Token, client=client, audience=[client], subject=None, issue_date=now, **token)


def push():
    """Three people; one is locked then, and one is deleted; the other two are in a group."""
    people = [
        saved(models.User, user_name=name, formatted_name=f"{name} Quill", family_name="Quill", emails=[f"{name}@acme.example"])
        for name in NAMES
    ]  # fmt: skip
    _, locked, deleted = people
    Backend.instance.delete(deleted)
    Backend.instance.update(locked, lock_date=datetime.now(UTC))
    Backend.instance.save(locked)
    saved(models.Group, display_name="analysts", members=people[:2])


application = create_app(
    {
        "SECRET_KEY": "for this run alone",
        "SERVER_NAME": "id.example",
        "CANAILLE": {"DATABASE": "memory"},
        "CANAILLE_OIDC": {"TRUSTED_DOMAINS": ["127.0.0.1"]},
        "CANAILLE_SCIM": {"ENABLE_CLIENT": True},
    }
)
with application.app_context(), Backend.instance.session():
    introduce(*sys.argv[1:])
    push()
