"""The tree: every committed entry gets one place, heads only grow, and what was tampered with stays out."""

import asyncio
import json
import secrets
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import asyncpg
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mythos_gate import db
from mythos_gate.audit import checkpoint, entry, merkle, reading, sequencer
from mythos_gate.audit.entry import leaf_hash, uuid7
from mythos_gate.audit.merkle import Unproven
from mythos_gate.audit.note import BadNote, SignerKey
from mythos_gate.audit.reading import Filters
from mythos_gate.audit.sequencer import Overtaken, Sequencer, Tampered
from mythos_gate.audit.signer import Signer
from mythos_gate.db import DbRole
from mythos_gate.errors import Misconfigured
from tests.service import ENTRY

pytestmark = pytest.mark.anyio
ORIGIN = "test.example/log"
LOST_THE_RACE = (Overtaken, asyncpg.UniqueViolationError)


class Log:
    """A database with a log, seen as its owner: who may do everything but what triggers forbid."""

    def __init__(self, database):
        self.database = database
        self.writers = {}

    def sql(self, statement, *values):
        with psycopg.connect(self.database, autocommit=True) as owner:
            cursor = owner.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def add(self, count, writer="pdp-0123456789abcdef", connection=None):
        rows = [self._row(writer) for _ in range(count)]
        if connection is not None:
            connection.cursor().executemany(ENTRY, rows)
            return
        with psycopg.connect(self.database) as owner:
            owner.cursor().executemany(ENTRY, rows)

    def _row(self, writer):
        n, prev = self.writers.get(writer, (0, None))
        now = datetime.now(UTC)
        identifier = uuid7(now, secrets.token_bytes(10))
        columns = {"id": identifier, "at": entry.timestamp(now), "type": "test", "writer": writer, "n": n + 1}
        body = entry.canonical(columns | {"v": 1, "prev": prev and prev.hex()})
        self.writers[writer] = (n + 1, leaf_hash(body))
        return identifier, now, "test", writer, n + 1, leaf_hash(body), body

    def insert(self, identifier, at, body, n=1, writer="pdp-fedcba9876543210", role=None, kind="test"):
        """As whoever has the login of a role, and nothing of the gate."""
        with psycopg.connect(self.database, autocommit=True) as login:
            if role is not None:
                login.execute(f"SET ROLE {role}")
            login.execute(ENTRY, (identifier, at, kind, writer, n, leaf_hash(body), body))

    def placed(self):
        """(index, body) of every leaf, by index."""
        return self.sql(
            "SELECT l.index, e.body FROM log_leaves l LEFT JOIN log_entries e ON e.id = l.id AND e.at = l.at ORDER BY 1"
        )

    def verify(self):
        """Every entry that is not queued is at one place, and places, tiles, head and checkpoint say the same."""
        placed = self.placed()
        [(entries,)] = self.sql("SELECT count(*) FROM log_entries")
        [(queued,)] = self.sql("SELECT count(*) FROM log_queue")
        assert [index for index, _ in placed] == list(range(entries - queued))
        leaves = [leaf_hash(body) for _, body in placed]
        frontier = merkle.Frontier()
        tiles = {
            (level, index): hashes for level, index, hashes in self.sql("SELECT level, index, hashes FROM log_tiles")
        }
        for level, hashes in frontier.append(leaves).items():
            for at in range(0, len(hashes), 256):
                assert tiles.pop((level, at // 256)) == b"".join(hashes[at : at + 256])
        assert not tiles
        assert self.sql("SELECT size, root FROM log_head") == [(len(leaves), frontier.root())]
        self._verify_writers([json.loads(body) for _, body in placed])
        return len(leaves), frontier.root()

    def _verify_writers(self, bodies):
        last: dict[str, tuple[int, str | None]] = {}
        for body in bodies:
            n, leaf = last.get(body["writer"], (0, None))
            assert (body["n"], body["prev"]) == (n + 1, leaf), body
            last[body["writer"]] = (n + 1, leaf_hash(entry.canonical(body)).hex())


@pytest.fixture
def log(database):
    return Log(database)


@pytest.fixture
def key():
    return SignerKey(ORIGIN, Ed25519PrivateKey.generate())


@asynccontextmanager
async def sequencing(log, folder, key, role=DbRole.SEQUENCER):
    made = Sequencer(lambda: db.connect(log.database, role), Signer(lambda: [key], ORIGIN, folder / "head"), ORIGIN)
    try:
        assert await made.lead()
        yield made
    finally:
        await made.close()


def signed(log):
    return [note for (note,) in log.sql("SELECT note FROM log_checkpoints ORDER BY size")]


@pytest.mark.parametrize("sizes", [[1], [255, 1, 1], [256], [300, 700], [3, 0, 65], [70_000, 1]])
async def test_every_entry_gets_one_place_and_every_head_is_signed(log, tmp_path, key, sizes):
    async with sequencing(log, tmp_path, key) as made:
        for size in sizes:
            log.add(size)
            await made.step()
    size, root = log.verify()
    assert size == sum(sizes)
    head = checkpoint.opened(signed(log)[-1], key.verifier, ORIGIN)
    assert (head.size, head.root) == (size, root)
    heads = [checkpoint.opened(note, key.verifier, ORIGIN) for note in signed(log)]
    leaves = [leaf_hash(body) for _, body in log.placed()]
    for each in heads:  # a step that takes longer than a second signs heads on its way
        frontier = merkle.Frontier()
        frontier.append(leaves[: each.size])
        assert each.root == frontier.root()
    assert {sum(sizes[: number + 1]) for number in range(len(sizes))} <= {each.size for each in heads}


async def test_an_empty_log_is_not_signed_and_a_head_is_signed_once(log, tmp_path, key):
    async with sequencing(log, tmp_path, key) as made:
        assert await made.step() == 0
        log.add(2)
        assert [await made.step(), await made.step()] == [2, 2]
    assert len(signed(log)) == 1


async def test_a_transaction_that_commits_late_is_not_lost(log, tmp_path, key):
    """Its ids are lower than those of what was taken in before it was seen."""
    async with sequencing(log, tmp_path, key) as made:
        with psycopg.connect(log.database) as slow:
            log.add(2, "pdp-aaaaaaaaaaaaaaaa", slow)
            log.add(3, "pdp-bbbbbbbbbbbbbbbb")
            assert await made.step() == 3
            log.add(1, "pdp-bbbbbbbbbbbbbbbb")
            assert await made.step() == 4
        assert await made.step() == 6
    log.verify()


async def test_what_was_rolled_back_leaves_no_place(log, tmp_path, key):
    async with sequencing(log, tmp_path, key) as made:
        with psycopg.connect(log.database) as undone:
            log.add(2, "pdp-aaaaaaaaaaaaaaaa", undone)
            undone.rollback()
        log.add(1)
        assert await made.step() == 1
    log.verify()


async def test_a_batch_ends_and_the_next_one_begins(log, tmp_path, key, monkeypatch):
    monkeypatch.setattr(sequencer, "BATCH", 100)
    async with sequencing(log, tmp_path, key) as made:
        log.add(1050)
        assert await made.step() == 1050
    log.verify()


async def test_one_leads_and_the_next_takes_over(log, tmp_path, key):
    async with sequencing(log, tmp_path, key) as first:
        other = Sequencer(lambda: db.connect(log.database, DbRole.SEQUENCER), first._signer, ORIGIN)
        log.add(3)
        assert not await other.lead()
        assert await other.step() == 0
        assert await first.step() == 3
        await first.close()
        log.add(300)
        assert await other.lead()
        assert await other.step() == 303
        await other.close()
    log.verify()


async def test_two_that_both_believe_to_lead_lose_and_double_nothing(log, tmp_path, key):
    async with sequencing(log, tmp_path, key) as first:
        second = Sequencer(lambda: db.connect(log.database, DbRole.SEQUENCER), first._signer, ORIGIN)
        await second.lead()
        second.leads = True  # the lock was lost and nobody noticed
        log.add(3)
        assert [await first.step(), await second.step()] == [3, 3]
        log.add(4)
        assert await first.step() == 7
        log.add(5)
        with pytest.raises(LOST_THE_RACE):
            await second.step()
        assert await second.step() == 12
        with pytest.raises(LOST_THE_RACE):
            log.add(1)
            await first.step()
        await second.close()
    log.verify()


async def test_a_head_that_somebody_moved_is_not_moved_on(log, tmp_path, key):
    async with sequencing(log, tmp_path, key) as made:
        log.add(3)
        await made.step()
        unguarded(log, "UPDATE log_head SET root = sha256('x')")
        log.add(1)
        with pytest.raises(Overtaken):
            await made.step()
    assert log.sql("SELECT count(*) FROM log_leaves") == [(3,)]


async def test_a_failure_before_the_commit_takes_back_all_of_it(log, tmp_path, key, monkeypatch):
    async with sequencing(log, tmp_path, key) as made:
        log.add(300)
        await made.step()
        log.add(300)
        with monkeypatch.context() as broken:
            broken.setattr(sequencer, "MOVE", "SELECT 1 / 0 WHERE $1::bigint > $3::bigint AND $2::bytea <> $4::bytea")
            with pytest.raises(Exception, match="division"):
                await made.step()
        log.verify()
        assert await made.step() == 600
    log.verify()


async def test_a_commit_whose_answer_was_lost_is_not_done_twice(log, tmp_path, key):
    async with sequencing(log, tmp_path, key) as made:
        log.add(300)
        real = made._integrate

        async def lost():
            await real()
            made._tree = None
            raise ConnectionError

        made._integrate = lost
        with pytest.raises(ConnectionError):
            await made.step()
        made._integrate = real
        assert await made.step() == 300
    log.verify()


async def test_a_head_that_was_signed_and_not_stored_is_stored_at_the_next_start(log, tmp_path, key, monkeypatch):
    monkeypatch.setattr(sequencer, "SIGNED", "SELECT 1 / 0 WHERE $1::bigint > 0 AND $2::bytea <> ''")
    async with sequencing(log, tmp_path, key) as made:
        log.add(3)
        with pytest.raises(Exception, match="division"):
            await made.step()
    monkeypatch.undo()
    async with sequencing(log, tmp_path, key) as made:
        assert await made.step() == 3
    assert len(signed(log)) == 1


# --- tampering ------------------------------------------------------------------------------------------------


def unguarded(log, statement, *values):
    """As a superuser who switches triggers and checks off."""
    with psycopg.connect(log.database, autocommit=True) as owner:
        owner.execute("SET session_replication_role = replica")
        for table in ("log_entries", "log_tiles", "log_head", "log_leaves", "log_checkpoints"):
            owner.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        owner.execute("ALTER TABLE log_entries DROP CONSTRAINT IF EXISTS ck_log_entries_leaf")
        owner.execute(statement, values)
        for table in ("log_entries", "log_tiles", "log_head", "log_leaves", "log_checkpoints"):
            owner.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("UPDATE log_entries SET body = %s WHERE n = 2", "the entry is not what its leaf says"),
        ("DELETE FROM log_entries WHERE body <> %s AND n = 2", "the entry is gone"),
    ],
)
async def test_what_was_changed_before_it_was_taken_in_stays_out_and_in_sight(
    log, tmp_path, key, statement, why, caplog
):
    log.add(3)
    unguarded(log, statement, b"{}")
    async with sequencing(log, tmp_path, key) as made:
        assert await made.step() == 2
        log.add(1)
        assert await made.step() == 3
    assert [refused for (refused,) in log.sql("SELECT refused FROM log_queue")] == [why]
    assert f"the log was tampered with: {why}" in caplog.text


async def test_an_id_is_in_the_tree_once(log, tmp_path, key, caplog):
    """The key of an entry is (id, at): whoever has the service's login can write one id twice."""
    identifier, moments = (
        uuid7(datetime.now(UTC), bytes(10)),
        [datetime.now(UTC) + timedelta(seconds=n) for n in (1, 2, 3)],
    )
    bodies = [saying(at=entry.timestamp(moment), id=identifier, n=n) for n, moment in enumerate(moments, 1)]
    async with sequencing(log, tmp_path, key) as made:
        for n in (0, 1):
            log.insert(identifier, moments[n], bodies[n], n + 1, role=DbRole.SERVICE.value)
        log.add(2)
        assert await made.step() in {0, 3}
        assert await made.step() == 3
        log.insert(identifier, moments[2], bodies[2], 3, role=DbRole.SERVICE.value)
        log.add(1)
        await made.step()
        assert await made.step() == 4
    assert [body for _, body in log.placed()].count(bodies[0]) == 1
    assert log.sql("SELECT refused, count(*) FROM log_queue GROUP BY 1") == [("the entry has the id of another one", 2)]
    assert caplog.text.count("the log was tampered with: the entry has the id of another one") == 2


IDENTIFIER = "01234567-89ab-7def-8123-0123456789ab"


MOMENT = datetime.now(UTC)


def saying(**members):
    columns = {
        "at": entry.timestamp(MOMENT),
        "id": IDENTIFIER,
        "n": 1,
        "type": "test",
        "writer": "pdp-fedcba9876543210",
    }
    return entry.canonical(columns | members)


WHOLE = saying()


def further(text):
    """A body with more in it, whatever that is."""
    return WHOLE[:-1] + text + b"}"


@pytest.mark.parametrize(
    ("body", "is_taken"),
    [
        (WHOLE, True),
        (further(rb',"x":"\\\\u0000"'), True),  # a backslash and more, no NUL
        (further(b',\n"x":1'), False),
        (further(b',"x":"\xff"'), False),
        (further(rb',"x":"\u0000"'), False),
        (further(rb',"x":"\\\\\u0000"'), False),
        (further(rb',"x":"\ud800"'), False),
        (b"[" + WHOLE + b"]", False),
        (WHOLE[:-1], False),
        (further(b', "x":1'), False),
        (further(b',"x":1e-20000'), False),
        (further(b',"x":' + b"[" * 300 + b"]" * 300), False),
        (further(b',"x":' + b"[" * 2_000 + b"]" * 2_000), False),
        (WHOLE.replace(b'"n":1', b'"n":true'), False),
        (WHOLE.replace(b'"id"', b'"ix"'), False),
        *((saying(**{name: value}), False) for name, value in {
            "id": "x" + IDENTIFIER, "n": 2, "type": "policy_activated", "writer": "registry", "at": "2999-01-01T00:00:00.000000Z",
        }.items()),
    ],
)  # fmt: skip
async def test_what_lists_and_exports_could_not_show_stays_out_and_in_sight(
    log, service_reader, tmp_path, key, body, is_taken, caplog
):
    log.insert(IDENTIFIER, MOMENT, body, role=DbRole.SERVICE.value)
    log.add(1)
    async with sequencing(log, tmp_path, key) as made:
        assert await made.step() == 1 + is_taken
    assert await service_reader() == 1 + is_taken
    why = "the entry cannot be read back, or is not what its columns say"
    assert [refused for (refused,) in log.sql("SELECT refused FROM log_queue")] == [why] * (not is_taken)
    assert (why in caplog.text) == (not is_taken)


@pytest.fixture
def service_reader(log):
    """Reads everything in the tree with a filter that looks into the bodies."""

    async def read():
        engine = db.engine(log.database, DbRole.READER, pool_size=1)
        async with engine.connect() as connection:
            whole, _ = await reading.page(connection, 0, 10, 10, Filters())
            narrowed, _ = await reading.page(connection, 0, 10, 10, Filters(caller="nobody"))
        await engine.dispose()
        assert narrowed == []
        return len([reading.members(leaf.body) for leaf in whole])

    return read


class Silent:
    """A connection that answers nothing any more after so many statements."""

    def __init__(self, connection, after):
        self._connection, self._after = connection, after

    def __getattr__(self, name):
        found = getattr(self._connection, name)
        if name not in {"fetch", "fetchrow", "fetchval", "execute", "executemany"}:
            return found

        async def asked(*arguments):
            self._after -= 1
            if self._after < 0:
                await asyncio.sleep(3_600)
            return await found(*arguments)

        return asked


@pytest.mark.parametrize("after", range(10))
async def test_a_connection_that_falls_silent_is_given_up(log, tmp_path, key, monkeypatch, after):
    monkeypatch.setattr(sequencer, "PATIENCE", 0.2)
    monkeypatch.setattr(sequencer, "EVERY", 0.05)
    connections = []

    async def connect():
        made = await db.connect(log.database, DbRole.SEQUENCER)
        connections.append(made)
        return Silent(made, after if len(connections) == 1 else 1_000)

    made = Sequencer(connect, Signer(lambda: [key], ORIGIN, tmp_path / "head"), ORIGIN)
    running = asyncio.create_task(made.run())
    log.add(3)
    async with asyncio.timeout(10):
        while not signed(log) or len(connections) < 2:
            if after >= 8 and signed(log):
                log.add(1)
            await asyncio.sleep(0.05)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await made.close()
    for each in connections:
        each.terminate()
    log.verify()


async def test_the_server_notices_a_leader_whose_host_is_gone(log):
    connection = await db.connect(log.database, DbRole.SEQUENCER)
    names = ("tcp_user_timeout", "idle_in_transaction_session_timeout")
    found = await connection.fetch("SELECT name, source FROM pg_settings WHERE name = ANY ($1)", names)
    await connection.close()
    assert {row["name"]: row["source"] for row in found} == dict.fromkeys(names, "client")


async def test_no_function_looks_into_temporary_tables_first(log):
    """Or whoever has the service's login makes a table `log_queue` of its own, and its entries are queued there."""
    searching = log.sql(
        "SELECT proname, proconfig::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
        " AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')"
    )
    assert {"enqueue", "bump_revision", "prune_log"} < {name for name, _ in searching}
    assert [name for name, set_ in searching if '"search_path=public, pg_temp"' not in (set_ or "")] == []
    with psycopg.connect(log.database, autocommit=True) as login:
        login.execute("SET ROLE mythos_gate_service")
        login.execute("CREATE TEMPORARY TABLE log_queue (id int, entry_id uuid, at timestamptz)")
        login.execute("GRANT INSERT ON log_queue TO PUBLIC")
        body = entry.canonical({"id": IDENTIFIER})
        login.execute(
            "INSERT INTO log_entries (id, at, type, writer, n, leaf, body)"
            " VALUES (%s, now(), 'test', 'pdp-fedcba9876543210', 1, %s, %s)",
            (IDENTIFIER, leaf_hash(body), body),
        )
    assert log.sql("SELECT entry_id::text FROM log_queue") == [(IDENTIFIER,)]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE log_tiles SET hashes = substr(hashes, 33) WHERE level = 0 AND index = 2",
        "UPDATE log_tiles SET hashes = overlay(hashes PLACING '\\x00'::bytea FROM 5) WHERE level = 0 AND index = 2",
        "DELETE FROM log_tiles WHERE level = 1",
        "UPDATE log_head SET root = sha256('x')",
        "UPDATE log_head SET size = size - 1",
    ],
)
async def test_tiles_and_head_that_contradict_each_other_are_not_built_upon(log, tmp_path, key, statement):
    async with sequencing(log, tmp_path, key) as made:
        log.add(600)
        await made.step()
    unguarded(log, statement)
    log.add(1)
    before = signed(log)
    async with sequencing(log, tmp_path, key) as made:
        with pytest.raises(Tampered):
            await made.step()
    assert signed(log) == before


async def test_a_log_that_was_wound_back_or_forked_is_not_signed(log, tmp_path, key):
    async with sequencing(log, tmp_path, key) as made:
        log.add(5)
        await made.step()
    for table in ("log_leaves", "log_tiles", "log_checkpoints", "log_queue", "log_entries"):
        unguarded(log, f"DELETE FROM {table}")
    unguarded(log, "UPDATE log_head SET size = 0, root = sha256('')")
    log.writers.clear()
    for count in (3, 7):  # fewer than were signed, then more
        log.add(count)
        async with sequencing(log, tmp_path, key) as made:
            with pytest.raises(Unproven):
                await made.step()
    assert signed(log) == []


async def test_without_its_file_the_signer_goes_on_from_what_is_published_if_it_signed_that(log, tmp_path, key):
    async with sequencing(log, tmp_path / "one", key) as made:
        log.add(5)
        await made.step()
    log.add(1)
    async with sequencing(log, tmp_path / "two", key) as made:
        assert await made.step() == 6
    unguarded(log, "UPDATE log_checkpoints SET note = %s WHERE size = 6", signed(log)[1][:-10] + b"AAAAAAAA=\n")
    log.add(1)
    async with sequencing(log, tmp_path / "three", key) as made:
        with pytest.raises(BadNote):
            await made.step()


async def test_nothing_is_signed_without_a_key(log, tmp_path, key):
    made = Sequencer(
        lambda: db.connect(log.database, DbRole.SEQUENCER), Signer(list, ORIGIN, tmp_path / "head"), ORIGIN
    )
    log.add(1)
    await made.lead()
    with pytest.raises(Misconfigured):
        await made.step()
    await made.close()


async def test_while_a_key_is_replaced_both_sign(log, tmp_path, key):
    new = SignerKey(ORIGIN, Ed25519PrivateKey.generate())
    made = Sequencer(
        lambda: db.connect(log.database, DbRole.SEQUENCER),
        Signer(lambda: [key, new], ORIGIN, tmp_path / "head"),
        ORIGIN,
    )
    log.add(1)
    await made.lead()
    await made.step()
    await made.close()
    for each in (key, new):
        assert checkpoint.opened(signed(log)[0], each.verifier, ORIGIN).size == 1


# --- what the roles may do ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE log_leaves SET index = index + 10",
        "DELETE FROM log_leaves",
        "TRUNCATE log_leaves",
        "DELETE FROM log_tiles",
        "TRUNCATE log_tiles",
        "UPDATE log_tiles SET hashes = substr(hashes, 1, 32)",
        "UPDATE log_tiles SET hashes = sha256('x')",
        "UPDATE log_tiles SET index = 7",
        "INSERT INTO log_head (one, size, root) VALUES (false, 1, sha256(''))",
        "DELETE FROM log_head",
        "TRUNCATE log_head",
        "UPDATE log_head SET size = size - 1",
        "UPDATE log_head SET root = sha256('x')",
        "DELETE FROM log_checkpoints",
        "TRUNCATE log_checkpoints",
        "UPDATE log_checkpoints SET note = 'x'",
        "UPDATE log_checkpoints SET size = 1",
    ],
)
async def test_even_the_owner_cannot_take_anything_back(log, tmp_path, key, statement):
    async with sequencing(log, tmp_path, key) as made:
        log.add(3)
        await made.step()
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match=r"append-only|only grows|only gains"):
        log.sql(statement)


@pytest.mark.parametrize("role", [DbRole.SERVICE, DbRole.READER, DbRole.COMPLIANCE])
@pytest.mark.parametrize("table", ["log_queue", "log_leaves", "log_tiles", "log_head", "log_checkpoints"])
@pytest.mark.parametrize("what", ["INSERT", "UPDATE", "DELETE", "TRUNCATE"])
async def test_only_the_sequencer_writes_the_tree(log, role, table, what):
    assert log.sql("SELECT has_table_privilege(%s, %s, %s)", role.value, table, what) == [(False,)]


async def test_the_sequencer_writes_no_entries_and_reads_no_records(log):
    may = "SELECT has_table_privilege('mythos_gate_sequencer', %s, %s) OR has_any_column_privilege('mythos_gate_sequencer', %s, %s)"
    tables = [
        name
        for (name,) in log.sql(
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
        )
    ]
    assert {"people", "nationality_records", "log_entries"} < set(tables)
    tree = {"log_queue", "log_leaves", "log_tiles", "log_head", "log_checkpoints", "log_timestamps"}
    allowed = tree | {"log_entries", "alembic_version"}
    for table in set(tables) - allowed:
        assert log.sql(may, table, "SELECT", table, "SELECT") == [(False,)], table
    assert log.sql("SELECT has_table_privilege('mythos_gate_sequencer', 'log_entries', 'INSERT')") == [(False,)]
