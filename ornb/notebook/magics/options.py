"""What stands on the first line of a cell, and what to say where it is mistyped."""

from __future__ import annotations

import argparse
import json
import keyword
import re
import shlex
from dataclasses import dataclass, field, fields
from typing import Any, NoReturn

from ...errors import ConfigError, near

COMMANDS = {
    "models": "list the models: %ornb models claude --tools --min-context 200k",
    "usage": "what the calls so far used and cost; --by model sums them up",
    "key": "what the service says of the key in use, or how to give one",
    "help": "this page",
}
"""Word after ``%ornb`` to what it does."""

EPILOG = """\
In the prompt, {{name}} takes a variable of the notebook; also {{name.attribute}}, {{name[0]}} and
{{name['key']}}. Tables become Markdown (20 rows, 12 columns), lists and dicts JSON. Single braces
stay. A setting for all cells: %config OrnbMagics.model = "author/slug"; %config OrnbMagics lists
them."""

_OWN = dict.fromkeys(("attach", "files", "images"), "Use --attach, once for each file.") | {
    "schema": "Use --schema NAME, of a variable that holds a class or a JSON schema.",
    "system": "Use --system.",
    "model": "Write the model first: %%ornb author/slug.",
    "models": 'A list of fallbacks goes as --param \'models=["a/b", "c/d"]\'.',
    "messages": "The cell is the message; --system and --chat are what goes before it.",
    "stream": "Answers always stream.",
    "label": "Use --label.",
}
_KEY = re.compile(r"sk-[\w-]{8,}")


@dataclass
class Options:
    """One first line, read."""

    model: str | None = None
    into: str | None = None
    chat: str | None = None
    compare: list[str] = field(default_factory=list)
    system: str | None = None
    label: str | None = None
    params: dict[str, Any] = field(default_factory=dict)
    """Fields of the request; those inside others have dotted names."""
    attach: list[str] = field(default_factory=list)
    """Paths, addresses, or placeholders of variables."""
    schema: str | None = None
    """Name of a variable."""
    blind: bool = False
    raw: bool = False
    quote: bool = False
    help: bool = False


def read(line: str) -> Options:
    """Read what stands behind ``%%ornb``."""
    given, left = PARSER.parse_known_args(words(line, "%%ornb"))
    if left:
        _refuse(left[0], given.model)
    if given.model and given.also_model:
        raise ConfigError(
            f"%%ornb: {given.model!r} and {given.also_model!r} are two models; name one, or "
            "--compare them."
        )
    if given.into is not None and given.into == given.chat:
        raise ConfigError(
            f"%%ornb: --into and --chat are both {given.into!r}, a reply and a conversation; give "
            "them two names."
        )
    compared = [one.strip() for one in (given.compare or "").split(",") if one.strip()]
    if given.compare is not None and (len(compared) < 2 or given.chat or given.model):
        raise ConfigError(
            "%%ornb: --compare takes two or more models, with commas and no blanks between them, "
            "and goes with neither a model nor --chat."
        )
    if given.blind and not compared:
        raise ConfigError("%%ornb: --blind goes with --compare a,b.")
    given.model, given.compare = given.model or given.also_model, compared
    given.params, given.attach = _params(given), given.attach or []
    return Options(**{each.name: getattr(given, each.name) for each in fields(Options)})


def words(line: str, magic: str) -> list[str]:
    """Cut a line into words, as a shell does; `magic` is for the message."""
    try:
        return shlex.split(line)
    except ValueError as error:
        raise ConfigError(
            f"{magic}: {error} in {shown(line.strip())!r}. Close the quotation; an apostrophe in "
            'a text needs "..." around it.'
        ) from error


def shown(text: str) -> str:
    """Return a text as a message may repeat it, which stays in the notebook: without a key."""
    return _KEY.sub("sk-…", text)


def holds_key(text: str) -> bool:
    """Return whether something in a text is what only a key looks like."""
    return re.search(r"sk-or-v1-[0-9a-f]{32}", text) is not None


def overview() -> str:
    """Write the page that ``%ornb help`` shows."""
    state = "which service answers, with which model, and what it has cost so far"
    commands = {"": state, **COMMANDS}
    lines = [f"{f'%ornb {name}'.rstrip():<16}{text}" for name, text in commands.items()]
    return "\n".join([*lines, "", PARSER.format_help()])


# ------------------------------------------------------------------ the options themselves


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(
            f"%%ornb: {shown(message).rstrip('.')}. %%ornb --help explains the options."
        )


def _name(text: str) -> str:
    if not text.isidentifier() or keyword.iskeyword(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a name for a variable")
    return text


def _assignment(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)?", name):
        raise argparse.ArgumentTypeError(f"{text!r} is not name=value, such as seed=7")
    if name in _OWN:
        raise argparse.ArgumentTypeError(f"{name} is not set this way. {_OWN[name]}")
    try:
        return name, json.loads(value)
    except ValueError as error:
        if value[:1] in tuple('{["'):
            raise argparse.ArgumentTypeError(
                f"{name} is not JSON ({error}). Put the whole in single quotation marks: "
                """--param 'name={"key": "value"}'"""
            ) from error
        return name, value  # a word, such as reasoning.effort=low


def _parser() -> _Parser:
    parser = _Parser(
        prog="%%ornb",
        add_help=False,
        allow_abbrev=False,
        usage="%%%%ornb [model] [options], and the prompt in the lines below",
        epilog=EPILOG,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, width=100),
    )
    add = parser.add_argument
    add("model", nargs="?", help="id such as openai/gpt-4o-mini; or {{picker}}")
    add("--model", dest="also_model", metavar="ID", help="the same")
    add("--into", metavar="NAME", type=_name, help="keep the Reply in this variable")
    add(
        "--chat",
        metavar="NAME",
        type=_name,
        help="go on with the conversation in this variable, made if there is none",
    )
    add("--compare", metavar="A,B,C", help="ask several models at once, side by side")
    add(
        "--blind",
        action="store_true",
        help="compare without names, until a vote; in a terminal, until all have answered",
    )
    add("--system", metavar="TEXT", help="a message to the model that goes before the prompt")
    add("--temperature", metavar="X", type=float, help="0 is steady, 2 is wild")
    add("--max-tokens", metavar="N", type=int, help="longest answer, in tokens")
    add(
        "--param",
        metavar="NAME=JSON",
        type=_assignment,
        action="append",
        help="any other parameter of the API: seed=7, reasoning.effort=low",
    )
    add(
        "--attach",
        metavar="FILE",
        action="append",
        help="an image, PDF or sound: a path, an address, or {{variable}}",
    )
    add(
        "--schema",
        metavar="NAME",
        type=lambda text: _name(text.strip("{} ")),
        help="the shape of the answer: a variable with a class or a JSON schema; see reply.value",
    )
    add("--label", metavar="WORD", help="your word for the call in ornb.usage")
    add("--quote", action="store_true", help="tell what the cell would cost, and send nothing")
    add("--raw", action="store_true", help="send the cell as it is, {{names}} too")
    add("--help", action="store_true", help="show this")
    return parser


PARSER = _parser()
OPTIONS = tuple(name for action in PARSER._actions for name in action.option_strings)
"""``--into`` and the others."""


def _params(given: argparse.Namespace) -> dict[str, Any]:
    own = {name: getattr(given, name) for name in ("temperature", "max_tokens")}
    pairs = [pair for pair in own.items() if pair[1] is not None] + (given.param or [])
    params = dict(pairs)
    if len(params) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in params if names.count(name) > 1)
        raise ConfigError(f"%%ornb: {twice} is given twice; give it once.")
    return params


def _refuse(word: str, model: str | None) -> NoReturn:
    """Raise what is wrong with the first word that no option took."""
    if not word.startswith("-"):
        raise ConfigError(
            f"%%ornb takes one model, and {shown(word)!r} came after {shown(str(model))!r}. The "
            "prompt goes into the lines below; a text of several words needs quotation marks."
        )
    option, _, value = word.partition("=")
    name = option.lstrip("-").replace("-", "_")
    if name in ("key", "api_key"):
        raise ConfigError(
            "%%ornb takes no key: what is typed into a cell is saved with the notebook. Take it "
            "out, and sign in with ornb.sign_in()."
        )
    hint = near(option, OPTIONS)
    if name in _documented():
        hint = f" A parameter of the API goes as --param {name}={value or '...'}."
    raise ConfigError(f"%%ornb has no option {option!r}.{hint} %%ornb --help lists them.")


def _documented() -> set[str]:
    from ...api.parameters import DOCUMENTED

    return {name.partition(".")[0] for name in DOCUMENTED} | {"provider", "models", "tools"}
