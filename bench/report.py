"""The figures as a table and as bench/latest.json, with the ratios that they are about."""

import json
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.claims import Claims
from bench.contest import Figures


@dataclass(frozen=True, slots=True)
class Report:
    """`inprocess`: microseconds a decision. `other`: figures that stand alone, their unit at the end of the name."""

    size: str
    figures: Sequence[Figures]
    inprocess: Mapping[str, float]
    claims: Claims
    other: Mapping[str, float]
    outcomes: Counter[str]
    versions: Mapping[str, str]

    def ratios(self) -> dict[str, float | None]:
        """Each above 1 in the gate's favour, except where the name says what is lost."""
        found = {(each.what, each.who, each.connections): each for each in self.figures}
        gate, cerbos, echo = (found["single", who, 64] for who in ("gate", "cerbos", "echo"))
        many, others = found["batch", "gate", 4], found["batch", "cerbos", 4]
        million, treeless = found.get(("single", "large", 64)), found["single", "treeless", 64]
        inside = self.inprocess
        return {
            "single_vs_cerbos": gate.requests_per_second / cerbos.requests_per_second,
            "single_vs_echo": gate.requests_per_second / echo.requests_per_second,
            "p99_at_16_vs_cerbos_p50": found["single", "gate", 16].p99 / found["single", "cerbos", 16].p50,
            "batch_vs_cerbos": many.decisions_per_second / others.decisions_per_second,
            "inprocess_vs_cedarpy": inside["cedarpy"] / inside["ours"],
            "inprocess_vs_regorus": inside["regorus"] / inside["ours"],
            "inprocess_vs_regorus_compiled": inside["regorus_compiled"] / inside["ours"],
            "tree_cost": 1 - gate.requests_per_second / treeless.requests_per_second,
            "tree_cpu": gate.cpu / treeless.cpu - 1,
            "cpu_1m_vs_30k": million.cpu / gate.cpu if million else None,
            "seat_claims_cost": self.claims.cost,
        }


def save(report: Report, path: Path) -> None:
    content: dict[str, Any] = {
        "size": report.size,
        "ratios": _rounded(report.ratios()),
        "rows": [_rounded(asdict(each)) for each in report.figures],
        "inprocess_us": _rounded(report.inprocess),
        "seat_claims": _rounded(asdict(report.claims)),
        "other": _rounded(report.other),
        "outcomes": dict(report.outcomes.most_common()),
        "versions": dict(report.versions),
    }
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def show(report: Report, console: Console) -> None:
    console.print(_figures(report.figures), _inprocess(report.inprocess), _ratios(report.ratios()))
    answers = report.outcomes.total()
    mix = ", ".join(f"{outcome} {count / answers:.1%}" for outcome, count in report.outcomes.most_common())
    console.print(f"Mix: {mix}.", highlight=False)
    told = "   ".join(f"{name} {_short(value)}" for name, value in report.other.items())
    console.print(told, highlight=False)
    told = f"{report.claims.rate:.0f} seat claims a second cost the others {report.claims.cost:.1%}"
    late = f"{report.claims.refused} were refused, the latest was {report.claims.late:.1f} s late"
    console.print(f"{told}; {late}.", highlight=False)


def _figures(figures: Sequence[Figures]) -> Table:
    table = Table("", "", box=None, padding=(0, 2))
    for name in ("connections", "requests/s", "decisions/s", "p50 ms", "p99 ms", "CPU us/decision"):
        table.add_column(name, justify="right")
    for each in sorted(figures, key=lambda each: (each.what, each.connections)):
        values = (each.requests_per_second, each.decisions_per_second, each.p50, each.p99, each.cpu)
        table.add_row(each.what, each.who, str(each.connections), *map(_short, values))
    return table


def _inprocess(found: Mapping[str, float]) -> Table:
    table = Table("in process", box=None, padding=(0, 2))
    table.add_column("us/decision", justify="right")
    for name, value in found.items():
        table.add_row(name, _short(value))
    return table


def _ratios(ratios: Mapping[str, float | None]) -> Table:
    table = Table("ratio", box=None, padding=(0, 2))
    table.add_column("", justify="right")
    for name, value in ratios.items():
        table.add_row(name, "-" if value is None else f"{value:.3g}")
    return table


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in values.items()}


def machine() -> dict[str, str]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {"machine": models[0] if models else platform.machine(), "python": platform.python_version()}
