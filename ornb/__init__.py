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

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import plots as plots
    from .batch import batch as batch
    from .client import Client as Client
    from .client import Event as Event
    from .client import Reply as Reply
    from .client import Timeouts as Timeouts
    from .client import Timing as Timing
    from .client import Usage as Usage
    from .conversation import Conversation as Conversation
    from .errors import OrnbError as OrnbError
    from .history import catalog_at as catalog_at
    from .history import catalog_changes as catalog_changes
    from .history import price_at as price_at
    from .history import price_history as price_history
    from .latency import latency_beside_listed as latency_beside_listed
    from .latency import latency_differences as latency_differences
    from .latency import latency_summary as latency_summary
    from .ledger.budget import budget as budget
    from .ledger.tracker import UsageTracker as UsageTracker
    from .measure import measure as measure
    from .pricing import tiers as tiers
    from .recording import record as record
    from .recording import replay as replay
    from .session import activity as activity
    from .session import ask as ask
    from .session import client as client
    from .session import connect as connect
    from .session import endpoints as endpoints
    from .session import models as models
    from .session import providers as providers
    from .session import quota as quota
    from .session import quote as quote
    from .session import usage as usage
    from .widgets.chat import Chat as Chat
    from .widgets.compare import Comparison as Comparison
    from .widgets.compare import compare as compare
    from .widgets.key import sign_in as sign_in
    from .widgets.picker import ModelPicker as ModelPicker

__version__ = "0.1.0"

_PLACES = {
    "batch": "batch",
    "client": "Client Event Reply Timeouts Timing Usage",
    "conversation": "Conversation",
    "errors": "OrnbError",
    "history": "catalog_at catalog_changes price_at price_history",
    "latency": "latency_beside_listed latency_differences latency_summary",
    "ledger.budget": "budget",
    "ledger.tracker": "UsageTracker",
    "measure": "measure",
    "pricing": "tiers",
    "recording": "record replay",
    "session": "activity ask client connect endpoints models providers quota quote usage",
    "widgets.chat": "Chat",
    "widgets.compare": "Comparison compare",
    "widgets.key": "sign_in",
    "widgets.picker": "ModelPicker",
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


class _Package(ModuleType):
    """Keeps `ornb.client` the function, whatever else is imported.

    The import system binds a submodule to its package once it is loaded; where a public name is
    spelled like a submodule, the public name is meant. ``from ornb.client import Client`` works as
    ever.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def load_ipython_extension(shell: Any) -> None:
    """Register ``%ornb`` and ``%%ornb``; ``%load_ext ornb`` calls it.

    Parameters
    ----------
    shell : IPython.core.interactiveshell.InteractiveShell
        The running IPython.
    """
    from . import magics

    magics.register(shell)


def _in_a_notebook() -> None:
    """Make the magics known where IPython runs, without asking for ``%load_ext``."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is not None:
        load_ipython_extension(shell)


_in_a_notebook()
