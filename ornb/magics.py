"""``%%ornb`` sends its cell to a model, and leaves ordinary output; ``%ornb`` tells the state.

The answer streams into one output that is updated in place. Each update carries the whole so far,
so updates become rarer as it grows: what they cost stays in proportion to the time they take.
"""

from __future__ import annotations

import argparse
import difflib
import keyword
import re
import shlex
import sys
import threading
from collections.abc import Mapping
from typing import Any, NoReturn
from urllib.parse import urlsplit

from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, no_var_expand
from IPython.display import DisplayHandle, display

from . import session
from .conversation import MIME_TRANSCRIPT, Conversation
from .errors import ConfigError, OrnbError
from .rendering import StreamRenderer, facts, reply_html, reply_text
from .reply import Event, Reply, format_usd
from .widgets.live import PACER

BYTES_PER_SECOND = 12_000
"""Of HTML into a cell's output while it streams; plain deltas at 30 Hz cost about as much."""

_VARIABLE = re.compile(r"\{\{\s*([^\W\d]\w*)\s*\}\}")


class Stopped(KeyboardInterrupt):
    """The interrupt button was pressed; the part that had arrived is in the cell's output."""

    def _render_traceback_(self) -> list[str]:
        return ["Stopped: what had arrived is kept above."]


@magics_class
class OrnbMagics(Magics):
    """The magics ``%ornb`` and ``%%ornb``."""

    shell: InteractiveShell

    @no_var_expand
    @cell_magic("ornb")  # type: ignore[arg-type]
    def ask(self, line: str, cell: str) -> None:
        """Send the cell to a model; see ``%%ornb --help``.

        Parameters
        ----------
        line : str
            The options.
        cell : str
            The prompt. ``{{name}}`` is replaced by that variable; single braces stay.

        Raises
        ------
        ConfigError
            An option or a variable that does not exist, or an empty prompt.
        OrnbError
            Whatever went wrong; its ``reply`` has what arrived.
        Stopped
            It was interrupted.
        """
        options = _parsed(line)
        if options.help:
            print(_PARSER.format_help())
            return
        names = self.shell.user_ns
        prompt = fill_in(cell.strip(), names)
        if not prompt.strip():
            raise ConfigError(
                "The cell is empty below %%ornb, so nothing was sent. Write a prompt."
            )
        talk = Conversation(options.system and fill_in(options.system, names))
        talk.add_user(prompt)
        reply, trouble = _streamed(talk, options, html_shown=hasattr(self.shell, "kernel"))
        if options.into is not None:
            self.shell.user_ns[options.into] = reply
        if trouble is not None:
            raise trouble

    @line_magic("ornb")  # type: ignore[arg-type]
    def status(self, line: str) -> None:
        """Tell which service answers, with which model, and what it has cost so far.

        Parameters
        ----------
        line : str
            Nothing.

        Raises
        ------
        ConfigError
            Something was given.
        """
        if line.strip():
            raise ConfigError(
                f"%ornb takes nothing ({line.strip()!r} was given); it tells the state. A prompt "
                "goes into a cell that begins with %%ornb."
            )
        print("\n".join(_status()))


def fill_in(text: str, variables: Mapping[str, Any]) -> str:
    r"""Put variables in the place of their names in double braces.

    Parameters
    ----------
    text : str
        Single braces, as in LaTeX and JSON, are left alone.
    variables : mapping
        Name to value.

    Returns
    -------
    str
        The text with each value as ``str`` gives it; values are not searched again.

    Raises
    ------
    ConfigError
        A name is not there; the message names near ones.

    Examples
    --------
    >>> fill_in("Say {{ word }}, not {word} or \\frac{1}{2}.", {"word": "cat"})
    'Say cat, not {word} or \\frac{1}{2}.'
    """

    def value(found: re.Match[str]) -> str:
        name = found[1]
        if name not in variables:
            raise ConfigError(
                f"{{{{{name}}}}}: there is no variable {name!r}, so nothing was sent."
                + _near(name, [known for known in variables if not known.startswith("_")])
            )
        return str(variables[name])

    return _VARIABLE.sub(value, text)


def register(shell: InteractiveShell) -> None:
    """Make ``%ornb`` and ``%%ornb`` known to an IPython.

    Parameters
    ----------
    shell : IPython.core.interactiveshell.InteractiveShell
        The running one.
    """
    shell.register_magics(OrnbMagics)


# ------------------------------------------------------------------ options


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"%%ornb: {message}. %%ornb --help explains the options.")


def _name(text: str) -> str:
    if not text.isidentifier() or keyword.iskeyword(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a name for a variable")
    return text


def _parser() -> _Parser:
    parser = _Parser(
        prog="%%ornb",
        add_help=False,
        allow_abbrev=False,
        usage="%%ornb [model] [options], and the prompt in the lines below",
        epilog="{{name}} in the prompt takes a variable of the notebook; single braces stay.",
    )
    add = parser.add_argument
    add("model", nargs="?", help="id such as openai/gpt-4o-mini; default: the service's")
    add("--into", metavar="NAME", type=_name, help="keep the Reply in this variable")
    add("--system", metavar="TEXT", help="a message to the model that goes before the prompt")
    add("--temperature", metavar="X", type=float, help="0 is steady, 2 is wild")
    add("--max-tokens", metavar="N", type=int, help="longest answer, in tokens")
    add("--label", metavar="WORD", default="%%ornb", help="your word for the call in ornb.usage")
    add("--help", action="store_true", help="show this")
    return parser


_PARSER = _parser()
_OPTIONS = ["--into", "--system", "--temperature", "--max-tokens", "--label", "--help"]


def _parsed(line: str) -> argparse.Namespace:
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise ConfigError(f"%%ornb: {error} in {line.strip()!r}. Close the quotation.") from error
    options, left = _PARSER.parse_known_args(words)
    if left:
        if left[0].startswith("-"):
            option = left[0].partition("=")[0]
            raise ConfigError(
                f"%%ornb has no option {option!r}.{_near(option, _OPTIONS)} "
                "%%ornb --help lists them."
            )
        raise ConfigError(
            f"%%ornb takes one model, and {left[0]!r} came after {options.model!r}. The prompt "
            "goes into the lines below; a text of several words needs quotation marks."
        )
    return options


def _near(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""


# ------------------------------------------------------------------ the answer, as it arrives


def _streamed(
    talk: Conversation, options: argparse.Namespace, *, html_shown: bool
) -> tuple[Reply, BaseException | None]:
    """Ask, and show the answer while it comes; give it with what cut it short."""
    params = {
        name: value
        for name in ("temperature", "max_tokens")
        if (value := getattr(options, name)) is not None
    }
    client = session.client()
    stream = client.stream(
        talk.messages(), session.model_id(options.model), label=options.label, **params
    )
    output = _CellOutput() if html_shown else _TerminalOutput()
    news, leave = PACER.join(output.show)
    trouble: BaseException | None = None
    try:
        for event in stream:
            if output.add(event):
                news()
    except KeyboardInterrupt:
        trouble = Stopped()
    except OrnbError as error:
        trouble = error
    finally:
        leave()
    reply = stream.reply
    talk.add_reply(reply)
    output.end(reply, talk)
    return reply, trouble


class _CellOutput:
    """One output of a cell, updated in place."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._new: list[str] = []
        self._finished: list[str] = []
        self._renderer = StreamRenderer()
        self._handle: DisplayHandle | None = None
        self._over = False

    def add(self, event: Event) -> bool:
        """Take a piece; say whether there is something to show."""
        if event.type == "text":
            with self._lock:
                self._new.append(event.text)
        return event.type == "text" or (event.type == "reasoning" and self._handle is None)

    def show(self) -> float:
        """Update the output; give the seconds to wait before the next time."""
        with self._lock:
            if self._over:
                return 0.0
            finished, tail = self._renderer.feed("".join(self._new))
            self._new.clear()
            self._finished.append(finished)
            body = "".join(self._finished) + tail or "<p><em>Thinking …</em></p>"
            self._put({"text/html": f'<div class="ornb-static">{body}</div>', "text/plain": "…"})
        return max(self._renderer.wait_s, len(body) / BYTES_PER_SECOND)

    def end(self, reply: Reply, talk: Conversation) -> None:
        """Leave the output that stays; nothing, if nothing came and an error tells why."""
        with self._lock:
            self._over = True
            if self._handle is None and reply.status != "ok" and not reply.text:
                return
            self._put(
                {
                    "text/html": reply_html(reply),
                    "text/plain": reply_text(reply),
                    MIME_TRANSCRIPT: talk.to_json(),
                }
            )

    def _put(self, data: dict[str, Any]) -> None:
        if self._handle is None:
            self._handle = display(data, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(data, raw=True)  # type: ignore[no-untyped-call]


class _TerminalOutput:
    """Plain text, where IPython runs in a terminal."""

    def add(self, event: Event) -> bool:
        """Write a piece at once."""
        if event.type == "text":
            sys.stdout.write(event.text)
            sys.stdout.flush()
        return False

    def show(self) -> float:
        """Nothing is left to show."""
        return 0.0

    def end(self, reply: Reply, _: Conversation) -> None:
        """Write the line of facts."""
        print(f"\n[{facts(reply)}]")


# ------------------------------------------------------------------ the state


def _status() -> list[str]:
    client, used = session.client(), session.usage
    if client.source == "offline":
        where = "offline, on this machine (ornb.connect(api_key=...) goes live)"
    else:
        key = "with a key" if client.has_key else "without a key"
        where = f"{urlsplit(client.base_url).netloc}, {key}"
    calls = used.df
    failed = int((calls["status"] == "error").sum())
    cost = float(calls["cost_usd"].sum())
    return [
        f"Service        {where}",
        f"Default model  {_default_model()}",
        f"Calls so far   {len(calls)}" + (f", {failed} failed" if failed else ""),
        f"Billed         {format_usd(cost)}",
    ]


def _default_model() -> str:
    try:
        return session.default_model() or "the service chooses"
    except OrnbError:  # a server of one's own may list nothing, and still chat
        return "not known; name one"
