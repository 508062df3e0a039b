"""The command line: run the service, load the programme, ask, test policy, hand out keys."""

import asyncio
import importlib
import os
import socket
import sys
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any

import typer
import uvicorn
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from mythos_gate import app as service
from mythos_gate import (
    db,
    demo,
    generate,
    impact_commands,
    import_commands,
    key_commands,
    log_commands,
    logs,
    policy_commands,
    request_commands,
    revision,
    sequencing,
)
from mythos_gate.api import wire
from mythos_gate.db import DbRole
from mythos_gate.errors import Misconfigured, NotFound
from mythos_gate.registry import callers, imports
from mythos_gate.registry.change import Registry
from mythos_gate.settings import Settings
from mythos_gate.terminal import LOCAL, Key, told, with_registry
from mythos_gate.terms import Role
from mythos_gate.workers import Workers

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
database = typer.Typer(no_args_is_help=True, help="The database's schema.")
keys = typer.Typer(no_args_is_help=True, help="API keys. A key is shown once; only its hash is kept.")
app.add_typer(database, name="db")
app.add_typer(keys, name="keys")
impact_commands.register(policy_commands.app)
app.add_typer(policy_commands.app, name="policy")
app.add_typer(request_commands.app, name="requests")
app.add_typer(log_commands.app, name="log")
console = Console()


# --- running --------------------------------------------------------------------------------------------------


@app.command()
def serve(
    host: Annotated[str | None, typer.Option()] = None,
    port: Annotated[int | None, typer.Option()] = None,
    workers: Annotated[int, typer.Option(min=1)] = 1,
    sequencer: Annotated[bool, typer.Option(help="take entries into the log's tree and sign it, too")] = True,
) -> None:
    """Run the service."""
    with told():
        settings = Settings()
        urls = db.role_urls(settings, [*db.SERVING, *([DbRole.SEQUENCER] if sequencer else [])])
        service.digest_key(settings)
        sequencing.vouching(settings)
        service.trusted_by(settings)
        if sequencer:
            sequencing.made(settings)
        if settings.production:
            asyncio.run(db.refuse_owners(urls))
    chosen = (host or settings.host, port or settings.port)
    os.environ |= {"MYTHOS_GATE_HOST": chosen[0], "MYTHOS_GATE_PORT": str(chosen[1])}
    with told():
        if not _free(*chosen):
            raise Misconfigured(f"{chosen[0]}:{chosen[1]} is in use: choose another with --port")
    config = uvicorn.Config(
        "mythos_gate.app:from_environment",
        factory=True,
        host=chosen[0],
        port=chosen[1],
        http=wire.Protocol,
        ws="none",
        access_log=False,
        log_config=logs.config(access=settings.access_log),
        log_level="warning",
        # Nothing is done by a client's address.
        proxy_headers=False,
        server_header=False,
    )
    Workers(config, workers, (lambda: sequencing.run(settings)) if sequencer else None).run()


@app.command("demo")
def run_demo(port: Annotated[int | None, typer.Option()] = None) -> None:
    """Run the service with the demo programme: database, schema, data, a fresh key, and requests to paste."""
    with told():
        settings = Settings()
        chosen = _free_port(settings.host, port or settings.port)
        _prepare(settings)
        key = with_registry(settings, demo.load)
    typer.echo(demo.greeting(f"http://{settings.host}:{chosen}", key))
    sys.stdout.flush()
    serve(settings.host, chosen, 1)


def _free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _free_port(host: str, wanted: int) -> int:
    """The wanted port, or the next free one."""
    for port in range(wanted, wanted + 50):
        if _free(host, port):
            return port
    raise Misconfigured(f"no free port between {wanted} and {wanted + 49}: choose one with --port")


def _prepare(settings: Settings) -> None:
    db.upgrade(db.owner_url(settings))
    service.make_digest_key(settings)
    sequencing.make_keys(settings)
    with_registry(settings, sequencing.announce(settings, LOCAL))


@database.command()
def upgrade() -> None:
    """Bring the schema up to date. Needs the owner's DATABASE_URL, or none for the embedded Postgres."""
    with told():
        _prepare(Settings())
    typer.echo("the schema is up to date")


@database.command("stamp")
def show_stamp(
    expected: Annotated[list[str] | None, typer.Argument(metavar="[N STAMP]", help="as it was told before")] = None,
) -> None:
    """Show the number and the random stamp of the last change; or whether a change of this stamp is in the database.

    After a restore: exit code 1 says that the database is another one, or older than that change.
    """

    async def work(registry: Registry) -> str | None:
        n = int(expected[0]) if expected else None
        async with registry.engine.connect() as connection:
            return await revision.stamp(connection, n)

    if expected and (len(expected) != 2 or not expected[0].isdecimal()):
        raise typer.BadParameter("give both, as `db stamp` showed them")
    with told():
        found = with_registry(Settings(), work)
        if expected and found != " ".join(expected):
            raise NotFound(f"change {expected[0]} is not in this database: it is another one, or an older state")
    typer.echo(f"change {expected[0]} is in this database" if expected else found)


# --- loading --------------------------------------------------------------------------------------------------


@app.command("import")
def import_file(
    what: Annotated[str, typer.Argument(help=f"{', '.join([*imports.KINDS, 'jurisdictions'])}; or a folder of them")],
    key: Key,
    file: Annotated[Path | None, typer.Argument(exists=True, dir_okay=False)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would change, and change nothing")] = False,
    relative: Annotated[
        bool, typer.Option("--relative", help="times may be like now+90d, as in generated files: in the demo's alone")
    ] = False,
    data_version: Annotated[str | None, typer.Option(help="jurisdictions: the data set's version")] = None,
    reviewed_at: Annotated[datetime | None, typer.Option(help="jurisdictions: when it was reviewed, UTC")] = None,
) -> None:
    """Request to import a CSV file, or each of a folder in its order, all or nothing. Importing it again updates.

    It is in force when a second officer approves it; in the demo's database it is at once.
    """
    reviewed = reviewed_at and reviewed_at.replace(tzinfo=UTC)
    with told():
        if what == "jurisdictions" and file is not None:
            data_set = import_commands.DataSet(file.read_bytes(), data_version or file.stem, reviewed, dry_run)
            asked = with_registry(Settings(), lambda registry: import_commands.data_set(registry, key, data_set))
        else:
            batch = import_commands.Batch(import_commands.listed(what, file), dry_run, relative)
            asked = with_registry(Settings(), lambda registry: import_commands.batch(registry, key, batch))
    if asked is not None:
        typer.echo(asked)


@app.command("generate")
def generate_programme(
    folder: Annotated[Path, typer.Argument(file_okay=False)],
    organizations: Annotated[int, typer.Option(min=1, max=5_000)] = 300,
    people: Annotated[int, typer.Option(min=3, max=5_000_000)] = 30_000,
    seed: Annotated[int, typer.Option(help="the same seed gives the same bytes")] = 1,
) -> None:
    """Write an invented programme of realistic proportions.

    Take it into the demo's database with `import FOLDER --relative`.
    """
    with told():
        rows = generate.write(folder, organizations, people, seed)
    typer.echo(", ".join(f"{count} {kind}" for kind, count in rows.items()))


# --- asking ---------------------------------------------------------------------------------------------------


@app.command()
def ask(  # noqa: PLR0917  one option each
    subject: Annotated[str, typer.Argument(help="ORGANIZATION/EXTERNAL_ID or the gate's id")],
    key: Key,
    url: Annotated[str, typer.Option(envvar="MYTHOS_GATE_URL")] = "http://127.0.0.1:8321",
    agent: Annotated[bool, typer.Option("--agent", help="the subject is an agent")] = False,
    capability: str = "vuln-discovery",
    purpose: str = "defensive-own-systems",
    model: str = "mythos-5",
    version: str = "5.1.0",
    country: Annotated[str | None, typer.Option(help="where the request comes from")] = None,
    region: Annotated[str | None, typer.Option(help="ISO 3166-2")] = None,
    endpoint: str | None = None,
    mfa: str = "phishing_resistant",
    break_glass: str | None = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="explain, without an entry or a seat")] = False,
) -> None:
    """Ask the running service, and show its answer. Exit code 0 if allowed, 3 if not."""
    question = {
        "subject": {"type": "agent" if agent else "person", "id": subject},
        "action": {"name": "invoke", "properties": {"capability": capability, "purpose": purpose}},
        "resource": {"type": "model", "id": model, "properties": {"version": version}},
        "context": {
            "location": {"country": country, "region": region},
            "endpoint": endpoint,
            "session": {"mfa": mfa},
            "break_glass": break_glass,
        },
    }
    path = "/v1/explain" if dry_run else "/access/v1/evaluation"
    answered = _sent(url, path, question, key)
    _show(answered, subject, recorded=not dry_run)
    raise typer.Exit(0 if answered["decision"] else 3)


def _sent(url: str, path: str, question: dict[str, Any], key: str) -> dict[str, Any]:
    httpx = importlib.import_module("httpx")  # whoever serves does not wait for it
    try:
        answer = httpx.post(f"{url}{path}", json=question, headers={"Authorization": f"Bearer {key}"}, timeout=10)
        answered: dict[str, Any] = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        typer.echo(f"mythos-gate: {url} does not answer: {error}", err=True)
        raise typer.Exit(1) from error
    if answer.status_code != httpx.codes.OK:
        typer.echo(f"mythos-gate: {answered.get('title')}: {answered.get('detail')}", err=True)
        raise typer.Exit(1)
    return answered


def _show(answered: dict[str, Any], subject: str, *, recorded: bool) -> None:
    context = answered["context"]
    color = "green" if answered["decision"] else "yellow" if context["outcome"] == "hold" else "red"
    said = context["outcome"].replace("_", " ").upper()
    console.print(f"[bold {color}]{said}[/]  {escape(subject)}", highlight=False)
    console.print(
        f"{context['reason_user']['message']} ({context['reason_user']['code']})", markup=False, highlight=False
    )
    if (admin := context.get("reason_admin")) is not None:
        for name in ("codes", "cause", "bypassed", "rows"):
            if admin[name]:
                console.print(f"  {name:9} {', '.join(admin[name])}", highlight=False)
        table = Table("fact", "value", box=None, padding=(0, 2))
        for fact, value in admin["facts"].items():
            table.add_row(fact, value)
        console.print(table)
    kept = f"recorded as {context['id']}" if recorded else "dry run: nothing recorded, no seat claimed"
    console.print(f"{kept}, policy revision {context['policy_revision']}", highlight=False)


# --- keys -----------------------------------------------------------------------------------------------------


# Not needed in the demo's database, and before there is any.
OwnKey = Annotated[str | None, typer.Option("--key", envvar="MYTHOS_GATE_KEY", show_default=False)]


@keys.command("create")
def create_key(  # noqa: PLR0917  one option each
    name: Annotated[str, typer.Argument(help="the person or service that the key belongs to")],
    role: Annotated[list[Role], typer.Option(help="may be given several times")],
    service_key: Annotated[bool, typer.Option("--service", help="a service's key, not a person's")] = False,
    days: Annotated[int | None, typer.Option(help="valid for so many days", min=1, max=3650)] = None,
    organization: Annotated[str | None, typer.Option(help="an org_admin's or scim's own")] = None,
    may_ask_of: Annotated[list[str] | None, typer.Option(help="a gateway's organization; may be given again")] = None,
    may_ask_about: Annotated[list[str] | None, typer.Option(help="a gateway's model; may be given again")] = None,
    authority: Annotated[str | None, typer.Option(help="an officer's own")] = None,
    person: Annotated[str | None, typer.Option(help="ORGANIZATION/EXTERNAL_ID: who they are on record")] = None,
    key: OwnKey = None,
) -> None:
    """Request a key, and show it once: it opens nothing before a second officer approves it.

    The very first is made at once, with the record of whose it is, and so is the second officer's.
    """
    scope = callers.Scope(organization, may_ask_about or None, may_ask_of or None, authority, person)
    expires = None if days is None else datetime.fromtimestamp(datetime.now(UTC).timestamp() + days * 86_400, UTC)
    wanted = key_commands.NewKey(name, role, service_key, expires, scope)
    with told():
        text, asked = with_registry(Settings(), lambda registry: key_commands.create(registry, key, wanted))
    typer.echo(text)
    if asked is not None:
        typer.echo(
            f"it opens nothing until a second officer approves it: mythos-gate requests approve {asked}", err=True
        )


@keys.command("revoke")
def revoke_key(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="as `keys list` shows it")], key: OwnKey = None
) -> None:
    """Revoke a key, from the next request on."""
    with told():
        with_registry(Settings(), lambda registry: key_commands.revoke(registry, key, identifier))
    typer.echo(f"key {identifier} is revoked")


@keys.command("list")
def list_keys(key: OwnKey = None) -> None:
    """List every key: its id, never the key itself."""
    with told():
        rows = with_registry(Settings(), lambda registry: key_commands.listed(registry, key))
    table = Table(Column("id", min_width=16), "name", "kind", "roles", "created", "expires", "revoked", box=None)
    for row in sorted(rows, key=itemgetter("created_at"), reverse=True):
        times = (row[name][:16].replace("T", " ") if row[name] else "-" for name in callers.TIMES)
        table.add_row(row["id"], row["name"], row["kind"], ", ".join(row["roles"]), *times)
    console.print(table)


__all__ = ["app"]
