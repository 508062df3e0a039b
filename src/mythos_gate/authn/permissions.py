"""What each role may do: policies/admin.csv, decided by Casbin."""

import logging
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import casbin

from mythos_gate.authn.api_keys import Caller
from mythos_gate.errors import Misconfigured, NotPermitted
from mythos_gate.terms import Permission, Role

logging.getLogger("casbin").disabled = True

MODEL = """
[request_definition]
r = role, permission
[policy_definition]
p = role, permission
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = r.role == p.role && r.permission == p.permission
"""


class Permissions:
    """Casbin's answer for every role and permission, asked once at the start: both sets are closed."""

    def __init__(self, path: Path) -> None:
        _check(path)
        enforcer = casbin.Enforcer(casbin.Enforcer.new_model(text=MODEL), casbin.FileAdapter(str(path)))
        self._given = {
            role: frozenset(each for each in Permission if enforcer.enforce(role.value, each.value)) for role in Role
        }
        self._of = lru_cache(self._together)

    def of(self, roles: Iterable[Role]) -> frozenset[Permission]:
        return self._of(frozenset(roles))

    def _together(self, roles: frozenset[Role]) -> frozenset[Permission]:
        return frozenset[Permission]().union(*(self._given[role] for role in roles))

    def has(self, caller: Caller, permission: Permission) -> bool:
        return permission in self.of(caller.roles)

    def require(self, caller: Caller, permission: Permission) -> None:
        if not self.has(caller, permission):
            raise NotPermitted(f"this key may not {permission.value.replace('_', ' ')}")


def _check(path: Path) -> None:
    """Every line names a role and a permission that exist; a misspelt one would give nothing, silently."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != 3 or cells[0] != "p" or cells[1] not in set(Role) or cells[2] not in set(Permission):
            raise Misconfigured(f"{path.name}: line {number}: expected `p, role, permission`, got {line!r}")
