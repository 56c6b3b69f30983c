"""Recorded exchanges of several projects' test suites, in one form."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Exchange:
    """One request and its answer."""

    name: str
    method: str
    path: str
    request: Any
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def streamed(self) -> bool:
        return "event-stream" in self.headers.get("content-type", "")


class _Loader(yaml.CSafeLoader):
    """Knows Ruby's short tag for bytes."""


_Loader.add_constructor("!binary", _Loader.yaml_constructors["tag:yaml.org,2002:binary"])


def _body(record: dict[str, Any]) -> bytes:
    if record.get("parsed_body") is not None:
        return json.dumps(record["parsed_body"]).encode()
    body = record.get("body") or ""
    if isinstance(body, dict):
        body = body.get("string") or body.get("base64_string") or ""
    if isinstance(body, bytes):
        return gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
    return body.encode()


def _headers(record: dict[str, Any]) -> dict[str, str]:
    pairs = (record.get("headers") or {}).items()
    return {k.lower(): v[0] if isinstance(v, list) else str(v) for k, v in pairs}


def _yaml_exchanges(path: Path) -> Iterator[Exchange]:
    tape = yaml.load(path.read_text(), Loader=_Loader)
    for number, pair in enumerate(tape.get("interactions") or tape["http_interactions"]):
        request, response = pair["request"], pair["response"]
        sent = _body(request)
        yield Exchange(
            f"{path.parent.name}/{path.stem}#{number}",
            request["method"].upper(),
            request["uri"].split("/api/v1", 1)[-1],
            json.loads(sent) if sent.strip() else None,
            int(response["status"]["code"]),
            _headers(response),
            _body(response),
        )


def _evidence(path: Path) -> Iterator[Exchange]:
    for call in json.loads(path.read_text())["calls"]:
        for key in ("", "generation"):
            part = call if not key else call.get("generation") or {}
            if "request" in part and "response" in part:
                answer = part["response"]
                body = answer.get("body")
                yield Exchange(
                    f"itotori/{call['label']}{key}",
                    part["request"]["method"],
                    part["request"]["url"].split("/api/v1", 1)[-1],
                    part["request"].get("body"),
                    answer["status"],
                    {k.lower(): v for k, v in (answer.get("headers") or {}).items()},
                    (body if isinstance(body, str) else json.dumps(body)).encode(),
                )


def exchanges(shared_data: Path) -> list[Exchange]:
    """All recorded chat completions, plain and streamed, errors too."""
    folder = shared_data / "exchanges"
    found = [e for path in sorted(folder.glob("*/*.y*ml")) for e in _yaml_exchanges(path)]
    found += [e for path in sorted(folder.glob("*/*.json")) for e in _evidence(path)]
    return [e for e in found if e.path.startswith("/chat/completions")]
