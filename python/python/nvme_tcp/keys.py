"""Pre-shared keys for TLS: made, checked, and what is derived from them; secrets for DH-HMAC-CHAP.

>>> key = generate()
>>> check(key.to_text())
KeyInfo(hash='sha256', length=32)
>>> key.derive("nqn.2024-01.io.example:host", "nqn.2024-01.io.example:images").identity.split()[:2]
['NVMe1R01', 'nqn.2024-01.io.example:host']

A key is a secret: it is printed as its kind only, and ``to_text`` is the one way to see it.

>>> key
<nvme_tcp.keys.Key of 32 bytes, sha256>
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ._native import Key, Source, generate_secret
from ._types import DerivedKey

__all__ = ["DerivedKey", "Key", "KeyInfo", "Source", "check", "generate", "generate_secret"]


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What a key's text says of the key."""

    #: The hash that makes the retained key from it.
    hash: Literal["none", "sha256", "sha384"]
    #: In bytes.
    length: int


def generate(hash: Literal["none", "sha256", "sha384"] = "sha256") -> Key:
    """A new random key: 48 bytes for "sha384", else 32. Every peer knows "sha256"."""
    return Key.generate(hash)


def check(text: str) -> KeyInfo:
    """Checks a key's text, its checksum too.

    Raises ``ConfigurationError`` (a ``ValueError``), which says what is wrong and does not hold the text.

    >>> check("NVMeTLSkey-1:01:AAAA:")
    Traceback (most recent call last):
    ...
    nvme_tcp.ConfigurationError: ...
    """
    key = Key.from_text(text)
    return KeyInfo(key.hash, key.length)
