"""The decision table in the peers' own languages, written from `policy.Row` by one small function for each peer.

Every peer is given the fact vector that the gate derives. A row that denies wins over all that allow, and while a
break-glass is active rows that it may pass over do not count: that is all there is to translate.
"""

import itertools
from collections.abc import Iterable, Sequence

from mythos_gate.decision.policy import Row
from mythos_gate.terms import FACTS

KIND, ACTION = "model", "invoke"


def cells(row: Row) -> list[tuple[str, list[str]]]:
    """The facts that a row names, each with the values for which it holds, in a fixed order."""
    return [(fact, sorted(row.cells[fact])) for fact in FACTS if fact in row.cells]


def _quoted(values: Iterable[str]) -> str:
    return ", ".join(f'"{value}"' for value in values)


# --- Cerbos: YAML with CEL ------------------------------------------------------------------------------------


def cerbos(rows: Sequence[Row]) -> str:
    """A resource policy with a rule for each tier: one for each row costs it half as much again.

    The facts are the resource's attributes.
    """
    tiers = itertools.groupby(rows, key=lambda row: (row.tier, row.effect))
    rules = "".join(_cerbos_rule(tier, effect, found) for (tier, effect), found in tiers)
    return f"""apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: {KIND}
  version: default
  rules:
{rules}"""


def _cerbos_rule(tier: str, effect: str, rows: Iterable[Row]) -> str:
    return f"""    - name: {tier}
      actions: ["{ACTION}"]
      effect: EFFECT_{effect.upper()}
      roles: ["*"]
      condition:
        match:
          expr: '{" || ".join(f"({_cel(row)})" for row in rows)}'
"""


def _cel(row: Row) -> str:
    conditions = [_cel_cell(fact, values) for fact, values in cells(row)]
    if row.bypassable:
        conditions.append('R.attr.break_glass != "active"')
    return " && ".join(conditions)


def _cel_cell(fact: str, values: Sequence[str]) -> str:
    if len(values) == 1:
        return f'R.attr.{fact} == "{values[0]}"'
    return f"R.attr.{fact} in [{_quoted(values)}]"


# --- Cedar ----------------------------------------------------------------------------------------------------


def cedar(rows: Sequence[Row]) -> str:
    """A policy for each row. The facts are the request's context."""
    return "\n".join(map(_cedar_policy, rows))


def _cedar_policy(row: Row) -> str:
    effect = "permit" if row.effect == "allow" else "forbid"
    conditions = " && ".join(_cedar_cell(fact, values) for fact, values in cells(row))
    unless = ' unless { context.break_glass == "active" }' if row.bypassable else ""
    return f'@id("{row.row}")\n{effect} (principal, action, resource) when {{ {conditions} }}{unless};'


def _cedar_cell(fact: str, values: Sequence[str]) -> str:
    if len(values) == 1:
        return f'context.{fact} == "{values[0]}"'
    return f"[{_quoted(values)}].contains(context.{fact})"


# --- Rego -----------------------------------------------------------------------------------------------------


def rego(rows: Sequence[Row]) -> str:
    """A rule for each row. The facts are the input; `data.gate.allow` is the answer."""
    rules = "\n\n".join(map(_rego_rule, rows))
    return f"""package gate

default allow := false

allow if {{
  permitted
  not denied
}}

{rules}
"""


def _rego_rule(row: Row) -> str:
    head = "permitted" if row.effect == "allow" else "denied"
    conditions = [_rego_cell(fact, values) for fact, values in cells(row)]
    if row.bypassable:
        conditions.append('input.break_glass != "active"')
    body = "\n".join(f"  {condition}" for condition in conditions)
    return f"# {row.row}\n{head} if {{\n{body}\n}}"


def _rego_cell(fact: str, values: Sequence[str]) -> str:
    if len(values) == 1:
        return f'input.{fact} == "{values[0]}"'
    return f"input.{fact} in {{{_quoted(values)}}}"
