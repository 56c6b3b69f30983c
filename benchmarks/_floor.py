"""The least Python that gets the text out of a stream: what every client is held against."""

from __future__ import annotations

import json
import socket


def floor(port: int, model: str, *, parse: bool = True) -> int:
    """Read a stream with a bare socket, and give the number of pieces of text."""
    body = json.dumps({"model": model, "stream": True, "messages": []}).encode()
    pieces, rest = [], b""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(
            b"POST /api/v1/chat/completions HTTP/1.1\r\nHost: bench\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        while block := connection.recv(65_536):
            if not parse:
                if block.endswith(b"0\r\n\r\n"):
                    break
                continue
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                if line.startswith(b"data: {"):
                    content = json.loads(line[6:])["choices"][0]["delta"]["content"]
                    if content:
                        pieces.append(content)
                elif line == b"data: [DONE]":
                    return len(pieces)
    return len(pieces)
