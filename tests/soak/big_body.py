"""Bodies of a gigabyte, one after the other, until it is ended: `python -m tests.soak.big_body PORT TOKEN`; prints what each came to."""

from __future__ import annotations

import contextlib
import socket
import sys
import time

_BYTES = 1_000_000_000
_PIECE = b"x" * 65_536


def main(port: int, token: str) -> None:
    is_chunked = False
    while True:
        sent, answer = post(port, token, is_chunked=is_chunked)
        print(f"{sent} {answer}", flush=True)
        is_chunked = not is_chunked
        time.sleep(0.05)


def post(port: int, token: str, *, is_chunked: bool) -> tuple[int, str]:
    """How much of a body was taken, and the status line of the answer."""
    length = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {_BYTES}"
    head = (
        f"POST /api/v1/subscriptions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\n{length}\r\n\r\n"
    )
    piece = b"%x\r\n%b\r\n" % (len(_PIECE), _PIECE) if is_chunked else _PIECE
    sent, answer = 0, b""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(head.encode())
            while sent < _BYTES:
                connection.sendall(piece)
                sent += len(_PIECE)
        with contextlib.suppress(OSError):
            answer = connection.recv(65_536)
    return sent, answer.partition(b"\r\n")[0].decode(errors="replace") or "reset"


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
