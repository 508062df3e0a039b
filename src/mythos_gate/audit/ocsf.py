"""Entries as events of the Open Cybersecurity Schema Framework, version 1.8.0 (schema.ocsf.io).

A decision is an Authorize Session, an administrative change an Entity Management, and what changes nothing, such as
a read or the beginning of a session, an API Activity. The whole entry is in `unmapped`.
"""

from datetime import datetime
from typing import Any

import orjson

VERSION = "1.8.0"
PRODUCT = {"name": "mythos-gate", "vendor_name": "mythos-gate"}
INFORMATIONAL, MEDIUM = 1, 3
SUCCESS, FAILURE = 1, 2
# What changes nothing that decisions read; of these reading is the activity, unless it is another.
UNCHANGING = {
    "session_opened": 99, "anchor": 99, "refused": 99,
    "log_read": 2, "log_exported": 2, "nationality_read": 2, "files_read": 2, "exported": 2,
    "searched": 2, "replayed": 2, "policies_simulated": 2, "traffic_simulated": 2,
}  # fmt: skip
# How the type of a change ends -> activity_id of Entity Management (create, update, delete, activate, suspend).
ACTIVITIES = {
    "_created": 1, "_added": 1, "_opened": 1, "_set": 1, "_made": 1,
    "_requested": 1,
    "_revoked": 4, "_withdrawn": 4, "_retired": 4, "_lifted": 4, "_closed": 4,
    "_activated": 10, "_suspended": 12,
}  # fmt: skip
UPDATE = 3
NOUNS = ("person", "agent", "endpoint", "organization", "grant", "directive", "authority", "model", "switch", "key",
         "verifier", "change_request", "proposal", "stop", "break_glass", "data_set", "sha256", "kind")  # fmt: skip


def line(index: int, leaf: bytes, body: bytes) -> bytes:
    return orjson.dumps(event(index, leaf, body), option=orjson.OPT_APPEND_NEWLINE)


def event(index: int, leaf: bytes, body: bytes) -> dict[str, Any]:
    """Of one entry, which its `metadata.uid` and leaf hash name."""
    entry = orjson.loads(body)
    try:
        return _event(index, leaf, entry)
    except (LookupError, TypeError, AttributeError, ValueError):
        # Not as the gate writes them: to be seen, and no reason for an export to break off.
        metadata = {"version": VERSION, "product": PRODUCT, "sequence": index, "labels": [f"leaf:{leaf.hex()}"]}
        return {"class_uid": 0, "category_uid": 0, "activity_id": 0, "type_uid": 0, "time": 0,
                "severity_id": INFORMATIONAL, "metadata": metadata, "unmapped": entry}  # fmt: skip


def _event(index: int, leaf: bytes, entry: dict[str, Any]) -> dict[str, Any]:
    if entry["type"] == "decision":
        class_uid, activity, members = _decision(entry)
    elif entry["type"] in UNCHANGING:
        class_uid, activity, members = _activity(entry)
    else:
        class_uid, activity, members = _change(entry)
    common = {
        "class_uid": class_uid,
        "category_uid": class_uid // 1000,
        "activity_id": activity,
        "type_uid": class_uid * 100 + activity,
        "time": _milliseconds(entry["at"]),
        "severity_id": INFORMATIONAL,
        "metadata": _metadata(index, leaf, entry),
        "unmapped": entry,
    }
    return common | members


def _metadata(index: int, leaf: bytes, entry: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": VERSION,
        "product": PRODUCT,
        "uid": entry["id"],
        "event_code": entry["type"],
        "log_name": entry["log"],
        "original_time": entry["at"],
        "sequence": index,
        "labels": [f"leaf:{leaf.hex()}"],
    }


def _decision(entry: dict[str, Any]) -> tuple[int, int, dict[str, Any]]:
    subject, allowed = entry["subject"], entry["outcome"].startswith("allow")
    reasons = entry["reasons"]
    return 3003, 1, {
        "user": {"uid": subject.get("id") or f"digest:{subject['digest']}", "type": subject["type"], "type_id": 99},
        "actor": {"app_uid": entry["caller"]["id"]},
        "privileges": [_told(entry["action"]["capability"])],
        "status_id": SUCCESS if allowed else FAILURE,
        "status": entry["outcome"],
        "severity_id": MEDIUM if entry["outcome"] == "allow_break_glass" else INFORMATIONAL,
        **({"status_code": reasons[0], "status_detail": ", ".join(reasons)} if reasons else {}),
    }  # fmt: skip


def _activity(entry: dict[str, Any]) -> tuple[int, int, dict[str, Any]]:
    activity, refused = UNCHANGING[entry["type"]], entry["type"] == "refused"
    return 6003, activity, {
        **({"activity_name": "Refuse" if refused else "Open"} if activity == 99 else {}),
        "actor": {"app_uid": entry.get("actor", entry["writer"])},
        "api": {"operation": entry["type"]},
        # Where from is not recorded: the process that wrote the entry is what there is.
        "src_endpoint": {"uid": entry["writer"]},
        "status_id": FAILURE if refused else SUCCESS,
    }  # fmt: skip


def _change(entry: dict[str, Any]) -> tuple[int, int, dict[str, Any]]:
    kind = entry["type"]
    activity = next((number for ending, number in ACTIVITIES.items() if kind.endswith(ending)), UPDATE)
    noun = next((each for each in NOUNS if isinstance(entry.get(each), str)), None)
    return 3004, activity, {
        "actor": {"app_uid": str(entry.get("actor", entry["writer"]))},
        "entity": {"uid": entry[noun], "type": noun} if noun else {"name": kind},
        "status_id": SUCCESS,
    }  # fmt: skip


def _told(value: Any) -> str:
    return value if isinstance(value, str) else f"digest:{value['digest']}" if value else "none"


def _milliseconds(at: str) -> int:
    return int(datetime.fromisoformat(at).timestamp() * 1000)
