from __future__ import annotations

import inspect
import json
from datetime import UTC, datetime
from importlib.metadata import version

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from ornb import errors
from ornb.api.refusals import NEXT_STEP, refusal, retry_after

KINDS = {name: kind for name, kind in vars(errors).items() if inspect.isclass(kind)}


BUSY = {"error": {"message": "acme is busy"}}


def body(message: str, code: object = None, **metadata: object) -> bytes:
    return json.dumps({"error": {"message": message, "code": code, "metadata": metadata}}).encode()


@pytest.mark.parametrize(
    ("status", "answer", "kind"),
    [
        (400, body("acme/x is not a valid model ID", 400), errors.BadRequest),
        (400, body("The maximum context length is 8192 tokens."), errors.ContextTooLong),
        (400, body("Too long", 400, error_type="context_length_exceeded"), errors.ContextTooLong),
        (401, body("User not found.", 401), errors.AuthenticationError),
        (402, body("Insufficient credits.", 402), errors.OutOfCredits),
        (403, body("Only management keys can perform this operation", 403), errors.Forbidden),
        (403, body("Flagged", 403, reasons=["violence"], flagged_input="how"), errors.Moderated),
        (404, body("No endpoints found for acme/x.", 404), errors.NotFound),
        (408, body("Timed out", 408), errors.ServerTimeout),
        (409, body("Conflict", 409), errors.BadRequest),
        (413, body("Too large", 413), errors.PayloadTooLarge),
        (418, body("A teapot", 418), errors.BadRequest),
        (422, body("Semantics", 422), errors.BadRequest),
        (429, body("Rate limit exceeded: free-models-per-min. ", "429"), errors.RateLimited),
        (500, body("Internal", 500), errors.ServerError),
        (502, body("Down", 502), errors.ProviderUnavailable),
        (503, body("None left", 503), errors.ProviderUnavailable),
        (504, body("Slow", 504, error_type="timeout"), errors.ServerTimeout),
        (524, b"<html><title>524: A timeout occurred</title></html>", errors.ServerTimeout),
        (529, body("Overloaded", 529), errors.ProviderUnavailable),
        (200, body("Upstream went away", 502), errors.ProviderUnavailable),
        (200, body("Odd", "rate_limit", error_type="rate_limit_exceeded"), errors.RateLimited),
        (200, b"<!doctype html><title>Sign in</title>", errors.UnexpectedAnswer),
        (200, b'{"choices": ', errors.UnexpectedAnswer),
        (302, b"", errors.UnexpectedAnswer),
        (404, b"<html>not here</html>", errors.UnexpectedAnswer),
    ],
)
def test_each_answer_becomes_its_class(status: int, answer: bytes, kind: type) -> None:
    error = refusal(status, {}, answer, url="https://openrouter.ai/api/v1/x", model="acme/x")
    assert type(error) is kind


AT_HOME = "http://127.0.0.1:4000/v1"
LITELLM = "\n\nLiteLLM: model group 'm' failed with the error above. No fallback was attempted."
FLAGGED = {
    "error": {
        "message": "Your input was flagged",
        "code": 403,
        "metadata": {
            "reasons": ["violence"],
            "flagged_input": "how",
            "provider_name": "NorthCloud",
        },
    },
    "user_id": "user_2abcdefghijklmnopq",
}


def at_home(
    status: int, answer: object, path: str = "/chat/completions", **headers: str
) -> errors.ApiError:
    """What a server of one's own says no with."""
    return refusal(
        status,
        CaseInsensitiveDict(headers),
        answer if isinstance(answer, bytes) else json.dumps(answer).encode(),
        url=AT_HOME + path,
        server=AT_HOME,
    )


def said(message: str, kind: str, code: object = None) -> dict[str, object]:
    """As OpenAI puts it."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


SIZES = {"code": 400, "type": "exceed_context_size_error", "n_prompt_tokens": 3031, "n_ctx": 1024}
WINDOW = "litellm.ContextWindowExceededError: litellm.BadRequestError: Too big."
FIELD = {"loc": ["body", "temperature"], "msg": "Input should be a number", "type": "float_type"}
PORTKEY = "Either x-portkey-config or x-portkey-provider header is required"
ELSEWHERE: dict[str, tuple[int, object, type, str]] = {
    "llama.cpp": (
        400,
        {"error": SIZES},
        errors.ContextTooLong,
        "A prompt of 3,031 tokens does not fit the 1,024",
    ),
    "llama.cpp of today": (
        400,
        {"error": SIZES | {"message": "request (3031 tokens) exceeds the available context size"}},
        errors.ContextTooLong,
        "request (3031 tokens) exceeds",
    ),
    "LiteLLM": (
        400,
        said(WINDOW + LITELLM, "invalid_request_error", "400"),
        errors.ContextTooLong,
        "models(min_context=",
    ),
    "OpenAI": (
        400,
        said("Too big.", "invalid_request_error", "context_length_exceeded"),
        errors.ContextTooLong,
        "Too big",
    ),
    "an older vLLM": (
        400,
        {"object": "error", "message": "maximum context length is 9 tokens", "code": 400},
        errors.ContextTooLong,
        "9 tokens",
    ),
    "nothing left at OpenAI": (
        429,
        said("You exceeded it.", "insufficient_quota", "insufficient_quota"),
        errors.OutOfCredits,
        "Whoever runs that server",
    ),
    "a budget of LiteLLM's": (
        429,
        said("Budget has been exceeded!", "budget_exceeded", "429"),
        errors.OutOfCredits,
        "Whoever runs that server",
    ),
    "FastAPI": (401, {"detail": "No key"}, errors.AuthenticationError, "No key [401]"),
    "a field of FastAPI's": (
        422,
        {"detail": [FIELD]},
        errors.BadRequest,
        "temperature: Input should be a number",
    ),
    "an error in FastAPI's": (
        503,
        {"detail": {"error": {"message": "Loading", "type": "x"}}},
        errors.ProviderUnavailable,
        "Loading",
    ),
    "an object in FastAPI's": (500, {"detail": {"why": "fuse"}}, errors.ServerError, "fuse"),
    "a length inside OpenAI's words": (
        500,
        {"error": "Error code: 400 - This model's maximum context length is 1024 tokens."},
        errors.ContextTooLong,
        "1024 tokens",
    ),
    "a key inside OpenAI's words": (
        500,
        {"error": {"message": "Error code: 401 - Incorrect API key provided: sk-up****"}},
        errors.AuthenticationError,
        "own key for its provider was refused",
    ),
    "no such path": (404, {"detail": "Not Found"}, errors.NotFound, "check base_url"),
    "Google": (404, [{"error": {"message": "Gone"}}], errors.NotFound, "Gone [404]"),
    "Mistral": (422, {"message": {"detail": [FIELD]}}, errors.BadRequest, "temperature: Input"),
    "a list of words": (400, {"error": {"message": ["too", "odd"]}}, errors.BadRequest, "too; odd"),
    "an error that is true": (
        404,
        {"error": True, "message": "Gone"},
        errors.NotFound,
        "Gone [404]",
    ),
    "Cloudflare": (
        400,
        {"success": False, "errors": [{"code": 7003, "message": "No route"}], "result": None},
        errors.BadRequest,
        "No route [400]",
    ),
    "no detail": (500, {"detail": None}, errors.ServerError, "no reason given"),
    "Portkey": (400, {"message": PORTKEY}, errors.BadRequest, "ornb.connect(..., headers={...})"),
}


@pytest.mark.parametrize(("status", "answer", "kind", "words"), ELSEWHERE.values(), ids=ELSEWHERE)
def test_other_servers_errors_are_read_as_they_put_them(
    status: int, answer: object, kind: type, words: str
) -> None:
    error = at_home(status, answer)
    assert type(error) is kind
    assert error.status_code == status
    assert words in str(error)
    assert "proxy" not in str(error)


@pytest.mark.parametrize("status", [403, 500])
def test_an_error_of_openrouter_inside_a_proxys_words_keeps_its_kind(status: int) -> None:
    words = f"litellm.APIError: APIError: OpenrouterException - {json.dumps(FLAGGED)}{LITELLM}"
    error = at_home(status, said(words, "permission_error", "403"))
    assert type(error) is errors.Moderated
    assert (error.provider, error.status_code) == ("NorthCloud", status)
    assert "Your input was flagged (violence)" in str(error)
    assert "user_" not in str(error)


def test_a_key_is_given_where_it_reaches_that_server() -> None:
    answer = {"error": {"message": "Invalid API Key", "type": "authentication_error", "code": 401}}
    error = at_home(401, answer)
    assert 'ornb.connect(base_url="http://127.0.0.1:4000/v1", api_key=...)' in str(error)
    assert "sign_in" not in str(error)
    assert "OPENROUTER_API_KEY" not in str(error)
    page = at_home(401, b"<title>401</title>")
    assert 'ornb.connect(base_url="http://127.0.0.1:4000/v1", api_key=...)' in str(page)
    behind = at_home(401, answer, **{"llm_provider-server": "x"})
    assert "own key for its provider was refused" in str(behind)
    offline = at_home(401, answer, **{"X-Ornb-Source": "canned"})
    assert "ornb.sign_in()" in str(offline)


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("/models", "no list of models there: check base_url"),
        ("/providers", "no list of providers"),
        ("/models/a/b/endpoints", "no list of a model's endpoints"),
        ("/key", "no account of its keys"),
        ("/generation", "no books of single calls"),
    ],
)
@pytest.mark.parametrize(
    "answer",
    [
        b"404 page not found",
        {"detail": "Not Found"},
        {"error": {"message": "File Not Found", "type": "not_found_error", "code": 404}},
        {"detail": "Model 'a/b/endpoints' not found"},
    ],
    ids=["Ollama", "LiteLLM", "llama.cpp", "any-llm"],
)
def test_what_only_openrouter_has_is_not_looked_for_elsewhere(
    path: str, what: str, answer: object
) -> None:
    error = at_home(404, answer, path)
    assert type(error) is errors.NotFound
    assert f"127.0.0.1:4000 has {what}" in str(error)
    assert "models(" not in str(error)


def test_a_proxy_tells_how_long_its_provider_wants_to_be_left_alone() -> None:
    error = at_home(429, {"error": {"message": "Slow down"}}, **{"llm_provider-retry-after": "7"})
    assert error.retry_after == 7
    assert retry_after({"Retry-After": "2", "llm_provider-Retry-After": "7"}) == 2


ANSWERED = {*errors.BY_STATUS.values(), *errors.BY_TYPE.values(), errors.ServerError}


@pytest.mark.parametrize("kind", sorted(ANSWERED, key=lambda kind: kind.__name__))
def test_each_class_says_what_to_do_next(kind: type[errors.ApiError]) -> None:
    assert NEXT_STEP[kind.__name__]


def test_every_class_stands_in_the_tree_at_the_top() -> None:
    for name, kind in KINDS.items():
        if kind.__module__ == "ornb.errors":
            assert name in (errors.__doc__ or "")


@pytest.mark.parametrize(
    "raw",
    [BUSY["error"]["message"], json.dumps(BUSY), BUSY],
    ids=["text", "JSON in a string", "object"],
)
def test_the_providers_own_words_are_shown(raw: object) -> None:
    answer = body("Provider returned error", 429, raw=raw, provider_name="NorthCloud")
    error = refusal(429, {}, answer, model="acme/x")
    assert "acme is busy" in str(error)
    assert error.provider == "NorthCloud"
    assert "acme/x" in str(error)


@pytest.mark.parametrize(
    ("said", "step"),
    [
        ("support image input", 'ornb.models(accepts="image") lists models that do.'),
        (
            "support image input. Offline, models read text only.",
            'ornb.sign_in() goes live, where ornb.models(accepts="image") lists models that do.',
        ),
        ("support tool use. Try another.", "ornb.models(tools=True) lists models that do."),
        ("for acme/x.", NEXT_STEP["NotFound"]),
    ],
)
def test_what_a_model_cannot_do_is_no_reason_to_look_up_its_id(said: str, step: str) -> None:
    error = refusal(404, {}, body(f"No endpoints found that {said}", 404), model="acme/x")
    assert str(error).endswith(f"]. {step}")


def of_type(error_type: str, status: int = 400) -> errors.ApiError:
    return refusal(status, {}, body("No", status, error_type=error_type), model="acme/x")


KIND_OF_TYPE = {
    "context_length_exceeded": (errors.ContextTooLong, "Shorten the prompt"),
    "token_limit_exceeded": (errors.ContextTooLong, "Shorten the prompt"),
    "string_too_long": (errors.ContextTooLong, "Shorten the prompt"),
    "max_tokens_exceeded": (errors.BadRequest, "Ask for fewer max_tokens"),
    "authentication": (errors.AuthenticationError, "valid key"),
    "permission_denied": (errors.Forbidden, "permission"),
    "payment_required": (errors.OutOfCredits, "Add credits"),
    "rate_limit_exceeded": (errors.RateLimited, "Wait"),
    "provider_overloaded": (errors.ProviderUnavailable, "Try again shortly"),
    "provider_unavailable": (errors.ProviderUnavailable, "Try again shortly"),
    "invalid_request": (errors.BadRequest, "Change the request"),
    "invalid_prompt": (errors.BadRequest, "Change the request"),
    "precondition_failed": (errors.BadRequest, "Change the request"),
    "unprocessable": (errors.BadRequest, "Change the request"),
    "not_found": (errors.NotFound, "Look the id up"),
    "payload_too_large": (errors.PayloadTooLarge, "Send less"),
    "content_policy_violation": (errors.Moderated, "Rephrase"),
    "refusal": (errors.Moderated, "Rephrase"),
    "invalid_image": (errors.BadRequest, "PNG, JPEG, WebP or GIF"),
    "unsupported_image_format": (errors.BadRequest, "PNG, JPEG, WebP or GIF"),
    "image_too_large": (errors.PayloadTooLarge, "smaller image"),
    "image_too_small": (errors.BadRequest, "larger image"),
    "image_not_found": (errors.BadRequest, "attach the file itself"),
    "image_download_failed": (errors.BadRequest, "attach the file itself"),
    "server": (errors.ServerError, "Try again shortly"),
    "timeout": (errors.ServerTimeout, "Try again"),
    "unmapped": (errors.ProviderUnavailable, "Try again shortly"),
}


@pytest.mark.parametrize("error_type", KIND_OF_TYPE)
def test_each_error_type_becomes_its_class_and_says_its_own_step(error_type: str) -> None:
    """Inside a stream, where the status is 200 whatever went wrong."""
    kind, step = KIND_OF_TYPE[error_type]
    error = refusal(200, {}, body("No", error_type=error_type), model="acme/x")
    assert type(error) is kind
    assert step in str(error)
    assert error.error_type == error_type


@pytest.mark.skipif(version("openrouter") != "1.3.84", reason="another SDK has other ones")
def test_every_error_type_of_the_official_sdk_is_known() -> None:
    from openrouter.components.apierrortype import APIErrorType

    known, *_ = APIErrorType.__args__
    assert set(known.__args__) == set(KIND_OF_TYPE)


def test_an_error_type_that_says_nothing_leaves_the_word_to_the_status() -> None:
    assert type(of_type("unmapped", 400)) is errors.BadRequest
    assert type(of_type("unmapped", 429)) is errors.RateLimited
    assert type(of_type("made_up", 402)) is errors.OutOfCredits


SHARED_POOL = body(
    "Provider returned error",
    429,
    provider_name="NorthCloud",
    limit_source="upstream_provider_shared_pool",
    remedy_hint="Retry shortly, or add a key of your own.",
    previous_errors=[
        {"provider": "SouthCloud", "code": 503, "status": 503},
        {"provider": "WestCloud", "status": 502},
        {"code": 429, "message": "Provider returned error"},
    ],
)


def test_whose_limit_it_is_and_what_the_service_advises_is_said() -> None:
    error = refusal(429, {}, SHARED_POOL, model="acme/x")
    assert error.limit_source == "upstream_provider_shared_pool"
    assert error.remedy_hint == "Retry shortly, or add a key of your own."
    assert str(error) == (
        "Provider returned error [429, acme/x, NorthCloud, upstream_provider_shared_pool]. "
        + NEXT_STEP["RateLimited"]
        + " Before it failed SouthCloud (503), WestCloud (502). The service advises: Retry "
        "shortly, or add a key of your own."
    )
    assert [each.get("provider") for each in error.previous_errors] == [
        "SouthCloud",
        "WestCloud",
        None,
    ]


def unavailable(status: int, code: str, **more: object) -> errors.ApiError:
    said = {"code": code, "requested_models": ["acme/x"], "docs_url": f"https://d.example/#{code}"}
    error = {"message": "No", "http_status": status}
    answer = json.dumps({"error": {**error, "availability": said | more}}).encode()
    return refusal(status, {}, answer, model="acme/x")


@pytest.mark.parametrize(
    ("status", "code", "step"),
    [
        (400, "model_not_found", "Look the id up"),
        (400, "wrong_endpoint", "not asked by chat completions"),
        (404, "no_endpoints", "Pick another model"),
        (404, "model_deprecated", "Pick another model"),
        (404, "model_unavailable_upstream", "Pick another model"),
        (403, "region_restricted", "Pick another model"),
        (404, "privacy_restricted", "privacy settings"),
        (404, "constraint_filtered", "Relax"),
        (404, "free_variant_ended", "without :free"),
        (429, "capacity_exhausted", "Try again in 40 s"),
        (503, "temporarily_unavailable", "Try again in 40 s"),
        (404, "made_up", NEXT_STEP["NotFound"]),
    ],
)
def test_why_a_model_is_not_to_be_had_is_said_with_what_to_do(
    status: int, code: str, step: str
) -> None:
    error = unavailable(status, code, retry_after=40 if status in (429, 503) else None)
    assert step in str(error)
    assert f"https://d.example/#{code}" in str(error)
    assert error.availability["code"] == code


def test_what_would_do_instead_and_what_ruled_it_out_is_said() -> None:
    error = unavailable(
        404,
        "constraint_filtered",
        fallback_models=["acme/y", "acme/z", "acme/v", "acme/w"],
        excluded_by=["provider.only", "quantizations"],
        constraint={"field": "provider.max_price", "detail": "all cost more"},
    )
    assert str(error) == (
        "No (provider.max_price: all cost more; ruled out by provider.only, quantizations) "
        "[404, acme/x]. Relax provider= or the parameters, or pick another model. Instead: "
        "acme/y, acme/z, acme/v. See https://d.example/#constraint_filtered"
    )


ODD = [None, 3, "x", True, [], {}, [3, None], {"a": {"b": 1}}, [["x"]], [{"id": 3}], "é" * 5000]


@pytest.mark.parametrize("value", ODD, ids=lambda value: repr(value)[:20])
def test_facts_of_an_odd_shape_are_left_out_and_nothing_else_is_lost(value: object) -> None:
    names = ["limit_source", "remedy_hint", "previous_errors", "provider_name", "error_type"]
    metadata = dict.fromkeys(names, value)
    inner = dict.fromkeys(
        ["code", "fallback_models", "excluded_by", "constraint", "docs_url", "retryable"], value
    )
    for availability in (inner, value):
        error = {"message": "Slow down", "metadata": metadata, "availability": availability}
        made = refusal(429, {}, json.dumps({"error": error}).encode(), model="acme/x")
        assert type(made) is errors.RateLimited
        assert str(made).startswith("Slow down")
        assert len(str(made)) < 1000
        assert made.raw == error
        assert isinstance(made.previous_errors, list)
        assert isinstance(made.availability, dict)
        assert all(isinstance(each, str | None) for each in (made.limit_source, made.remedy_hint))


def test_what_the_router_tried_before_it_gave_up_is_with_the_error() -> None:
    tried = {"strategy": "direct", "attempts": [{"provider": "NorthCloud", "status": 503}]}
    for beside, known in ((tried, tried), (None, {}), (["?"], {}), ("?", {})):
        answer = {"error": {"message": "None left", "code": 503}, "openrouter_metadata": beside}
        made = refusal(503, {}, json.dumps(answer).encode(), model="acme/x")
        assert made.router_metadata == known
        assert type(made) is errors.ProviderUnavailable


def test_an_error_without_a_body_has_none_of_the_facts() -> None:
    error = errors.RateLimited("No")
    assert (error.limit_source, error.remedy_hint) == (None, None)
    assert (error.previous_errors, error.availability, error.router_metadata) == ([], {}, {})


def test_a_limit_tells_when_to_come_back() -> None:
    error = refusal(429, {"Retry-After": "90"}, body("Slow down", 429))
    assert error.retry_after == 90
    assert "Try again in 90 s" in str(error)


def test_a_web_page_is_named_by_its_title() -> None:
    page = b"<html><head><title>Company sign-in</title></head><body>" + b"x" * 5000
    error = refusal(200, {}, page, url="https://proxy.example/api/v1/models")
    assert "Company sign-in" in str(error)
    assert "proxy.example" in str(error)
    assert len(str(error)) < 400


@pytest.mark.parametrize("value", ["soon", "", "-5", "1e400", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_an_odd_retry_after_is_no_trouble(value: str) -> None:
    assert retry_after({"Retry-After": value}) in (None, 0.0)


@pytest.mark.parametrize("told", ["1796083230000", "1796083230", "30"])
def test_a_limits_reset_may_be_in_milliseconds_or_seconds_or_from_now_on(told: str) -> None:
    now = datetime.fromtimestamp(1796083200, UTC)
    assert retry_after({"X-RateLimit-Reset": told}, now=now) == 30


@pytest.mark.parametrize(
    ("error", "kind", "status"),
    [
        ({"type": "overloaded_error"}, errors.ProviderUnavailable, 529),
        ({"type": "rate_limit_error"}, errors.RateLimited, 429),
        ({"type": "invalid_request_error"}, errors.BadRequest, 400),
        ({"type": "a word of its own"}, errors.ProviderUnavailable, 502),
        ({"type": "rate_limit_error", "code": 503}, errors.ProviderUnavailable, 503),
    ],
)
def test_an_error_in_a_stream_is_what_its_type_says(error: dict, kind: type, status: int) -> None:
    found = at_home(200, {"error": {"message": "No", **error}})
    assert type(found) is kind
    assert f"[{status}]" in str(found)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=5,
)
FIELDS = ["code", "message", "metadata", "availability", "error_type"]
METADATA = ["raw", "provider_name", "error_type", "reasons", "headers", "retry_after"]
METADATA += ["limit_source", "remedy_hint", "previous_errors"]
METADATA += ["fallback_models", "excluded_by", "constraint", "docs_url"]
DETAILS = st.dictionaries(st.sampled_from(METADATA), JSON)


@given(
    st.sampled_from([200, 302, 400, 401, 403, 404, 429, 500, 502, 599]),
    st.dictionaries(st.sampled_from(FIELDS), JSON | DETAILS),
)
def test_no_error_object_makes_it_fail(status: int, error: dict) -> None:
    for server in (None, AT_HOME):
        made = refusal(status, {}, json.dumps({"error": error}).encode(), server=server)
        assert isinstance(made, errors.ApiError)
        assert str(made)


@given(
    st.sampled_from([400, 404, 422, 500]), st.sampled_from(["detail", "message"]), JSON | DETAILS
)
def test_no_error_without_an_envelope_makes_it_fail(status: int, name: str, said: object) -> None:
    made = at_home(status, {name: said})
    assert isinstance(made, errors.ApiError)
    assert made.status_code == status


@given(st.sampled_from([200, 404, 502]), st.binary())
def test_no_body_makes_it_fail(status: int, answer: bytes) -> None:
    assert isinstance(refusal(status, {}, answer), errors.OrnbError)


def test_bodies_quoted_in_public_are_understood(shared_data) -> None:
    lines = (shared_data / "quoted" / "errors-quoted.jsonl").read_text().splitlines()
    for quoted in map(json.loads, lines):
        answer = quoted["body"]
        if not isinstance(answer, dict) or "error" not in answer:
            continue
        error = refusal(quoted["http_status"] or 200, {}, json.dumps(answer).encode())
        assert isinstance(error, errors.ApiError)
        assert "no reason given" not in str(error)
        assert "user_" not in str(error)
