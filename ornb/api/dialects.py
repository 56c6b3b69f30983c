"""What other servers than OpenRouter call the facts of a model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from .reply import amount

_CONTEXT = (
    *("context_length", "max_model_len", "max_input_tokens", "n_ctx"),  # vLLM, LiteLLM, llama.cpp
    *("max_context_length", "context_window", "n_ctx_train"),  # LM Studio and Mistral, Groq
)
_ANSWER = ("max_completion_tokens", "max_output_tokens")
_PRICES = {
    "input_cost_per_token": "prompt",
    "output_cost_per_token": "completion",
    "cache_read_input_token_cost": "input_cache_read",
    "cache_creation_input_token_cost": "input_cache_write",
    "output_cost_per_reasoning_token": "internal_reasoning",
    "input_cost_per_request": "request",
}
_ABOVE = re.compile(rf"({'|'.join(_PRICES)})_above_(\d+)k_tokens")
_OUTPUTS = {
    "chat": "text",
    "embedding": "embeddings",
    "rerank": "rerank",
    "image_generation": "image",
    "audio_speech": "speech",
    "audio_transcription": "transcription",
}
_INPUTS = {
    "image": "supports_vision",
    "file": "supports_pdf_input",
    "audio": "supports_audio_input",
}


def context_length(record: Mapping[str, Any]) -> Any:
    """Return the tokens of prompt and answer together, under whatever name they stand."""
    meta = record.get("meta")  # llama.cpp's
    return _first({**meta, **record} if isinstance(meta, dict) else record, _CONTEXT)


def max_completion_tokens(record: Mapping[str, Any]) -> Any:
    """Return the tokens of one answer at most, under whatever name they stand."""
    top = record.get("top_provider")
    return _first(top, _ANSWER) if isinstance(top, dict) else _first(record, _ANSWER)


def _first(record: Mapping[str, Any], names: Iterable[str]) -> Any:
    for name in names:  # most are plain counts: a generator over `amount` took a tenth of a table
        value = record.get(name)
        if (type(value) is int and value > 0) or (value and amount(value)):
            return value
    return None


def with_info(records: Iterable[Any], answer: Any) -> list[Any]:
    """Add to records of ``GET /models`` what a LiteLLM proxy's ``/model/info`` has beside them."""
    told: dict[str, list[dict[str, Any]]] = {}
    listed = answer.get("data") if isinstance(answer, dict) else None
    for each in listed if isinstance(listed, list) else ():
        if isinstance(each, dict) and isinstance(each.get("model_info"), dict):
            told.setdefault(str(each.get("model_name")), []).append(each["model_info"])
    return [
        each | _in_our_words(told[str(each["id"])])
        if isinstance(each, dict) and str(each.get("id")) in told
        else each
        for each in records
    ]


def _in_our_words(infos: list[dict[str, Any]]) -> dict[str, Any]:
    """One model; where several deployments stand behind its name, any of them may answer."""
    # It says of every model that it is OpenAI's, of 2023-02-28.
    words: dict[str, Any] = {"owned_by": None, "created": None}
    for name, theirs in (("context_length", "max_input_tokens"), ("answer", "max_output_tokens")):
        if counts := _told(infos, theirs):
            words[name] = min(counts)
    if "answer" in words:
        words["top_provider"] = {"max_completion_tokens": words.pop("answer")}
    prices = _prices(infos)
    if "prompt" in prices and "completion" in prices:
        words["pricing"] = prices
    lists = [info["supported_openai_params"] for info in infos if _lists(info)]
    parameters = [name for name in lists[0] if all(name in each for each in lists)] if lists else []
    parameters += ["structured_outputs"] if _all(infos, "supports_response_schema") else []
    parameters += ["reasoning"] if _all(infos, "supports_reasoning") else []
    if parameters:
        words["supported_parameters"] = parameters
    made = {_OUTPUTS.get(str(info.get("mode"))) for info in infos}
    if len(made) == 1 and (output := made.pop()):
        inputs = [name for name, theirs in _INPUTS.items() if _all(infos, theirs)]
        words["architecture"] = {
            "input_modalities": ["text", *inputs],
            "output_modalities": [output],
        }
    return words


def _prices(infos: list[dict[str, Any]]) -> dict[str, Any]:
    """USD per token, by OpenRouter's names: the highest, so that a budget holds."""
    prices: dict[str, Any] = {}
    for theirs, ours in _PRICES.items():
        known = _told(infos, theirs)
        if len(known) == len(infos):
            prices[ours] = max(known)
    steps = [
        {"min_prompt_tokens": 1000 * int(step[2]), _PRICES[step[1]]: price}
        for info in infos
        for name, told in info.items()
        if (step := _ABOVE.fullmatch(name)) and (price := amount(told)) is not None
    ]
    return prices | {"overrides": steps} if steps else prices


def _told(infos: list[dict[str, Any]], name: str) -> list[float]:
    found = (amount(info.get(name)) for info in infos)
    return [number for number in found if number is not None]


def _lists(info: Mapping[str, Any]) -> bool:
    return isinstance(info.get("supported_openai_params"), list)


def _all(infos: Iterable[Mapping[str, Any]], name: str) -> bool:
    return all(info.get(name) is True for info in infos)
