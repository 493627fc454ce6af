"""Keys: made, checked, written, derived; and never printed."""

from __future__ import annotations

import base64
import stat
import zlib
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nvme_tcp
from nvme_tcp import keys

HOST = "nqn.2014-08.org.nvmexpress:uuid:11111111-2222-3333-4444-555555555555"
SUBSYSTEM = "nqn.2024-01.io.example:images"


@pytest.mark.parametrize(("hash", "length"), [("sha256", 32), ("sha384", 48), ("none", 32)])
def test_generate(hash: Literal["none", "sha256", "sha384"], length: int) -> None:
    key = keys.generate(hash)
    assert keys.check(key.to_text()) == keys.KeyInfo(hash, length)
    assert (key.hash, key.length) == (hash, length)
    assert keys.Key.from_text(f" {key.to_text()}\n") == key != keys.generate(hash)


@given(st.sampled_from([32, 48]).flatmap(lambda length: st.binary(min_size=length, max_size=length)))
def test_the_text_is_the_standards(secret: bytes) -> None:
    hash: Literal["sha256", "sha384"] = "sha256" if len(secret) == 32 else "sha384"
    key = keys.Key.from_bytes(secret, hash)
    body = base64.b64encode(secret + zlib.crc32(secret).to_bytes(4, "little")).decode()
    assert key.to_text() == f"NVMeTLSkey-1:{1 if hash == 'sha256' else 2:02}:{body}:"
    for shown in (repr(key), str(key)):
        assert body not in shown and secret.hex() not in shown


@given(st.text())
def test_other_texts_are_no_keys(text: str) -> None:
    with pytest.raises((nvme_tcp.ConfigurationError, UnicodeEncodeError)):
        keys.check(text)


def test_a_changed_text_is_found_and_not_repeated() -> None:
    text = keys.generate().to_text()
    changed = text[:20] + ("A" if text[20] != "A" else "B") + text[21:]
    with pytest.raises(ValueError) as caught:
        keys.check(changed)
    assert changed[14:30] not in str(caught.value)
    with pytest.raises(nvme_tcp.ConfigurationError):
        keys.Key.from_bytes(bytes(31))
    with pytest.raises(nvme_tcp.ConfigurationError, match="hash"):
        keys.generate("md5")  # type: ignore[arg-type]


def test_files(tmp_path: Path) -> None:
    key, path = keys.generate(), tmp_path / "key"
    key.write_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert keys.Key.from_file(path) == key
    with pytest.raises(nvme_tcp.NvmeError) as caught:
        key.write_file(path)
    assert caught.value.errno == 17
    path.chmod(0o644)
    with pytest.raises(nvme_tcp.NvmeError, match="others"):
        keys.Key.from_file(path)


def test_derive() -> None:
    key = keys.Key.from_bytes(bytes(range(32)))
    one = key.derive(HOST, SUBSYSTEM)
    assert one.identity.startswith(f"NVMe1R01 {HOST} {SUBSYSTEM} ") and one.version == 1 and not one.compat
    assert len(one.secret) == 32 and one.secret.hex() not in repr(one) and "secret" not in repr(one)
    zero = key.derive(HOST, SUBSYSTEM, version=0)
    assert zero.identity == f"NVMe0R01 {HOST} {SUBSYSTEM}"
    assert key.derive(HOST, SUBSYSTEM, compat=True).secret != one.secret
    assert {one.identity, zero.identity} < set(key.identities(HOST, SUBSYSTEM))
    assert len(key.identities(HOST, SUBSYSTEM)) == len(set(key.identities(HOST, SUBSYSTEM)))
    for wrong in (lambda: key.derive("a b", SUBSYSTEM), lambda: key.derive(HOST, SUBSYSTEM, version=2)):
        with pytest.raises(nvme_tcp.ConfigurationError):
            wrong()


def test_keys_compare_but_do_not_hash() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(keys.generate())
