"""Keys for others, as a management key makes them: ``/keys``, and what was asked with them.

References
----------
OpenRouter API, ``/keys``, ``/keys/{hash}``, ``GET /activity``; official SDK 1.3.84, 2026-11.
"""

from __future__ import annotations

import hashlib
import secrets
import sys
from datetime import UTC, datetime

from .handler import ApiHandler
from .question import json_object
from .store import whole_number
from .wire import Fault, Json, dumps

PAGE = 100
"""Keys of one answer; ``offset`` gives the next ones."""
CHANGED = ("name", "disabled", "limit", "limit_reset", "include_byok_in_limit")
"""What a change may be about."""
SPENT = [
    f"{kind}{span}"
    for kind in ("usage", "byok_usage")
    for span in ("", "_daily", "_weekly", "_monthly")
]
"""Fields of what a key has spent."""
_COUNTED = (
    *("requests", "usage", "byok_usage_inference", "cached_tokens"),
    *("prompt_tokens", "completion_tokens", "reasoning_tokens"),
)


class KeyRing:
    """Records of the keys that were made here, by the hash that the service lists them under."""

    def __init__(self, management_key: str) -> None:
        self._manager = _hash(management_key.encode())
        self.records: dict[str, Json] = {}
        self.activity: dict[tuple[str, str, str], Json] = {}
        """By the hash of a key, day and model."""

    def make(self, wish: Json) -> Json:
        """Make a key; it is in this answer, and nowhere else."""
        key = "sk-or-v1-" + secrets.token_hex(32)
        self.records[_hash(key.encode())] = record = {
            **dict.fromkeys(("updated_at", "last_used_at", "external_user", "creator_user_id")),
            **dict.fromkeys(SPENT, 0),
            **dict.fromkeys(("limit", "limit_reset", "expires_at")),
            **dict.fromkeys(("disabled", "include_byok_in_limit"), False),
            "hash": _hash(key.encode()),
            "label": f"{key[:12]}...{key[-3:]}",
            "workspace_id": "offline",
            "created_at": _now().isoformat(),
            **{name: wish[name] for name in (*CHANGED, "expires_at") if name in wish},
        }
        record["limit_remaining"] = record["limit"]  # nothing is ever spent here
        return {"key": key, "data": record}

    def of(self, token: bytes) -> Json:
        """Return the record of a key that was made here; of others what sets them apart."""
        kinds = ("is_management_key", "is_provisioning_key")
        return self.records.get(_hash(token), dict.fromkeys(kinds, self.manages(token)))

    def manages(self, token: bytes) -> bool:
        """Whether it is the management key."""
        return _hash(token) == self._manager

    def takes(self, token: bytes) -> bool:
        """Whether a caller with this key is served."""
        record = self.records.get(_hash(token), {"disabled": not self.manages(token)})
        return not record["disabled"] and not _is_over(record)

    def count(self, token: bytes, generation: Json) -> None:
        """Keep what a key was used for."""
        day, model = _now().date().isoformat(), generation["model"]
        fresh = {
            **dict.fromkeys(("model", "model_permaslug"), model),
            **dict.fromkeys(_COUNTED, 0),
            "date": day,
            "endpoint_id": "offline",
            "provider_name": generation["provider_name"],
        }
        row = self.activity.setdefault((_hash(token), day, model), fresh)
        row["requests"] += 1
        for kind in ("prompt", "completion", "reasoning", "cached"):
            row[f"{kind}_tokens"] += generation[f"native_tokens_{kind}"] or 0


class Keys(ApiHandler):
    """``/keys`` and ``/keys/{hash}``."""

    managing = True

    def get(self, found: str | None = None) -> None:
        """List them, a page at a time, or send the record of one."""
        if found:
            self.finish(dumps({"data": self._record(found)}))
            return
        shown = [
            record
            for record in self.application.ring.records.values()
            if (self._includes("disabled") or not record["disabled"])
            and (self._includes("expired") or not _is_over(record))
        ]
        offset = whole_number({"offset": self.get_query_argument("offset", "")}, "offset", 0)
        self.finish(dumps({"data": shown[offset : offset + PAGE]}))

    def post(self, found: str | None = None) -> None:
        """Make one."""
        if found:
            raise Fault(405, "Method Not Allowed")
        wish = _checked(json_object(self.request.body))
        if "name" not in wish:
            raise Fault(400, "name: Invalid input: expected string, received undefined")
        self.set_status(201)
        self.finish(dumps(self.application.ring.make(wish)))

    def patch(self, found: str) -> None:
        """Change one."""
        record, wish = self._record(found), _checked(json_object(self.request.body))
        changes = {name: wish[name] for name in CHANGED if name in wish}
        if not changes:
            raise Fault(400, "At least one field must be provided for update")
        record.update(changes, updated_at=_now().isoformat())
        record["limit_remaining"] = record["limit"]
        self.finish(dumps({"data": record}))

    def delete(self, found: str) -> None:
        """End one."""
        self._record(found)
        del self.application.ring.records[found]
        self.finish(dumps({"deleted": True}))

    def _includes(self, name: str) -> bool:
        return self.get_query_argument(f"include_{name}", "") == "true"

    def _record(self, found: str) -> Json:
        record = self.application.ring.records.get(found)
        if record is None:
            raise Fault(404, "API key not found", error_type="not_found")
        return record


class Activity(ApiHandler):
    """``GET /activity``; unlike the service's, of today too: nothing here gets to be a day old."""

    managing = True

    def get(self) -> None:
        """Send what was asked, of one key or day where that is wanted."""
        key, date = (self.get_query_argument(name, None) for name in ("api_key_hash", "date"))
        rows = [
            row
            for (found, day, _), row in self.application.ring.activity.items()
            if key in {None, found} and date in {None, day}
        ]
        self.finish(dumps({"data": rows}))


def _checked(wish: Json) -> Json:
    """Refuse what the service would refuse."""
    name, limit, until = wish.get("name", "-"), wish.get("limit", 0), wish.get("expires_at")
    is_number = isinstance(limit, int | float) and not isinstance(limit, bool)
    most = sys.float_info.max  # of JSON's numbers in JavaScript
    if not isinstance(name, str) or not name:
        raise Fault(400, "name: Too small: expected string to have >=1 characters")
    if limit is not None and not (is_number and 0 <= limit <= most):
        raise Fault(400, "limit: Invalid input: expected a number of at least 0")
    if wish.get("limit_reset") not in ("daily", "weekly", "monthly", None):
        raise Fault(400, 'limit_reset: Invalid option: expected "daily"|"weekly"|"monthly"')
    for switch in ("disabled", "include_byok_in_limit"):
        if not isinstance(wish.get(switch, False), bool):
            raise Fault(400, f"{switch}: Invalid input: expected boolean")
    has_seconds = isinstance(until, str) and until.count(":") >= 2
    if until is not None and not (has_seconds and _moment(until) > _now()):
        raise Fault(400, "expires_at: Invalid ISO datetime, or not in the future")
    return wish


def _is_over(record: Json) -> bool:
    until = record.get("expires_at")
    return until is not None and _moment(until) <= _now()


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise Fault(400, f"expires_at: Invalid ISO datetime: {text}") from error


def _hash(token: bytes) -> str:
    return hashlib.sha256(token).hexdigest()


def _now() -> datetime:
    return datetime.now(UTC)
