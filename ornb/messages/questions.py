"""What a decision is asked: a state, and questions from plain Python to the API's form."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from ..api.reply import counted
from ..errors import ConfigError, did_you_mean
from .attachments import Attachment, inputs_of
from .context import estimate_tokens

TYPES = ("noul", "choice", "score", "box")
_PARTS = ("type", "instructions", "criteria")
MOST_QUESTIONS, MOST_OPTIONS, MOST_LEVELS = 200, 255, 10
"""Of one request (2026-11-30): what the most generous model takes, and levels of any score."""
DOUBT = 1.5
"""So many times the context, an estimate of tokens leaves no doubt that they are too many."""
_MISSING = {"None", "nan", "NaT", "<NA>"}
_EXAMPLE = '{"angry": "Is the writer angry?", "topic": ["food", "service"], "stars": range(1, 6)}'


def questions_of(questions: Any) -> dict[str, dict[str, Any]]:
    """Return questions as the API has them, or refuse them: nothing is sent before."""
    if isinstance(questions, str):
        questions = [questions]
    if isinstance(questions, list | tuple) and all(isinstance(each, str) for each in questions):
        _differ(questions, "The questions")
        questions = dict(zip(questions, questions, strict=True))
    if not isinstance(questions, Mapping) or not questions:
        raise ConfigError(f"There are no questions, so nothing was sent. Give some: {_EXAMPLE}.")
    if len(questions) > MOST_QUESTIONS:
        raise ConfigError(
            f"There are {len(questions)} questions, so nothing was sent: at most {MOST_QUESTIONS} "
            "go in one request."
        )
    return {_name(name): _question(str(name), asked) for name, asked in questions.items()}


def is_data(state: Any) -> bool:
    """Whether it can be decided about, and is no text."""
    return isinstance(state, bytes | Path | Attachment | Mapping | list | tuple)


def state_of(state: Any) -> Any:
    """Return what is decided about as JSON; pictures become data, at the top of a list."""
    if isinstance(state, bytes | Path | Attachment) or _is_picture(state):
        state = [state]
    if isinstance(state, tuple | list):
        state = [_piece(each) for each in state]
    if not isinstance(state, str | Mapping | list) or not state or not str(state).strip():
        raise ConfigError(
            "The state is what the questions are about: give a text, a dict or a list that is not "
            "empty. Nothing was sent."
        )
    top = state if isinstance(state, list) else [state]
    try:
        is_deep = any(_has_picture(piece) for piece in top if not _is_picture(piece))
        if not is_deep:
            json.dumps(state, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"The state has no form in JSON, so nothing was sent: {error}.") from None
    if is_deep:
        raise ConfigError(
            "A picture is read only where it stands in the list itself, and one is deeper in the "
            'state, so nothing was sent. Give ["Some text", Path("cat.png")].'
        )
    return state


def check_room(state: Any, questions: Any, model: str, record: Mapping[str, Any]) -> None:
    """Refuse a state that a model cannot take: its pictures, or its length."""
    pictures = [each for each in state if _is_picture(each)] if isinstance(state, list) else []
    takes = inputs_of(record)
    if pictures and takes and "image" not in takes:
        raise ConfigError(
            f"{model} reads no pictures, so nothing was sent. "
            'ornb.models(kind="decisions", accepts="image") lists the models that do.'
        )
    boxes = [name for name, asked in questions.items() if asked["type"] == "box"]
    if boxes and not pictures:
        raise ConfigError(
            f"{boxes[0]!r} asks where something is in a picture, and the state has none, so "
            'nothing was sent. Give a list, such as ["Some text", Path("cat.png")].'
        )
    context = record.get("context_length")
    if not isinstance(context, int) or not context:
        return
    words = [each for each in state if not _is_picture(each)] if pictures else state
    tokens = estimate_tokens(json.dumps([words, questions], ensure_ascii=False))
    if tokens > context * DOUBT:
        raise ConfigError(
            f"The state and its questions have about {tokens:,} tokens, and {model} takes "
            f"{context:,}, so nothing was sent. Shorten the state."
        )


def _name(name: Any) -> str:
    if not isinstance(name, str) or not name.strip():
        raise ConfigError(f"{name!r} is no name of a question; give a text, such as 'angry'.")
    return name


def _in_full(asked: Any) -> Any:
    if isinstance(asked, str):
        return {"type": "noul", "instructions": asked}
    if isinstance(asked, range):
        return {"type": "score", "criteria": [str(level) for level in asked[:99]]}
    if get_origin(asked) is Literal:
        return {"type": "choice", "criteria": list(get_args(asked))}
    return {"type": "choice", "criteria": asked} if isinstance(asked, list | tuple) else asked


def _question(name: str, asked: Any) -> dict[str, Any]:
    if isinstance(asked, str) and not asked.strip():
        raise ConfigError(f"The question {name!r} has no words, so nothing was sent.")
    asked = _in_full(asked)
    if not isinstance(asked, Mapping):
        raise ConfigError(
            f"The question {name!r} is a {type(asked).__name__}, so nothing was sent. Give a text "
            "(yes or no), a list or Literal of options, a range of levels, or a dict with type, "
            "instructions and criteria."
        )
    kind = asked.get("type")
    if kind not in TYPES:
        wrong = did_you_mean(str(kind), TYPES, f"type of a question (of {name!r})")
        raise ConfigError(f"Nothing was sent: {wrong}")
    for key in asked:
        if key not in _PARTS:
            wrong = did_you_mean(str(key), _PARTS, f"part of a question ({name!r})")
            raise ConfigError(f"Nothing was sent: {wrong}")
    words = asked.get("instructions")
    if isinstance(words, str) and not words.strip():
        words = None
    made = {"type": kind, "instructions": words or name}
    criteria = asked.get("criteria")
    if kind in ("choice", "score"):
        made["criteria"] = _options(name, criteria) if kind == "choice" else _levels(name, criteria)
    elif criteria is not None:
        made["criteria"] = _meanings(name, kind, criteria)
    try:
        json.dumps(made, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"The question {name!r} has no form in JSON: {error}.") from None
    return made


def _options(name: str, criteria: Any) -> dict[str, Any]:
    options = list(criteria) if isinstance(criteria, list | tuple | Mapping) else []
    _differ(options, f"The options of {name!r}")
    count = len(options)
    if not 2 <= count <= MOST_OPTIONS:
        raise ConfigError(
            f"The question {name!r} has {count} options, so nothing was sent: give 2 to "
            f"{MOST_OPTIONS}."
        )
    meanings = criteria.values() if isinstance(criteria, Mapping) else [None] * count
    return {str(option): meaning for option, meaning in zip(options, meanings, strict=True)}


def _differ(values: Sequence[Any], whose: str) -> None:
    """Refuse what would be asked about twice, or as "None", "nan" or brackets."""
    for each in values:
        is_missing = not isinstance(each, str) and str(each) in _MISSING
        if is_missing or isinstance(each, list | tuple | set) or not str(each).strip():
            raise ConfigError(f"{whose} hold {each!r:.40}, so nothing was sent. Put it in words.")
    if len(set(map(str, values))) < len(values):
        raise ConfigError(f"{whose} hold one twice, so nothing was sent.")


def _levels(name: str, criteria: Any) -> list[Any]:
    levels = list(criteria) if isinstance(criteria, list | tuple) else []
    if not 2 <= len(levels) <= MOST_LEVELS:
        raise ConfigError(
            f"The score {name!r} has {counted(len(levels), 'level')}, so nothing was sent: give 2 "
            f"to {MOST_LEVELS}, the lowest first."
        )
    _differ(levels, f"The levels of {name!r}")
    return levels


def _meanings(name: str, kind: str, criteria: Any) -> dict[str, Any]:
    if kind == "box" or not isinstance(criteria, Mapping) or set(criteria) != {"true", "false"}:
        wanted = "no criteria" if kind == "box" else 'criteria {"true": ..., "false": ...}'
        raise ConfigError(f"The question {name!r} takes {wanted}, so nothing was sent.")
    return dict(criteria)


def _piece(piece: Any) -> Any:
    if isinstance(piece, bytes | Path | Attachment):
        made = Attachment.of(piece)
        if made.kind != "image":
            raise ConfigError(f"{made.name} is no picture, so nothing was sent.")
        piece = made.part
    if _is_picture(piece):
        inside = piece.get("image_url")
        url = inside.get("url") if isinstance(inside, Mapping) else inside
        if not isinstance(url, str) or not url.startswith("data:"):
            raise ConfigError(
                "A picture of a state goes as data, and this one is an address, which most models "
                'do not fetch, so nothing was sent. Download it, and give Path("cat.png").'
            )
    return piece


def _is_picture(piece: Any) -> bool:
    return isinstance(piece, Mapping) and piece.get("type") == "image_url"


def _has_picture(value: Any) -> bool:
    if isinstance(value, bytes | Path | Attachment) or _is_picture(value):
        return True
    inner = value.values() if isinstance(value, Mapping) else value
    return isinstance(value, Mapping | list | tuple) and any(map(_has_picture, inner))
