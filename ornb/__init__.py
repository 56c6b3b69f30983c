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
    from . import plots
    from .batch import batch
    from .client import (
        Client,
        Event,
        Reply,
        Timeouts,
        Timing,
        Usage,
    )
    from .conversation import Conversation
    from .errors import OrnbError
    from .history import catalog_at, catalog_changes, price_at, price_history
    from .latency import latency_beside_listed, latency_differences, latency_summary
    from .ledger.budget import budget
    from .ledger.tracker import UsageTracker
    from .measure import measure
    from .pricing import tiers
    from .recording import record, replay
    from .session import (
        activity,
        ask,
        client,
        connect,
        endpoints,
        models,
        providers,
        quota,
        quote,
        usage,
    )
    from .widgets.chat import Chat
    from .widgets.compare import Comparison, compare
    from .widgets.key import sign_in
    from .widgets.picker import ModelPicker

__version__ = "0.1.0"

__all__ = [
    "Chat",
    "Client",
    "Comparison",
    "Conversation",
    "Event",
    "ModelPicker",
    "OrnbError",
    "Reply",
    "Timeouts",
    "Timing",
    "Usage",
    "UsageTracker",
    "__version__",
    "activity",
    "ask",
    "batch",
    "budget",
    "catalog_at",
    "catalog_changes",
    "client",
    "compare",
    "connect",
    "endpoints",
    "latency_beside_listed",
    "latency_differences",
    "latency_summary",
    "measure",
    "models",
    "plots",
    "price_at",
    "price_history",
    "providers",
    "quota",
    "quote",
    "record",
    "replay",
    "sign_in",
    "tiers",
    "usage",
]

_HOME = {
    "Chat": "widgets.chat",
    "Client": "client",
    "Conversation": "conversation",
    "Event": "client",
    "ModelPicker": "widgets.picker",
    "OrnbError": "errors",
    "Reply": "client",
    "Timeouts": "client",
    "Timing": "client",
    "Usage": "client",
    "UsageTracker": "ledger.tracker",
    "activity": "session",
    "ask": "session",
    "batch": "batch",
    "budget": "ledger.budget",
    "catalog_at": "history",
    "catalog_changes": "history",
    "client": "session",
    "Comparison": "widgets.compare",
    "compare": "widgets.compare",
    "connect": "session",
    "endpoints": "session",
    "latency_beside_listed": "latency",
    "latency_differences": "latency",
    "latency_summary": "latency",
    "measure": "measure",
    "models": "session",
    "price_at": "history",
    "price_history": "history",
    "providers": "session",
    "sign_in": "widgets.key",
    "quota": "session",
    "quote": "session",
    "record": "recording",
    "replay": "recording",
    "tiers": "pricing",
    "usage": "session",
}
"""Public name to the module that has it."""


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
