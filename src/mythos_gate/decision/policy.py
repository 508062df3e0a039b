"""The decision table, decided by Casbin: from a fact vector to a decision with its reasons."""

import csv
import hashlib
import io
import itertools
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import casbin
import orjson
from casbin.effect import Effector
from casbin.persist import Adapter

from mythos_gate.audit.entry import canonical
from mythos_gate.decision import thresholds
from mythos_gate.decision.facts import Vector
from mythos_gate.errors import Invalid
from mythos_gate.terms import FACTS, Outcome, Tier

FILES = ("model.conf", "access.csv", "reasons.csv", "messages.csv")
OPTIONAL = (thresholds.FILE,)  # revisions of before there was one are what they were
COLUMNS = ("row", "priority", "tier", "effect", "disposition", "reason", "bypassable", "when")
ALLOW, BROKEN_GLASS, NO_RULE = "ALLOW", "ALLOW_BREAK_GLASS", "NO_APPLICABLE_RULE"
# Facts about the sponsor: for an agent, their hits count as one.
SPONSOR_TIERS = frozenset({Tier.PERSON, Tier.RELATIONSHIP, Tier.OBLIGATIONS})
SPONSOR_DENIED = "AGENT_SPONSOR_DENIED"
SPONSOR_PRIORITY = 82
NEVER_BYPASSABLE = (("nationality", "embargoed"), ("location", "embargoed"))

# Casbin logs every denied request with its facts; the gate has a log of its own.
logging.getLogger("casbin").disabled = True


@dataclass(frozen=True, slots=True)
class Row:
    """One line of access.csv. `cells`: for each fact that the row names, the values for which it holds."""

    row: str
    priority: int
    tier: Tier
    effect: str
    disposition: Outcome
    reason: str
    bypassable: bool
    when: str
    cells: Mapping[str, frozenset[str]]

    def holds(self, facts: Vector) -> bool:
        return all(facts[fact] in values for fact, values in self.cells.items())


@dataclass(frozen=True, slots=True)
class Reason:
    """What a code means and what each audience sees of it."""

    code: str
    meaning: str
    subject_sees: str
    message: str
    org_admin_sees: str
    how_to_fix: str
    fixer: str


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer. `codes`: the first tier with a hit; `rows`: every matching row of the table."""

    outcome: Outcome
    codes: tuple[str, ...]
    cause: tuple[str, ...] = ()
    bypassed: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()

    @property
    def allowed(self) -> bool:
        return self.outcome == Outcome.ALLOW

    @property
    def primary(self) -> str:
        return self.codes[0]


@dataclass(frozen=True, slots=True)
class Told:
    """What is the same for everybody whose facts are the same: the decision, and how it is told.

    `logged`: members of the entry as JSON. `user` and `admin`: the reasons for everybody, and for those who may see
    facts, rows and all codes.
    """

    decision: Decision
    reason: Reason
    outcome: str
    logged: Mapping[str, str]
    user: orjson.Fragment
    admin: orjson.Fragment

    @classmethod
    def of(cls, decision: Decision, reason: Reason, facts: Vector) -> "Told":
        outcome = "allow_break_glass" if decision.codes == (BROKEN_GLASS,) else decision.outcome.value.lower()
        user = {"code": reason.subject_sees, "message": reason.message}
        admin: dict[str, Any] = {
            "primary": decision.primary,
            "codes": decision.codes,
            "cause": decision.cause,
            "bypassed": decision.bypassed,
            "rows": decision.rows,
            "facts": facts,
        }
        logged = {name: admin[name] for name in ("facts", "rows", "cause", "bypassed")}
        logged |= {"outcome": outcome, "reasons": decision.codes}
        return cls(
            decision,
            reason,
            outcome,
            {name: canonical(value).decode() for name, value in logged.items()},
            orjson.Fragment(orjson.dumps(user)),
            orjson.Fragment(orjson.dumps(admin)),
        )


@dataclass(frozen=True, slots=True)
class _Hit:
    """A deny that counts, as it is reported."""

    tier: Tier
    priority: int
    code: str
    outcome: Outcome


REMEMBERED = 16_384  # answers; a million people have about a thousand vectors


def _holding(rows: Sequence[Row], fact: str, value: str) -> int:
    """A bit for each row that holds as far as this fact goes."""
    return sum(1 << at for at, row in enumerate(rows) if value in row.cells.get(fact, (value,)))


class Policy:
    """An immutable revision, validated and compiled once."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self.sha256 = content_hash(files)
        self.rows = parse_table(files["access.csv"])
        self.reasons = parse_reasons(files["reasons.csv"], files["messages.csv"])
        check(self.rows, self.reasons)
        self.thresholds = thresholds.parse(files.get(thresholds.FILE))
        self._by_when = {row.when: row for row in self.rows}
        self._order = {row.row: index for index, row in enumerate(self.rows)}
        self._holding = {fact: {value: _holding(self.rows, fact, value) for value in FACTS[fact]} for fact in FACTS}
        self._enforcer = self._compile(files["model.conf"])
        self._remembered = lru_cache(REMEMBERED)(self._tell)
        self._probe()

    def decide(self, facts: Vector) -> Decision:
        """Deny for every rule that matches, so that one answer tells the whole story."""
        return self.told(facts).decision

    def told(self, facts: Vector) -> Told:
        """The decision with how it is told.

        An answer follows from the vector and this revision alone, neither of which changes: it is remembered for the
        next subject with the same facts.
        """
        values = tuple(map(facts.get, FACTS))
        if len(facts) != len(FACTS) or None in values:
            raise Invalid(f"the vector must name every fact: {', '.join(sorted(facts.keys() ^ FACTS.keys()))}")
        return self._remembered(values)

    def _tell(self, values: tuple[str, ...]) -> Told:
        facts = dict(zip(FACTS, values, strict=True))
        decision = self._decide(facts)
        return Told.of(decision, self.reasons[decision.primary], facts)

    def _decide(self, facts: Vector) -> Decision:
        for fact, value in facts.items():
            if value not in FACTS[fact]:
                raise Invalid(f"{fact} is never {value!r}")
        bypass = facts["break_glass"] == "active"
        allowed, counted = self._enforce(facts, bypass=bypass)
        passed_over = self._passed_over(facts, bypass=bypass)
        return self._decided(facts, allowed=allowed, counted=counted, passed_over=passed_over)

    def _decided(self, facts: Vector, *, allowed: bool, counted: Sequence[Row], passed_over: Sequence[Row]) -> Decision:
        bypassed = codes_of(passed_over)
        rows = tuple(row.row for row in self._sorted([*counted, *passed_over]))
        denies = [row for row in counted if row.effect == "deny"]
        if allowed:
            code = BROKEN_GLASS if bypassed else ALLOW
            return Decision(Outcome.ALLOW, (code,), (), bypassed, rows)
        if not denies:
            return Decision(Outcome.DENY, (NO_RULE,), (), bypassed, rows)
        hits, cause = _hits(denies, by_agent=facts["subject"] == "agent")
        first = min((hit.tier for hit in hits), key=list(Tier).index)
        reported = sorted((hit for hit in hits if hit.tier == first), key=lambda hit: hit.priority)
        codes = [hit.code for hit in reported]
        if facts["break_glass"] == "active":
            codes.append("BREAK_GLASS_NOT_PERMITTED")
        return Decision(reported[0].outcome, tuple(dict.fromkeys(codes)), cause, bypassed, rows)

    def by_table(self, facts: Vector) -> Decision:
        """The same answer from the rows alone, and much faster: for whoever asks about everybody, not to decide.

        Casbin's answer is held against this one each time that it decides.
        """
        bypass = facts["break_glass"] == "active"
        counted, passed_over = self._counted(facts, bypass=bypass), self._passed_over(facts, bypass=bypass)
        allowed = {row.effect for row in counted} == {"allow"}
        return self._decided(facts, allowed=allowed, counted=counted, passed_over=passed_over)

    def _counted(self, facts: Vector, *, bypass: bool) -> list[Row]:
        return [row for row in self._matching(facts) if not (bypass and row.bypassable)]

    def _passed_over(self, facts: Vector, *, bypass: bool) -> list[Row]:
        return [row for row in self._matching(facts) if row.bypassable] if bypass else []

    def _matching(self, facts: Vector) -> list[Row]:
        """In the table's order: the bits that are left of all rows once each fact has taken those that it excludes."""
        left = -1
        for fact, rows in self._holding.items():
            left &= rows[facts[fact]]
        found = []
        while left:
            found.append(self.rows[(left & -left).bit_length() - 1])
            left &= left - 1
        return found

    def all_codes(self, decision: Decision) -> tuple[str, ...]:
        """The codes of every row that denies, the reported ones first: the whole list of what to mend."""
        matching = [row for row in self.rows if row.row in decision.rows and row.effect == "deny"]
        return tuple(dict.fromkeys([*decision.codes, *codes_of(matching)]))

    def _sorted(self, rows: Iterable[Row]) -> list[Row]:
        return sorted(rows, key=lambda row: self._order[row.row])

    def _enforce(self, facts: Vector, *, bypass: bool) -> tuple[bool, list[Row]]:
        """Casbin's answer and the rows that it counted, held against the table: a model must not fail open."""
        hits: list[str] = []
        allowed = self._enforcer.enforce(facts, bypass, hits)
        counted = self._counted(facts, bypass=bypass)
        effects = {row.effect for row in counted}
        # Casbin asks in the order of priorities, whatever the table's.
        if sorted(hits, key=self._order.__getitem__) != [row.row for row in counted] or allowed != (
            effects == {"allow"}
        ):
            raise Invalid("model.conf: the model does not decide as its table says")
        return allowed, counted

    def _probe(self) -> None:
        """Ask once about every row, with and without a break-glass, before the policy is accepted."""
        for row in self.rows:
            facts = {fact: min(row.cells.get(fact, values)) for fact, values in FACTS.items()}
            for bypass in (False, True):
                self._enforce(facts, bypass=bypass)

    def _compile(self, model: str) -> Any:
        try:
            enforcer = casbin.Enforcer(casbin.Enforcer.new_model(text=model), _Rows(self.rows))
        except (TypeError, KeyError, AttributeError, RuntimeError) as error:
            raise Invalid("model.conf: is no Casbin model with requests, policies, an effect and a matcher") from error
        enforcer.add_function("holds", lambda facts, when: self._by_when[when].holds(facts))
        enforcer.add_function("noted", lambda hits, row: hits.append(row) is None)
        # The stock effector stops at the first deny; every matching row is wanted.
        enforcer.eft = _Whole(enforcer.eft)
        return enforcer


def read_files(folder: Path) -> dict[str, str]:
    """The files of a revision; `Invalid` names a missing one."""
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise Invalid(f"{folder}: {missing[0]} is missing")
    there = [name for name in (*FILES, *OPTIONAL) if (folder / name).is_file()]
    return {name: (folder / name).read_text(encoding="utf-8") for name in there}


def content_hash(files: Mapping[str, str]) -> str:
    """SHA-256 over the files in a fixed order, each with its name and its length in bytes."""
    digest = hashlib.sha256()
    for name in (*FILES, *(name for name in OPTIONAL if name in files)):
        content = files[name].encode()
        digest.update(f"{name}\n{len(content)}\n".encode() + content)
    return digest.hexdigest()


def codes_of(rows: Iterable[Row]) -> tuple[str, ...]:
    """Each code once, by priority, then table order."""
    return tuple(dict.fromkeys(row.reason for row in sorted(rows, key=lambda row: row.priority)))


def _hits(denies: Sequence[Row], *, by_agent: bool) -> tuple[list[_Hit], tuple[str, ...]]:
    sponsor = [row for row in denies if by_agent and row.tier in SPONSOR_TIERS]
    hits = [_Hit(row.tier, row.priority, row.reason, row.disposition) for row in denies if row not in sponsor]
    if sponsor:
        hits.append(_Hit(Tier.AGENT, SPONSOR_PRIORITY, SPONSOR_DENIED, Outcome.DENY))
    return hits, codes_of(sponsor)


# --- the table ------------------------------------------------------------------------------------------------


def parse_table(text: str) -> tuple[Row, ...]:
    """Read access.csv; `Invalid` names the line and the column."""
    reader = csv.DictReader(io.StringIO(text), strict=True)
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise Invalid(f"access.csv: line 1: the columns must be {','.join(COLUMNS)}")
    return tuple(_parse_row(record, line) for line, record in enumerate(reader, start=2))


def _parse_row(record: dict[Any, Any], line: int) -> Row:
    where = f"access.csv: line {line}"
    if None in record or None in record.values():
        raise Invalid(f"{where}: a row has {len(COLUMNS)} cells")
    try:
        return Row(
            row=record["row"],
            priority=int(record["priority"]),
            tier=Tier(record["tier"]),
            effect=_one_of(record["effect"], ("allow", "deny")),
            disposition=Outcome(record["disposition"]),
            reason=record["reason"],
            bypassable=_one_of(record["bypassable"], ("yes", "no", "-")) == "yes",
            when=record["when"],
            cells=parse_when(record["when"]),
        )
    except (ValueError, Invalid) as error:
        raise Invalid(f"{where}: row {record['row']!r}: {error}") from error


def _one_of(value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise Invalid(f"{value!r} is not one of {', '.join(known)}")
    return value


def parse_when(when: str) -> dict[str, frozenset[str]]:
    """`fact=value; fact=a|b; fact=!a|b` as the values of each fact for which the row holds."""
    cells: dict[str, frozenset[str]] = {}
    for cell in when.split(";"):
        fact, _, values = (part.strip() for part in cell.partition("="))
        if fact not in FACTS:
            raise Invalid(f"{fact!r} is not a fact")
        if fact in cells:
            raise Invalid(f"fact {fact!r} is named twice")
        named = frozenset(value.strip() for value in values.removeprefix("!").split("|"))
        unknown = named - set(FACTS[fact])
        if unknown:
            raise Invalid(f"{fact} is never {min(unknown)!r}: one of {', '.join(FACTS[fact])}")
        cells[fact] = frozenset(FACTS[fact]) - named if values.startswith("!") else named
    return cells


def parse_reasons(reasons: str, messages: str) -> dict[str, Reason]:
    """Read the catalogue of codes with the text that the subject is shown for each."""
    texts = {row["code"]: row["message"] for row in csv.DictReader(io.StringIO(messages), strict=True)}
    catalogue = {}
    for row in csv.DictReader(io.StringIO(reasons), strict=True):
        if row["subject_sees"] not in texts:
            raise Invalid(f"messages.csv: no message for {row['subject_sees']!r}, which {row['code']} shows")
        catalogue[row["code"]] = Reason(
            code=row["code"],
            meaning=row["meaning"],
            subject_sees=row["subject_sees"],
            message=texts[row["subject_sees"]],
            org_admin_sees=row["org_admin_sees"],
            how_to_fix=row["how_to_fix"],
            fixer=row["fixer"],
        )
    return catalogue


def check(rows: Sequence[Row], reasons: Mapping[str, Reason]) -> None:
    """Refuse a table that could fail open. Casbin 2.8 allows on an empty policy and ignores a misspelt effect."""
    if not any(row.effect == "allow" for row in rows) or not any(row.effect == "deny" for row in rows):
        raise Invalid("access.csv: a table needs rows that allow and rows that deny")
    for name, same in itertools.groupby(sorted(row.row for row in rows)):
        if len(list(same)) > 1:
            raise Invalid(f"access.csv: row {name!r} stands twice")
    for row in rows:
        _check_row(row, reasons)
    missing = {ALLOW, BROKEN_GLASS, NO_RULE, SPONSOR_DENIED, "BREAK_GLASS_NOT_PERMITTED"} - set(reasons)
    if missing:
        raise Invalid(f"reasons.csv: {min(missing)} is missing")


def _check_row(row: Row, reasons: Mapping[str, Reason]) -> None:
    where = f"access.csv: row {row.row!r}"
    if row.reason not in reasons:
        raise Invalid(f"{where}: reason {row.reason!r} is not in reasons.csv")
    allows = {row.effect == "allow", row.disposition == Outcome.ALLOW, row.tier == Tier.ALLOW}
    if len(allows) > 1:
        raise Invalid(f"{where}: effect, disposition and tier must all allow or all deny")
    if row.effect == "allow" and row.bypassable:
        raise Invalid(f"{where}: only a deny can be bypassable")
    if row.effect == "allow" and "vendor" not in row.cells:
        raise Invalid(f"{where}: a row that allows names the vendor's coverage")
    # Fixed in code: no break-glass passes over an embargo.
    if row.bypassable and any(value in row.cells.get(fact, ()) for fact, value in NEVER_BYPASSABLE):
        raise Invalid(f"{where}: an embargo is never bypassable")
    if any(not values for values in row.cells.values()):
        raise Invalid(f"{where}: a cell leaves no value, so the row can never match")


class _Rows(Adapter):  # type: ignore[misc]  # casbin is untyped
    """Hands the rows of a validated table to Casbin."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows

    def load_policy(self, model: Any) -> None:
        for row in self.rows:
            bypassable = "yes" if row.bypassable else "no"
            line = [row.row, str(row.priority), row.tier, row.effect, row.disposition, row.reason, bypassable, row.when]
            model.add_policy("p", "p", line)


class _Whole(Effector):  # type: ignore[misc]  # casbin is untyped
    """An effector that lets every row speak before the stock one decides."""

    def __init__(self, stock: Any) -> None:
        self.stock = stock

    def intermediate_effect(self, effects: Any) -> Any:  # noqa: ARG002  the stock effector's signature
        return Effector.INDETERMINATE

    def final_effect(self, effects: Any) -> Any:
        return self.stock.final_effect(effects)
