"""What a namespace does besides reading and writing, and who may."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator

import pytest
from conftest import SIZE
from hypothesis import given, settings
from hypothesis import strategies as st

import nvme_tcp
from nvme_tcp.testing import Target


def test_compare(namespace: nvme_tcp.Namespace) -> None:
    namespace.write(512, b"a" * 1024)
    assert namespace.compare(512, b"a" * 1024) and namespace.compare(512, bytearray(b"a" * 512))
    assert not namespace.compare(512, b"a" * 1023 + b"b")
    with pytest.raises(nvme_tcp.ConfigurationError):
        namespace.compare(1, b"a" * 512)


def test_compare_and_write(namespace: nvme_tcp.Namespace) -> None:
    mine = uuid.uuid4().bytes.ljust(512)
    assert namespace.compare_and_write(0, bytes(512), mine)
    assert not namespace.compare_and_write(0, bytes(512), b"theirs".ljust(512))
    assert namespace.read(0, 512) == mine
    with pytest.raises(nvme_tcp.ConfigurationError, match="512 bytes to compare"):
        namespace.compare_and_write(0, bytes(512), bytes(1024))


def test_force_unit_access(namespace: nvme_tcp.Namespace) -> None:
    assert namespace.write(0, b"f" * 512, fua=True) == 512
    assert namespace.read(0, 512) == b"f" * 512


def test_verify_and_write_uncorrectable(namespace: nvme_tcp.Namespace) -> None:
    namespace.verify(0, 4096)
    namespace.write_uncorrectable(512, 512)
    for call in (lambda: namespace.verify(0, 4096), lambda: namespace.read(512, 512)):
        with pytest.raises(nvme_tcp.NvmeError) as caught:
            call()
        # Media: unrecovered read error.
        assert (caught.value.status_type, caught.value.status_code) == (2, 0x81)
        assert caught.value.errno in (errno.EIO, errno.ENODATA)
    namespace.write(512, bytes(512))
    namespace.verify(0, 4096)


def test_copy(namespace: nvme_tcp.Namespace) -> None:
    data = os.urandom(4096)
    namespace.write(0, data)
    namespace.copy([(0, 2048), (3072, 1024)], 65536)
    assert namespace.read(65536, 3072) == data[:2048] + data[3072:]
    with pytest.raises(nvme_tcp.ConfigurationError, match="overlaps"):
        namespace.copy([(0, 1024)], 512)
    with pytest.raises(nvme_tcp.ConfigurationError):
        namespace.copy([(1, 512)], 65536)
    with pytest.raises(TypeError):
        namespace.copy([3], 65536)  # type: ignore[list-item]


#: The first half is copied from, the second half is copied to.
_BLOCKS = st.integers(0, 31).flatmap(lambda first: st.tuples(st.just(first), st.integers(0, 32 - first)))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(_BLOCKS, st.integers(0, 31), st.sampled_from(["copy", "swap", "compare"])), max_size=10))
def test_a_model_of_them(shared: nvme_tcp.Namespace, steps: list[tuple[tuple[int, int], int, str]]) -> None:
    model = bytearray(os.urandom(64 * 512))
    shared.write(0, model)
    for (first, count), other, kind in steps:
        start, end, to = first * 512, (first + count) * 512, (32 + other) * 512
        if kind == "copy":
            end = min(end, start + len(model) - to)
            shared.copy([(start, end - start)], to)
            model[to : to + end - start] = model[start:end]
        elif kind == "swap":
            new, stands = os.urandom(512), count % 2 == 0
            expected = bytes(model[to : to + 512]) if stands else os.urandom(512)
            assert shared.compare_and_write(to, expected, new) == stands
            if stands:
                model[to : to + 512] = new
        elif count:
            assert shared.compare(start, bytes(model[start:end]))
            assert not shared.compare(start, bytes(model[start : end - 1]) + bytes([model[end - 1] ^ 1]))
    assert shared.read(0, len(model)) == model


@pytest.fixture(scope="module")
def shared() -> Iterator[nvme_tcp.Namespace]:
    with Target(SIZE) as target, nvme_tcp.connect(**target.connect_args) as controller:
        yield controller.namespace()


def test_reservations(target: Target) -> None:
    """One host takes the namespace, the other cannot write, takes it from the first, and then the first cannot."""
    ids = [str(uuid.uuid4()) for _ in range(2)]
    hosts = [
        nvme_tcp.connect(**target.connect_args, host_id=host, host_nqn=f"nqn.2014-08.org.nvmexpress:uuid:{host}")
        for host in ids
    ]
    with hosts[0], hosts[1]:
        first, second = (host.namespace() for host in hosts)
        report = first.reservations.report()
        assert (report.held, report.registrants, report.persists) == (None, (), False)
        first.reservations.register(new_key=0xA)
        first.reservations.acquire("write-exclusive", current_key=0xA)
        with pytest.raises(nvme_tcp.NvmeError) as caught:
            second.write(0, bytes(512))
        # Reservation conflict.
        assert (caught.value.status_type, caught.value.status_code) == (0, 0x83)
        assert caught.value.errno in (errno.EACCES, errno.EBADE, errno.EBUSY) and caught.value.hint
        assert second.read(0, 512) == bytes(512)

        second.reservations.register(new_key=0xB)
        second.reservations.acquire("exclusive-access", action="preempt-and-abort", current_key=0xB, preempt_key=0xA)
        report = second.reservations.report()
        assert report.held == "exclusive-access" and report.generation > 0
        (registrant,) = report.registrants
        assert (registrant.holds, registrant.key, registrant.host_id) == (True, 0xB, uuid.UUID(ids[1]).bytes)
        with pytest.raises(nvme_tcp.NvmeError):
            first.read(0, 512)
        second.reservations.release("exclusive-access", current_key=0xB)
        assert second.reservations.report().held is None
        second.reservations.register("replace", current_key=0xB, new_key=0xC)
        assert second.reservations.report().registrants[0].key == 0xC
        second.reservations.release(action="clear", current_key=0xC)
        assert second.reservations.report().registrants == ()
        first.reservations.register(new_key=0xA)
        first.reservations.register("unregister", current_key=0xA)
        assert first.reservations.report().registrants == ()


def test_reservations_that_are_none(namespace: nvme_tcp.Namespace) -> None:
    reservations = namespace.reservations
    for call, words in (
        (lambda: reservations.acquire("mine", current_key=1), "kind is"),  # type: ignore[arg-type]
        (lambda: reservations.register("enlist"), "action is"),  # type: ignore[arg-type]
        (lambda: reservations.release(action="let go"), "action is"),  # type: ignore[arg-type]
    ):
        with pytest.raises(nvme_tcp.ConfigurationError, match=words):
            call()
    with pytest.raises(nvme_tcp.NvmeError) as caught:
        reservations.acquire("write-exclusive", current_key=1)
    assert caught.value.status_code == 0x83
    with pytest.raises(OverflowError):
        reservations.register(new_key=1 << 64)
