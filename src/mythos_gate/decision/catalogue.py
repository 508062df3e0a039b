"""The catalogue of reasons as a page: docs/reasons.md, made by `mythos-gate policy reasons`."""

import csv
import io
from collections.abc import Mapping

from mythos_gate.decision.policy import parse_table

HEAD = """# Reasons

Every code that a decision can give, with the baseline policy. Made by `mythos-gate policy reasons` from
`policies/reasons.csv`, `messages.csv` and `access.csv`; a test compares. The subject sees one code and its text; an
organization's administrator sees the code and what to do, or only `NOT_ELIGIBLE` or `COMPLIANCE_REVIEW`; compliance and
auditors see all.

| code | decision | meaning | the subject sees | an administrator sees | what to do | who | rows |
|---|---|---|---|---|---|---|---|
"""


def page(files: Mapping[str, str]) -> str:
    """Markdown, one line for each code in the order of the catalogue."""
    texts = {row["code"]: row["message"] for row in csv.DictReader(io.StringIO(files["messages.csv"]))}
    rows: dict[str, list[str]] = {}
    for row in parse_table(files["access.csv"]):
        rows.setdefault(row.reason, []).append(row.row)
    lines = []
    for reason in csv.DictReader(io.StringIO(files["reasons.csv"])):
        seen, code = reason["subject_sees"], reason["code"]
        cells = (
            f"`{code}`",
            reason["disposition"],
            reason["meaning"],
            f"`{seen}`: {texts[seen]}",
            f"`{reason['org_admin_sees']}`",
            reason["how_to_fix"],
            reason["fixer"],
            ", ".join(f"`{row}`" for row in rows.get(code, ())),
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n")
    return HEAD + "".join(lines)
