"""What a controller is asked: log pages, features, identifiers, and any command at all."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest
from conftest import SIZE
from hypothesis import given, settings
from hypothesis import strategies as st

import nvme_tcp
from nvme_tcp.testing import Target


def test_logs(controller: nvme_tcp.Controller) -> None:
    logs = controller.logs
    assert {log.lid for log in logs.supported()} >= {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x0C}
    controller.namespace().write(0, bytes(512))
    smart = logs.smart()
    assert smart.write_commands >= 1 and smart.media_errors == 0 and len(smart.temperature_sensors) == 8
    firmware = logs.firmware()
    assert firmware.active == 1 and firmware.revisions[1] == controller.identify().firmware_revision
    assert logs.changed_namespaces() == []
    effects = logs.command_effects()
    assert effects.io[0x01].changes_blocks and not effects.io[0x02].changes_blocks and 0x02 in effects.admin
    (group,) = logs.ana().groups
    assert (group.id, group.state, group.namespaces) == (1, "optimized", (1,))
    with pytest.raises(nvme_tcp.NvmeError) as caught:
        logs.sanitize()
    # The embedded target sanitizes nothing: invalid log page.
    assert (caught.value.status_type, caught.value.status_code) == (1, 0x09)


def test_the_error_log(controller: nvme_tcp.Controller) -> None:
    before = controller.logs.errors()
    with pytest.raises(nvme_tcp.NvmeError):
        controller.log_page(0xEE, 512)
    found = controller.logs.errors()
    assert len(found) == len(before) + 1
    assert (found[0].status_type, found[0].status_code, found[0].queue_id) == (1, 0x09, 0)
    assert found[0].error_count == len(found) and "log page" in found[0].text.lower()
    assert controller.logs.errors(1) == found[:1] and controller.logs.errors(0) == []


def test_features(controller: nvme_tcp.Controller) -> None:
    features = controller.features
    submission, completion = features.number_of_queues
    assert submission >= 1 and completion >= 1
    assert features.get(0x07).value == (submission - 1) | (completion - 1) << 16
    assert features.write_cache is True
    features.write_cache = True
    assert features.keep_alive_timeout == 10.0
    features.keep_alive_timeout = 20.0
    assert features.get(0x0F).value == 20_000
    with pytest.raises(nvme_tcp.ConfigurationError, match="KATO"):
        features.keep_alive_timeout = 1.0
    events = features.async_events
    features.async_events = events & ~(1 << 11)
    assert features.get(0x0B).value == events & ~(1 << 11)
    assert features.set(0x0B, events) == 0 and features.async_events == events
    with pytest.raises(nvme_tcp.ConfigurationError, match="select"):
        features.get(0x07, select="best")  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        features.number_of_queues = (1, 1)  # type: ignore[misc]
    with pytest.raises(nvme_tcp.NvmeError):
        features.set(0x0F, 20_000, save=True)


def test_identifiers(controller: nvme_tcp.Controller) -> None:
    ids = controller.namespace_ids(1)
    assert ids.command_set in (None, 0) and (ids.nguid or ids.uuid or ids.eui64)
    assert ids.nguid is None or len(ids.nguid) == 16
    for nsid in (None, 1):
        # The embedded target tells nobody who else there is: invalid field in command.
        with pytest.raises(nvme_tcp.NvmeError) as caught:
            controller.controllers(nsid)
        assert (caught.value.status_type, caught.value.status_code) == (0, 0x02)


def test_passthrough(controller: nvme_tcp.Controller) -> None:
    identity = bytearray(4096)
    done = controller.admin_passthrough(0x06, cdw10=1, into=identity)
    assert done.ok and done.received == 4096 and identity == controller.identify().raw
    done = controller.io_passthrough(0x01, nsid=1, cdw10=2, cdw12=0, data=b"p" * 512)
    assert done.ok and controller.namespace(1).read(1024, 512) == b"p" * 512
    block = bytearray(512)
    done = controller.io_passthrough(0x02, nsid=1, cdw10=2, into=block, timeout=20.0)
    assert done.ok and (done.received, block) == (512, b"p" * 512)
    assert controller.io_passthrough(0x00, nsid=1).ok
    # A failure is a result as well.
    done = controller.io_passthrough(0x02, nsid=77, into=block)
    assert not done.ok and (done.status_type, done.status_code, done.received) == (0, 0x0B, 0)
    assert "namespace" in done.text.lower()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"opcode": 0x0C}, nvme_tcp.ConfigurationError, "own to send"),
        ({"opcode": 0x18}, nvme_tcp.ConfigurationError, "own to send"),
        ({"opcode": 0x06, "data": b"1234"}, nvme_tcp.ConfigurationError, "no data to"),
        ({"opcode": 0x09, "into": bytearray(4)}, nvme_tcp.ConfigurationError, "no data from"),
        ({"opcode": 0xC3, "data": b"1234", "into": bytearray(4)}, nvme_tcp.ConfigurationError, "not both"),
        ({"opcode": 0x06, "into": bytes(4096)}, BufferError, "not writable"),
        ({"opcode": 0x06, "cdw9": 1}, TypeError, "cdw9"),
        ({"opcode": 0x06, "cdw10": -1}, OverflowError, "int"),
        ({"opcode": 0x106}, OverflowError, "out of range"),
        ({"opcode": 0x00, "timeout": -1.0}, nvme_tcp.ConfigurationError, "timeout is -1"),
    ],
)
def test_passthrough_that_is_none(
    controller: nvme_tcp.Controller, arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        controller.admin_passthrough(**arguments)
    assert controller.namespaces() == [1]


@pytest.fixture(scope="module")
def shared() -> Any:
    with Target(SIZE) as target, nvme_tcp.connect(**target.connect_args) as controller:
        yield controller


_DWORD = st.one_of(st.integers(0, 0x20), st.integers(0, 0xFFFFFFFF))
#: All but Set Features, by which a host can have itself thrown out.
_OPCODE = st.integers(0, 0xFF).filter(lambda opcode: opcode != 0x09)


@settings(max_examples=200, deadline=None)
@given(
    opcode=_OPCODE,
    nsid=st.sampled_from([0, 1, 2, 0xFFFFFFFF]),
    dwords=st.dictionaries(st.sampled_from(["cdw2", "cdw3", "cdw10", "cdw11", "cdw12", "cdw13", "cdw14"]), _DWORD),
    length=st.sampled_from([0, 4, 512, 4096]),
    io=st.booleans(),
)
def test_any_command_is_answered_or_refused(
    shared: nvme_tcp.Controller, opcode: int, nsid: int, dwords: dict[str, int], length: int, io: bool
) -> None:
    run = shared.io_passthrough if io else shared.admin_passthrough
    memory: dict[str, Any] = {}
    if length and opcode & 3:
        memory = {"data": bytes(length)} if opcode & 3 == 1 else {"into": bytearray(length)}
    try:
        done = run(opcode, nsid=nsid, **dwords, **memory)
        assert done.ok == done.text.startswith("successful")
    except nvme_tcp.ConfigurationError as error:
        assert "own to send" in str(error)
    except nvme_tcp.NvmeError as error:
        # The data does not go with what the command moves; the connection may be over then.
        assert error.scope in ("command", "queue", "controller")
        if error.scope != "command":
            shared.reconnect()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 255), st.integers(0, 300), st.integers(0, 5000))
def test_any_log_page(shared: nvme_tcp.Controller, lid: int, length: int, offset: int) -> None:
    try:
        assert len(shared.log_page(lid, length, offset)) == length
    except nvme_tcp.NvmeError as error:
        assert error.scope in ("command", "configuration")


def test_events_say_what_changed(plain: Target) -> None:
    with nvme_tcp.connect(**plain.connect_args) as controller:
        events = controller.events()

        def next_of(kind: str) -> nvme_tcp.Event:
            while True:
                event = events.recv(60)
                assert event is not None, kind
                if event.kind == kind:
                    return event

        plain.add_namespace(2, "1M")
        assert next_of("namespaces-changed").namespaces == (2,)
        assert controller.namespaces() == [1, 2] and controller.namespace(2).size == SIZE
        plain.resize_namespace(2, "2M")
        assert next_of("namespaces-changed").namespaces == (2,)
        assert controller.namespace(2).size == 2 * SIZE
        plain.set_ana_state("inaccessible")
        next_of("ana-changed")
        assert controller.logs.ana().groups[0].state == "inaccessible"
        with pytest.raises(nvme_tcp.NvmeError) as caught:
            controller.namespace(1).read(0, 512)
        assert caught.value.status_type == 3
        plain.set_ana_state("optimized")
        next_of("ana-changed")
        plain.remove_namespace(2)
        assert next_of("namespaces-changed").namespaces == (2,)
        for call in (
            lambda: plain.remove_namespace(2),
            lambda: plain.add_namespace(1, "1M"),
            lambda: plain.set_ana_state("broken"),  # type: ignore[arg-type]
        ):
            with pytest.raises(nvme_tcp.ConfigurationError):
                call()


def test_the_blocking_twin(plain: Target) -> None:
    async def main() -> None:
        async with nvme_tcp.aio.connect(**plain.connect_args, io_queues=1) as controller:
            assert (await asyncio.to_thread(controller.blocking.logs.smart)).media_errors == 0
            namespace = await controller.namespace()
            await namespace.write(0, b"t" * 512)
            assert await asyncio.to_thread(namespace.blocking.compare, 0, b"t" * 512)

    asyncio.run(main())


def test_records_are_plain_values(controller: nvme_tcp.Controller) -> None:
    smart = controller.logs.smart()
    assert dataclasses.replace(smart, media_errors=3).media_errors == 3
    with pytest.raises(dataclasses.FrozenInstanceError):
        smart.media_errors = 3  # type: ignore[misc]
