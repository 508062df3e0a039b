"""`make bench SIZE=impact`: how long it takes to say whom a draft would concern, of everybody and of all who asked."""

import asyncio
import gc
import random
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import orjson
import psycopg

from bench import programme, run
from bench.programme import Size
from bench.run import Say
from mythos_gate import db
from mythos_gate.analysis import impact, traffic
from mythos_gate.analysis.impact import Amended, Draft, Regime, Simulation
from mythos_gate.analysis.population import Class, Population, standing
from mythos_gate.db import DbRole
from mythos_gate.decision import facts
from mythos_gate.decision.policy import Policy, read_files
from mythos_gate.settings import root
from mythos_gate.terms import FACTS, DirectiveClass, Treatment

T = TypeVar("T")
SIZE, DECISIONS = Size(300, 1_000_000), 10_000_000
ASKING = 200_000  # different subjects, about
CHUNK = 250_000  # decisions in a transaction
SEED = 5
WRITER = "pdp-00000000000000be"

# Of 90 days, as the gate writes them: the same members in the same order, as long, and as hard to compress.
FILL = """
INSERT INTO log_entries (id, at, type, writer, n, leaf, body)
SELECT id, at, 'decision', %(writer)s, n, sha256('\\x00'::bytea || body), body FROM (
  SELECT n, id, at, convert_to(v.head || to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || v.facts
    || id || '","log":"bench.local/log","n":' || n || s.organization || v.told || encode(sha256(n::text::bytea), 'hex')
    || v.reasons || md5(n::text) || s.subject, 'UTF8') AS body
  FROM (SELECT n, %(begun)s + n * interval '90 days' / %(count)s AS at,
      (lpad(to_hex((extract(epoch FROM %(begun)s + n * interval '90 days' / %(count)s) * 1000)::bigint), 12, '0')
        || '7000800' || lpad(to_hex(n), 13, '0'))::uuid AS id,
      (hashint8(n)::bigint + 2147483648) %% %(subjects)s AS place
    FROM generate_series(%(first)s::bigint, %(last)s) AS n) AS e
  JOIN bench_subjects s USING (place) JOIN bench_vectors v USING (vector)) AS made
"""
TABLES = """
DROP TABLE IF EXISTS bench_subjects, bench_vectors;
CREATE UNLOGGED TABLE bench_vectors (vector int PRIMARY KEY, head text, facts text, told text, reasons text);
CREATE UNLOGGED TABLE bench_subjects (place bigint PRIMARY KEY, vector int, organization text, subject text)
"""


def measure(state: Path, say: Say, size: Size = SIZE, decisions: int = DECISIONS) -> dict[str, Any]:
    with run.alone(state), run.postgres(state) as (owner, _):
        template = asyncio.run(programme.template(owner, size, state / "scratch" / "generated"))
        url = programme.url_of(owner, template)
        found, population = _of_everybody(url, say)
        database = programme.fresh(owner, template, "impact")
        try:
            found |= _of_traffic(database, population, decisions, say)
        finally:
            programme.drop(owner, database)
    return {"size": "impact", "people": population.people, "agents": population.agents, **found}


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    begun = time.perf_counter()
    done = work()
    return done, time.perf_counter() - begun


def lacking(*rows: str) -> dict[str, str]:
    """The baseline policy's files without some of its rows."""
    files = read_files(root() / "policies")
    lines = files["access.csv"].splitlines(keepends=True)
    return files | {"access.csv": "".join(each for each in lines if each.partition(",")[0] not in rows)}


def without(*rows: str) -> Policy:
    return Policy(lacking(*rows))


# --- everybody ------------------------------------------------------------------------------------------------


def _of_everybody(url: str, say: Say) -> tuple[dict[str, float], Population]:
    """Seconds from nothing to the first report, and to further ones."""
    first, second = without("training-expired"), without("screening-stale", "attestation-missing")
    say("reading everybody")
    population, read = _timed(lambda: asyncio.run(impact.everybody_at(url, [first, second])))
    say("judging everybody")
    gc.collect()
    gc.freeze()
    simulation, judged = _timed(lambda: Simulation(population, lambda *_: None))
    _, reported = _timed(lambda: simulation.impact(Draft(first)))
    again = {}
    for name, draft in (("second", Draft(second)), *_others(population)):
        say(f"another draft: {name}")
        _, again[f"{name}_draft_s"] = _timed(partial(simulation.impact, draft))
    kilobytes = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    figures = {
        "classes": len(population.classes),
        "read_s": read,
        "judged_s": judged,
        "first_draft_s": read + judged + reported,
        **again,
        "memory_mb": kilobytes[0] / 1000,
    }
    return figures, population


def _others(population: Population) -> Iterator[tuple[str, Draft]]:
    """Of each other kind, from what concerns few to what concerns everybody."""
    yield "grant", Draft(grants={min(population.authorities): {"agents": False, "contractors": False}})
    [holding, *_] = next(iter(population.holdings.values()))
    since = facts.Window(datetime(2020, 1, 1, tzinfo=UTC))
    order = facts.Directive(frozenset({"5.0", "5.1"}), DirectiveClass.FOREIGN_PERSONS_OR_ABROAD, since)
    yield "directive", Draft(directives=[Amended(holding.model, None, (order, frozenset()))])
    jurisdictions = holding.records.jurisdictions
    for code in ("AE", "FR"):
        moved = facts.Jurisdictions({**jurisdictions, code: facts.Jurisdiction(Treatment.LISTED, frozenset({"D:4"}))})
        yield f"data_set_{code}", Draft(jurisdictions=moved)
    files = lacking()
    table = files["thresholds.csv"].replace("approvers,2", "approvers,3")
    yield "threshold", Draft(Policy(files | {"thresholds.csv": table}))


# --- all who asked --------------------------------------------------------------------------------------------


def _of_traffic(database: str, population: Population, decisions: int, say: Say) -> dict[str, float]:
    say(f"making a log of {decisions:,} decisions")
    _, filled = _timed(lambda: _fill(database, population, decisions, say))
    found = {"fill_s": filled}
    for name, draft in (("replay", without("training-expired")), ("replay_nothing", without())):
        say("deciding them again")
        told, took = _timed(partial(_replayed, database, draft))
        assert told.figures["decisions"] == decisions
        assert not told.figures["unreadable"] + told.figures["undecidable"]
        found |= {f"{name}_s": took, f"{name}_changed": told.figures["changed"]}
    return found | {"decisions": decisions}


def _replayed(database: str, draft: Policy) -> traffic.Traffic:
    connect = partial(db.connect, database, DbRole.READER)
    return asyncio.run(traffic.replay(connect, draft, None, None, lambda *_: None))


def _fill(database: str, population: Population, decisions: int, say: Say) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(TABLES)
        connection.execute("ALTER TABLE log_entries DISABLE TRIGGER enqueue")
        subjects = _subjects(connection, population)
        common = {"writer": WRITER, "count": decisions, "subjects": subjects, "begun": datetime.now(UTC)}
        with ThreadPoolExecutor(2) as pool:
            for first in pool.map(partial(_write, database, common), range(1, decisions + 1, CHUNK)):
                if first // CHUNK % 8 == 0:
                    say(f"{first - 1:,}")
        connection.execute("DROP TABLE bench_subjects, bench_vectors")
        connection.execute("VACUUM ANALYZE log_entries")


def _write(database: str, common: dict[str, Any], first: int) -> int:
    with psycopg.connect(database) as connection:
        connection.execute("SET synchronous_commit = off")
        connection.execute(FILL, common | {"first": first, "last": min(first + CHUNK - 1, common["count"])})
    return first


def _subjects(connection: psycopg.Connection[Any], population: Population) -> int:
    """Whoever asks, each always the first of the standing requests; how many they are."""
    regime, vectors, place = Regime(population), set[int](), 0
    with connection.cursor().copy("COPY bench_subjects FROM STDIN") as copy:
        for who in _asking(population):
            vector, *_ = regime.answers(who)
            vectors.add(vector)
            for identifier in who.ids:
                copy.write_row((place, vector, *_whose(who, identifier)))
                place += 1
    with connection.cursor().copy("COPY bench_vectors FROM STDIN") as copy:
        for vector in vectors:
            copy.write_row((vector, *_pieces(population.policy, regime.vectors.values(vector))))
    return place


def _asking(population: Population) -> Iterator[Class]:
    drawn, count = random.Random(SEED), 0  # noqa: S311  a sample
    holding = {name for name, each in population.holdings.items() if any(any(standing(one)) for one in each)}
    classes = [who for who in population.classes if who.organization in holding]
    drawn.shuffle(classes)
    for who in classes:
        if count < ASKING and population.endpoints.get(who.organization):
            count += len(who.ids)
            yield who


def _whose(who: Class, identifier: str) -> tuple[str, str]:
    kind = "person" if who.agent is None else "agent"
    subject = orjson.dumps({"id": identifier, "person": identifier, "type": kind}).decode()
    return (
        f',"organization":"{who.organization}",',
        f'","subject":{subject},"type":"decision","v":1,"writer":"{WRITER}"}}',
    )


def _pieces(policy: Policy, values: Sequence[str]) -> tuple[str, str, str, str]:
    """The body but for what each entry has of its own."""
    told = policy.told(dict(zip(FACTS, values, strict=True)))
    action = '{"capability":"vuln-discovery","name":"invoke","purpose":"defensive-own-systems"}'
    resource_ = '{"endpoint":"end_0000000000000000000000","id":"mythos-5","type":"model","version":"5.1.0"}'
    digest = "0" * 64
    logged = told.logged
    caller = f'{{"id":"cal_{"0" * 22}","key":"{"0" * 12}"}}'
    before = f'"bypassed":{logged["bypassed"]},"caller":{caller},"cause":{logged["cause"]},"context":"{digest}"'
    return (
        f'{{"action":{action},"at":"',
        f'",{before},"data_set":"{digest}","facts":{logged["facts"]},"id":"',
        f'"outcome":{logged["outcome"]},"policy":{{"revision":1,"sha256":"{policy.sha256}"}},"prev":"',
        f'","reasons":{logged["reasons"]},"request":"","resource":{resource_},"rows":{logged["rows"]},"salt":"',
    )
