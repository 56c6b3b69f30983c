"""``python -m ornb.offline``: run the offline server by hand, for any program that speaks its API.

The token is random, or what ``ORNB_OFFLINE_TOKEN`` says. Ctrl-C ends it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import secrets
import sys
from typing import Any

from ornb.errors import OfflineError

from .child import announce, follow_parent, read_config
from .server import OfflineApi, Settings, listen


def main(argv: list[str] | None = None) -> int:
    """Run the command; 1 with one message on stderr if it fails."""
    options = _parser().parse_args(argv)
    if options.child:
        return _run_child()
    settings = Settings(
        token=os.environ.get("ORNB_OFFLINE_TOKEN") or secrets.token_urlsafe(32),
        local_model=not options.no_model and os.environ.get("ORNB_OFFLINE_MODEL") != "off",
        tokens_per_s=options.tokens_per_s,
        first_token_s=options.first_token_s,
        generation_delay_s=options.generation_delay_s,
    )
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_serve_by_hand(settings, options.port))
    except OfflineError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ornb.offline",
        description="OpenRouter's API on 127.0.0.1: a dated catalogue and a small local model.",
    )
    parser.add_argument("--port", type=_port, default=0, help="default: any free one")
    parser.add_argument("--no-model", action="store_true", help="canned answers only")
    parser.add_argument("--tokens-per-s", type=_positive, default=60.0, help="of canned answers")
    parser.add_argument("--first-token-s", type=float, default=0.2, help="of canned answers")
    parser.add_argument(
        "--generation-delay-s", type=float, default=0.3, help="how long /generation says 404"
    )
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser


def _port(text: str) -> int:
    # Beyond 65535 the system would silently take another one.
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a port (0 to 65535)")
    return int(text)


def _positive(text: str) -> float:
    value = float(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not more than 0")
    return value


async def _serve_by_hand(settings: Settings, port: int) -> None:
    api = OfflineApi(settings)
    try:
        base_url = f"http://127.0.0.1:{_listen(api, port)}/api/v1"
        why = api.local.why_not
        print(f"OpenRouter's API, offline: {base_url}")
        print(f"Token: {settings.token}")
        print(f"Management key, for /keys and /activity: {settings.management_key}")
        print(f"Catalogue of {api.store.date}, {len(api.store.models)} models.")
        print(f"Canned answers: {why}." if why else "Answers: SmolLM2-135M on this machine.")
        print(
            f"\nTry: curl -N {base_url}/chat/completions"
            f" -H 'Authorization: Bearer {settings.token}'"
            " -H 'Content-Type: application/json'"
            ' -d \'{"model": "openrouter/auto", "stream": true,'
            ' "messages": [{"role": "user", "content": "Give three tips for clear code."}]}\'',
            flush=True,
        )
        await asyncio.Event().wait()
    finally:
        api.close()


def _run_child() -> int:
    config = read_config()
    follow_parent()
    with contextlib.suppress(OfflineError):
        asyncio.run(_serve_parent(config))
    return 1


async def _serve_parent(config: dict[str, Any]) -> None:
    port = config.pop("port")
    try:
        api = OfflineApi(Settings(**config))
        bound = _listen(api, port)
    except OfflineError as err:
        announce({"error": str(err)})
        raise
    announce({"port": bound, "snapshot": api.store.date, "why_canned": api.local.why_not})
    await asyncio.Event().wait()


def _listen(api: OfflineApi, port: int) -> int:
    try:
        return listen(api, port)
    except OSError as err:
        raise OfflineError(
            f"Port {port} cannot be used ({err}). Choose another with --port, or none for any."
        ) from err


if __name__ == "__main__":
    sys.exit(main())
