"""Kernel TLS for sockets of your own: TLS 1.3 whose records the Linux kernel seals and opens.

Where the kernel has no TLS, the same calls seal records in this process, and say so.

>>> import socket, threading
>>> ours, theirs = _pair()
>>> key = bytes(range(32))
>>> server = {}
>>> thread = threading.Thread(target=lambda: server.update(socket=wrap_psk(theirs, b"a", key, server_side=True)))
>>> thread.start()
>>> with wrap_psk(ours, b"a", key) as client:
...     thread.join()
...     client.sendall(b"sealed")
...     with server["socket"] as other:
...         other.recv(100)
b'sealed'
"""

from __future__ import annotations

import os
import socket
import ssl
from pathlib import Path
from typing import Literal

from ._native import Socket, probe, wrap_keylog, wrap_psk
from ._types import Budgets, Probe, RecordLayer, SuiteProbe

__all__ = [
    "Budgets",
    "Probe",
    "RecordLayer",
    "Socket",
    "SuiteProbe",
    "probe",
    "wrap_keylog",
    "wrap_psk",
    "wrap_ssl",
]


def wrap_ssl(
    sock: ssl.SSLSocket,
    keylog: str | os.PathLike[str],
    *,
    client_random: bytes | None = None,
    sent: int = 0,
    received: int = 0,
    layer: Literal["auto", "kernel", "process"] | None = None,
) -> Socket:
    """Hands a connection that the ``ssl`` module has set up over to kernel TLS.

    ``ssl`` does not give a connection's secrets away but to a key log: set ``SSLContext.keylog_filename`` before
    the handshake, name the file here, and remove it afterwards, for who reads it reads the connection. One context
    and file for each connection makes ``client_random`` (32 bytes) unnecessary.

    Call it right after the handshake, TLS 1.3 with AES-GCM or ChaCha20-Poly1305. Records that went under the
    application keys already must be counted in ``sent`` and ``received``: for a server the session tickets that its
    handshake sent (``SSLContext.num_tickets``, 2 by default), for a client none before its first ``recv``.
    """
    cipher = sock.cipher()
    if cipher is None or sock.version() != "TLSv1.3":
        raise ValueError(f"the connection has {sock.version() or 'no TLS yet'}, expected TLSv1.3")
    if sock.pending():
        raise ValueError("the ssl module holds data of this connection that was not received yet")
    return wrap_keylog(
        sock,
        Path(keylog).read_text(encoding="ascii"),
        cipher[0],
        server_side=bool(sock.server_side),
        client_random=client_random,
        sent=sent,
        received=received,
        layer=layer,
    )


def _pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a TCP connection on loopback, for the examples."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname(), timeout=30)
        theirs, _ = listener.accept()
    theirs.settimeout(30)
    return ours, theirs
