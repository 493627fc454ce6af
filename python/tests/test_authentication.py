"""DH-HMAC-CHAP, and TLS with the key that it makes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from conftest import SIZE

import nvme_tcp
from nvme_tcp import keys
from nvme_tcp.testing import Target


def without(target: Target, *names: str, **other: Any) -> dict[str, Any]:
    """What it takes to connect, but for some of it."""
    return {name: value for name, value in target.connect_args.items() if name not in names} | other


@pytest.fixture(params=["plain", "tls", "concat"])
def asking(request: pytest.FixtureRequest) -> Any:
    """A target that asks who is there."""
    with Target(SIZE, tls=request.param == "tls", authentication=True, concat=request.param == "concat") as target:
        yield target


def test_both_ends_know_each_other(asking: Target) -> None:
    with nvme_tcp.connect(**asking.connect_args) as controller:
        namespace = controller.namespace()
        namespace.write(0, b"x" * 512)
        controller.reauthenticate()
        assert namespace.read(0, 512) == b"x" * 512
        tls = controller.tls
        assert (tls is None) == (set(asking.connect_args) & {"key", "concat"} == set())
        assert tls is None or tls.generated == ("concat" in asking.connect_args)
        controller.reconnect()
        assert namespace.read(0, 512) == b"x" * 512


def test_in_an_event_loop(asking: Target) -> None:
    async def main() -> None:
        async with nvme_tcp.aio.connect(**asking.connect_args) as controller:
            assert await (await controller.namespace()).read(0, 512) == bytes(512)
        with pytest.raises(nvme_tcp.AuthenticationError):
            await nvme_tcp.aio.connect(**without(asking, dhchap_secret=keys.generate_secret()))

    asyncio.run(main())


@pytest.mark.parametrize("wrong", ["dhchap_secret", "dhchap_ctrl_secret"])
def test_another_secret_is_refused(asking: Target, wrong: str) -> None:
    secret = keys.generate_secret()
    with pytest.raises(nvme_tcp.AuthenticationError) as caught:
        nvme_tcp.connect(**without(asking, **{wrong: secret}))
    assert isinstance(caught.value, OSError) and caught.value.scope == "controller" and caught.value.errno
    # Whose turn it is, and no word of the secret.
    assert secret[10:30] not in str(caught.value) and caught.value.strerror


def test_a_secret_is_wanted() -> None:
    for tls in (False, True):
        with Target(SIZE, tls=tls, authentication=True) as target:
            with pytest.raises(nvme_tcp.AuthenticationError) as caught:
                nvme_tcp.connect(**without(target, "dhchap_secret", "dhchap_ctrl_secret"))
            assert caught.value.hint
    with Target(SIZE, concat=True) as target, pytest.raises(nvme_tcp.AuthenticationError):
        nvme_tcp.connect(**without(target, "concat"))


def test_one_way() -> None:
    secret = keys.generate_secret("sha512")
    with Target(SIZE, dhchap_secret=secret) as target:
        assert "dhchap_ctrl_secret" not in target.connect_args
        with nvme_tcp.connect(**target.connect_args) as controller:
            assert controller.namespaces() == [1]
        # This host wants to know who answers, and the target has nothing to say to that.
        with pytest.raises(nvme_tcp.AuthenticationError):
            nvme_tcp.connect(**without(target, dhchap_ctrl_secret=keys.generate_secret()))


def test_another_host_is_not_let_in() -> None:
    with Target(SIZE, host_nqn="nqn.2024-01.io.example:host") as target:
        with nvme_tcp.connect(**target.connect_args) as controller:
            assert controller.namespaces() == [1]
        with pytest.raises(nvme_tcp.NvmeError) as caught:
            nvme_tcp.connect(**without(target, host_nqn="nqn.2024-01.io.example:other"))
        # Connect: invalid host.
        assert (caught.value.status_type, caught.value.status_code) == (1, 0x84)


@pytest.mark.parametrize(("hash", "length"), [("none", 32), ("sha256", 32), ("sha384", 48), ("sha512", 64)])
def test_secrets_are_made(hash: Any, length: int) -> None:
    text = keys.generate_secret(hash)
    prefix, number, body, end = text.split(":")
    assert (prefix, number, end) == ("DHHC-1", f"0{('none', 'sha256', 'sha384', 'sha512').index(hash)}", "")
    assert len(body) == -(-(length + 4) // 3) * 4 and text != keys.generate_secret(hash)


def test_secrets_that_are_none() -> None:
    with pytest.raises(nvme_tcp.ConfigurationError, match="hash"):
        keys.generate_secret("md5")  # type: ignore[arg-type]
    for options in ({"dhchap_secret": "DHHC-1:x"}, {"dhchap_secret": keys.generate_secret(), "dhchap_ctrl_secret": ""}):
        with pytest.raises(nvme_tcp.ConfigurationError, match="dhchap"):
            Target(SIZE, **options)
    with pytest.raises(nvme_tcp.ConfigurationError, match="no other"):
        Target(SIZE, tls=True, concat=True)
