"""Messages between the rehearsal and its processes: JSON, with its length before it.

Nothing is read ahead, so `select` says whether another message has come.
"""

from __future__ import annotations

import json
import socket
from typing import Any

SIZE = 8  # bytes that say how long a message is


def send(channel: socket.socket, message: Any) -> None:
    text = json.dumps(message).encode()
    channel.sendall(len(text).to_bytes(SIZE, "big") + text)


def receive(channel: socket.socket) -> Any:
    """EOFError when the other end is closed."""
    return json.loads(_read(channel, int.from_bytes(_read(channel, SIZE), "big")))


def _read(channel: socket.socket, size: int) -> bytes:
    parts = []
    while size:
        part = channel.recv(min(size, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
