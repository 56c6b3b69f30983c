"""OpenRouter in Jupyter: pick a model, chat with it, see what it cost.

Without a key all of it works offline. The first calls::

    import ornb

    ornb.ask("What is a token?")  # one question, one answer
    ornb.Chat()                   # a chat with a picker, in the cell
    ornb.models(free=True)        # the catalogue as a table
    ornb.usage                    # each call: tokens, seconds, USD
    ornb.sign_in()                # go live

``ornb.ask?`` in a notebook explains a name; ``dir(ornb)`` lists them. Names are loaded when
they are first touched, so that ``import ornb`` costs next to nothing.
"""

from __future__ import annotations

import importlib.machinery
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import plots as plots
    from .api.client import Client as Client
    from .api.client import Event as Event
    from .api.client import Reply as Reply
    from .api.client import Timeouts as Timeouts
    from .api.client import Timing as Timing
    from .api.client import Usage as Usage
    from .catalog.observations import catalog_at as catalog_at
    from .errors import OrnbError as OrnbError
    from .ledger.tracker import UsageTracker as UsageTracker
    from .messages import Conversation as Conversation
    from .notebook.chat import Chat as Chat
    from .notebook.compare import Comparison as Comparison
    from .notebook.compare import compare as compare
    from .notebook.key import sign_in as sign_in
    from .notebook.picker import ModelPicker as ModelPicker
    from .pricing import tiers as tiers
    from .runs.batch import batch as batch
    from .runs.classroom import classroom as classroom
    from .runs.decide import Decision as Decision
    from .runs.decide import decide as decide
    from .runs.embed import embed as embed
    from .runs.embed import rerank as rerank
    from .runs.latency import latency_beside_listed as latency_beside_listed
    from .runs.latency import latency_differences as latency_differences
    from .runs.latency import latency_summary as latency_summary
    from .runs.measure import measure as measure
    from .session import activity as activity
    from .session import ask as ask
    from .session import budget as budget
    from .session import catalog_changes as catalog_changes
    from .session import client as client
    from .session import connect as connect
    from .session import endpoints as endpoints
    from .session import models as models
    from .session import price_at as price_at
    from .session import price_history as price_history
    from .session import providers as providers
    from .session import quota as quota
    from .session import quote as quote
    from .session import record as record
    from .session import replay as replay
    from .session import usage as usage

__version__ = "0.2.0"

_PLACES = {
    "api.client": "Client Event Reply Timeouts Timing Usage",
    "catalog.observations": "catalog_at",
    "errors": "OrnbError",
    "ledger.tracker": "UsageTracker",
    "messages": "Conversation",
    "notebook.chat": "Chat",
    "notebook.compare": "Comparison compare",
    "notebook.key": "sign_in",
    "notebook.picker": "ModelPicker",
    "pricing": "tiers",
    "runs.batch": "batch",
    "runs.classroom": "classroom",
    "runs.decide": "Decision decide",
    "runs.embed": "embed rerank",
    "runs.latency": "latency_beside_listed latency_differences latency_summary",
    "runs.measure": "measure",
    "session": "activity ask budget catalog_changes client connect endpoints models price_at "
    "price_history providers quota quote record replay usage",
}
"""Module to the public names that it has."""
_HOME = {name: home for home, names in _PLACES.items() for name in names.split()}

__all__ = sorted(["__version__", "plots", *_HOME])  # noqa: PLE0605  # the table has the names


def __getattr__(name: str) -> Any:
    if name == "plots":  # a package of functions, reached by its own name
        return importlib.import_module("ornb.plots")
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'ornb' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"ornb.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, "errors", "load_ipython_extension"})


_MOVED = {
    "batch": "runs.batch",
    "batching": "runs",
    "bootstrap": "runs.bootstrap",
    "client": "api.client",
    "comparison": "text.comparison",
    "conversation": "messages",
    "export": "text.export",
    "filters": "catalog.filters",
    "history": "catalog",
    "history.seen": "catalog.observations",
    "keys": "api.keys",
    "latency": "runs.latency",
    "ledger.gate": "ledger.budget",
    "ledger.worst_case": "ledger.bound",
    "magics": "notebook.magics",
    "measure": "runs.measure",
    "measure_plan": "runs.measure_plan",
    "placeholders": "messages.placeholders",
    "request": "messages",
    "request.matching": "messages.validation",
    "request.parameters": "api.parameters",
    "request.room": "messages.context",
    "request.structured": "messages.schema",
    "widgets": "notebook",
    "wire": "api",
    "wire.chunked": "api.framing",
    "wire.sse": "api.framing",
}
"""Modules as they were called in 0.1: they are still found there, until 0.3."""


class _Finder:
    """Gives the module of today to who imports it by its name of 0.1."""

    def find_spec(self, name: str, *_: Any) -> importlib.machinery.ModuleSpec | None:
        if _today(name) is None or name.endswith(".__main__"):
            return None
        loader: Any = self
        return importlib.machinery.ModuleSpec(name, loader, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        pass

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        sys.modules[name] = importlib.import_module(_today(name) or name)


def _today(name: str) -> str | None:
    package, _, moved = name.partition(".")
    rest = ""
    while package == "ornb" and moved:
        if moved in _MOVED:
            return f"ornb.{_MOVED[moved]}{rest}"
        moved, _, last = moved.rpartition(".")
        rest = f".{last}{rest}"
    return None


class _Package(ModuleType):
    """Keeps `ornb.client` the function, whatever else is imported by its name of 0.1."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.meta_path.insert(0, _Finder())
sys.modules[__name__].__class__ = _Package


def load_ipython_extension(shell: Any) -> None:
    """Register ``%ornb`` and ``%%ornb``; ``%load_ext ornb`` calls it.

    Parameters
    ----------
    shell : IPython.core.interactiveshell.InteractiveShell
        The running IPython.
    """
    from .notebook import magics

    magics.register(shell)


def _in_a_notebook() -> None:
    """Make the magics known where IPython runs, without asking for ``%load_ext``."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if hasattr(shell, "magics_manager"):  # a host's stand-in for IPython may have no magics
        load_ipython_extension(shell)


_in_a_notebook()
