"""Conventions that hold themselves; each first shows that it is not vacuous."""

import importlib.util
import re

from fastapi.routing import APIRoute

from mythos_gate import app, errors, tables
from mythos_gate.api.problems import KINDS
from mythos_gate.decision.policy import Policy, read_files
from mythos_gate.settings import Settings, root
from mythos_gate.terms import FACTS, Permission

# What needs no key; the decision routes read the key together with the records.
PUBLIC = {"/health/live", "/health/ready", "/.well-known/authzen-configuration", "/openapi.json"}
DECIDING = {"/access/v1/evaluation", "/forward-auth", "/v1/explain"}


def _migration():
    path = root() / "migrations" / "versions" / "0002_revision_and_log.py"
    spec = importlib.util.spec_from_file_location("migration", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_error_has_a_status():
    family = {each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.GateError)}
    assert len(family) >= 8
    assert family - {errors.GateError} == set(KINDS)


def test_every_setting_has_a_line_in_the_operations_page():
    page = (root() / "docs" / "operations.md").read_text()
    names = {
        name.upper() if name == "database_url" else f"MYTHOS_GATE_{name.upper()}" for name in Settings.model_fields
    }
    assert len(names) >= 10
    assert sorted(name for name in names if f"`{name}`" not in page) == []


def test_every_table_that_decisions_rest_on_is_kept_and_touches_keys():
    migration = _migration()
    assert {table.name for table in tables.KEPT} == set(migration.KEPT)
    for table in tables.KEPT:
        keys = migration.KEPT[table.name][0].split(", ")
        assert [column.name for column in table.primary_key] == keys, table.name


def test_every_table_that_the_records_statement_reads_touches_keys():
    statement = (root() / "src/mythos_gate/decision/records.py").read_text()
    read = set(re.findall(r"(?:FROM|JOIN) (\w+)", statement)) & set(tables.metadata.tables)
    migration = _migration()
    # Counters and what is known by its content's hash; the revision itself.
    free = {"seat_counts", "policy_revisions", "jurisdictions", "revision", "touched"}
    assert len(read) > 15
    assert read - free <= set(migration.KEPT)


def _routes() -> list[APIRoute]:
    included = [getattr(each, "original_router", None) for each in app.create(Settings()).routes]
    return [route for router in included if router for route in router.routes if isinstance(route, APIRoute)]


def test_every_route_declares_who_may_call():
    routes = _routes()
    assert len(routes) >= 10
    for route in routes:
        if route.path in PUBLIC | DECIDING:
            continue
        permissions = [getattr(each.call, "permission", None) for each in route.dependant.dependencies]
        assert any(isinstance(permission, Permission) for permission in permissions), route.path


def test_every_fact_and_reason_of_the_baseline_is_in_the_vocabulary():
    policy = Policy(read_files(root() / "policies"))
    assert {fact for row in policy.rows for fact in row.cells} <= set(FACTS)
    unused = set(policy.reasons) - {row.reason for row in policy.rows}
    assert unused == {"AGENT_SPONSOR_DENIED", "BREAK_GLASS_NOT_PERMITTED", "NO_APPLICABLE_RULE"}


def test_the_glossary_and_the_reasons_have_no_unnamed_term():
    page = (root() / "docs" / "glossary.md").read_text().lower()
    for term in ("pdp", "pep", "grant", "directive", "deemed export", "foreign person", "entry", "leaf", "seat"):
        assert term in page
