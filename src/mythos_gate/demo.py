"""The demo programme: invented organizations and people, in which each story of the README can be asked."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import func, select, update

from mythos_gate import tables
from mythos_gate.decision.policy import Policy, read_files
from mythos_gate.errors import Misconfigured
from mythos_gate.registry import callers, imports, jurisdictions, officers, policies
from mythos_gate.registry.change import Registry
from mythos_gate.settings import root
from mythos_gate.terms import Role

ACTOR = "demo"
OFFICER = "First Officer"
# Where those who run the programme are on record: who requests or approves a change is somebody.
OFFICE = "programme-office"
# In the order in which they refer to each other.
KINDS = (
    "authorities", "models", "organizations", "ownerships", "people", "grants", "agents", "endpoints", "directives",
    "screenings", "break_glass", "stops",
)  # fmt: skip
# What ends within hours or days is renewed at each start.
SHORT_LIVED = ("agents", "screenings", "break_glass")


async def load(registry: Registry) -> str:
    """Load the programme into an empty database, or rescreen the one loaded before; a fresh key, the last revoked."""
    if await _is_new(registry):
        await _activate_policy(registry)
        for kind in KINDS:
            await _import(registry, kind, _folder().joinpath(f"{kind}.csv").read_bytes())
    else:
        for kind in SHORT_LIVED:
            data = _folder().joinpath(f"{kind}.csv").read_bytes()
            await _import(registry, kind, _without_status(data) if kind == "agents" else data)
    await _review_data(registry)
    await _enrol_officers(registry)
    return await _fresh_key(registry)


async def _is_new(registry: Registry) -> bool:
    """Mark an empty database as the demo's. `Misconfigured` if it holds anything else."""
    async with registry.engine.connect() as connection:
        if (await connection.execute(select(tables.programme.c.demo))).scalar_one():
            complete = select(func.count()).select_from(tables.stops)
            return (await connection.execute(complete)).scalar_one() == 0
        for table in (tables.authorities, tables.organizations, tables.callers):
            if (await connection.execute(select(func.count()).select_from(table))).scalar_one():
                raise Misconfigured("the database holds a programme that is not the demo's: use `mythos-gate serve`")
    async with registry.change("demo_started", ACTOR) as change:
        await change.connection.execute(update(tables.programme).values(demo=True))
    return True


async def _activate_policy(registry: Registry) -> None:
    files = read_files(root() / "policies")
    built = Policy(files)
    async with registry.change("policy_activated", ACTOR) as change:
        await policies.activate(change, built.sha256, files)


async def _enrol_officers(registry: Registry) -> None:
    for name in ("first", "second"):
        async with registry.engine.connect() as connection:
            if await officers.is_enrolled(connection, f"{OFFICE}/{name}"):
                continue
        async with registry.change("imported", ACTOR) as change:
            await officers.enrol(change, f"{OFFICE}/{name}")


async def _import(registry: Registry, kind: str, data: bytes) -> None:
    async with registry.change("imported", ACTOR) as change:
        await imports.load(change, kind, data, now=datetime.now(UTC), relative=True)


async def _review_data(registry: Registry) -> None:
    data = (root() / "policies" / "jurisdictions.csv").read_bytes()
    async with registry.change("imported", ACTOR) as change:
        reviewed = datetime.now(UTC) - timedelta(days=5)
        await jurisdictions.load_data_set(change, data, version="demo", reviewed_at=reviewed)


async def _fresh_key(registry: Registry) -> str:
    async with registry.engine.connect() as connection:
        old = await callers.live_keys_of(connection, OFFICER)
    for identifier in old:
        async with registry.change("key_revoked", ACTOR) as change:
            await callers.revoke_key(change, identifier)
    async with registry.change("key_created", ACTOR) as change:
        roles, scope = [Role.GATEWAY, Role.COMPLIANCE, Role.AUDITOR], callers.Scope(person=f"{OFFICE}/first")
        return (await callers.create_key(change, OFFICER, roles, service=False, scope=scope)).text


def _without_status(data: bytes) -> bytes:
    """Renew what ends by itself, not what was suspended or revoked meanwhile."""
    rows = list(csv.DictReader(io.StringIO(data.decode())))
    out = io.StringIO()
    writer = csv.DictWriter(out, [name for name in rows[0] if name != "status"], extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def _folder() -> Path:
    return root() / "examples" / "demo"


# --- what is printed ------------------------------------------------------------------------------------------


def greeting(url: str, key: str) -> str:
    return f"""
mythos-gate runs at {url}   (stop it with Ctrl-C)

Your key, valid until the next start; only its hash is kept:

  export KEY={key}

A Canadian employee of a listed company asks from Frankfurt: allowed.

{_curl(url, QUESTION_ALLOWED)}

A foreign employee of a partner that only the vendor lists: denied, and why.

{_curl(url, QUESTION_DENIED)}

The entries that they left:   curl -s '{url}/v1/log/entries?type=decision' -H "Authorization: Bearer $KEY"
"""


def _question(subject: str, endpoint: str, country: str) -> dict[str, Any]:
    return {
        "subject": {"type": "person", "id": subject},
        "action": {
            "name": "invoke",
            "properties": {"capability": "vuln-discovery", "purpose": "defensive-own-systems"},
        },
        "resource": {"type": "model", "id": "mythos-5", "properties": {"version": "5.1.0"}},
        "context": {
            "location": {"country": country},
            "endpoint": endpoint,
            "session": {"mfa": "phishing_resistant"},
        },
    }


QUESTION_ALLOWED = _question("northwind-grid/e-1042", "northwind-grid/ep-7", "DE")
QUESTION_DENIED = _question("brindlequay-pay/b-2", "brindlequay-pay/ep-1", "US")


def _curl(url: str, question: dict[str, Any]) -> str:
    return (
        f"  curl -s {url}/access/v1/evaluation -H \"Authorization: Bearer $KEY\" -H 'Content-Type: application/json'"
        f" -d '{json.dumps(question)}'"
    )
