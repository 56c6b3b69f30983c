"""Which model is asked where none chats: chosen, and refused where it is of another kind."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import offline, session
from ..api.others import KINDS
from ..api.parameters import listed_count
from ..catalog.filters import CALLS
from ..errors import ConfigError, OrnbError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    import pandas as pd


@dataclass(frozen=True)
class Asked:
    """A model of a kind, and what is listed beside it."""

    kind: str
    model: str
    listed: pd.DataFrame | None
    """All that is; None where the service does not list it."""

    @property
    def record(self) -> Any:
        """What is listed of the model; empty if nothing is."""
        return self._listed("raw") or {}

    @property
    def context(self) -> int:
        """Tokens of its context; 0 where that is not known."""
        return listed_count(self.record.get("context_length")) or 0

    def _listed(self, column: str) -> Any:
        return None if self.listed is None else self.listed[column].get(self.model)

    def check(self) -> None:
        """Refuse a model that is known to be of another kind."""
        kind = self._listed("kind")
        if kind in (None, self.kind) or not self._listed("output_modalities"):
            return  # where ids alone are listed, as by Ollama, any may be of any kind
        by = f"by {CALLS[kind]}" if kind in CALLS else "which ornb has no verb for"
        does = "chats, by ornb.ask" if kind == "chat" else f"makes {kind}, {by}"
        raise ConfigError(
            f"{self.model} does not {DOES[self.kind]}, so nothing was sent: it {does}. "
            f'ornb.models(kind="{self.kind}") lists the models that do.'
        )

    @contextlib.contextmanager
    def near(self) -> Iterator[None]:
        """Name the models that are meant, where an unknown one is refused."""
        try:
            yield
        except OrnbError as error:
            session.with_near_models(error, self.model, kind=self.kind)
            raise


DOES = {"decisions": "decide", "embeddings": "make embeddings", "rerank": "rerank"}
DEFAULTS = {
    "decisions": "typesafe/jev-1.14",
    "embeddings": "openai/text-embedding-3-small",
    "rerank": "cohere/rerank-v3.5",
}
"""Asked where none is named (2026-11-30); else the first that is listed."""
FIELDS = ("provider", "session_id", "trace", "user")
"""Of a request of any of these kinds, beside what it is about (2026-11-30)."""


def check_arguments(verb: str, given: Iterable[str], known: Collection[str]) -> None:
    """Refuse by name what a verb does not take."""
    for name in given:
        if name not in known:
            raise ConfigError(did_you_mean(name, known, f"argument of {verb}"))


def asked(kind: str, model: Any) -> Asked:
    """Return the model that a person named, or the default of the kind; not checked yet."""
    listed = None
    with contextlib.suppress(OrnbError):
        listed = session.models(kind="all")
    named = session.model_id(_default(kind, listed) if model is None else model)
    return Asked(kind, named or "", listed)


def _default(kind: str, listed: pd.DataFrame | None) -> str:
    service = session.client()
    if recorded := session.default.recordings.models(KINDS[kind].path, service.base_url):
        return DEFAULTS[kind] if DEFAULTS[kind] in recorded else recorded[0]
    if service.source == "offline":
        is_local = kind != "rerank" and not offline.start().why_canned
        return session.LOCAL if is_local else f"ornb/canned-{kind}"
    listed = session.models(kind="all") if listed is None else listed  # which says why it cannot
    ids = listed.index[listed["kind"] == kind].tolist()
    if not ids:
        raise ConfigError(
            f"This service lists no model that can {DOES[kind]}, so nothing was sent. Give the id "
            'of one, as in model="author/slug".'
        )
    return DEFAULTS[kind] if DEFAULTS[kind] in ids else str(ids[0])
