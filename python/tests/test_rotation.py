"""Keys that change while they are used."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest
from conftest import SIZE

import nvme_tcp
from nvme_tcp import keys
from nvme_tcp.testing import Target


def wait_for(events: nvme_tcp.Events, kind: str) -> nvme_tcp.Event:
    while True:
        event = events.recv(60)
        assert event is not None, kind
        if event.kind == kind:
            return event


def test_a_key_is_rotated_under_load() -> None:
    old, new = keys.generate(), keys.generate()
    source = keys.Source([old])
    with Target(SIZE, key=old) as target, nvme_tcp.connect(target.uri, key=source, io_queues=2) as controller:
        namespace = controller.namespace()
        stop, done = threading.Event(), []

        def read() -> None:
            count = 0
            while not stop.is_set():
                assert namespace.read(0, 4096) == bytes(4096)
                count += 1
            done.append(count)

        threads = [threading.Thread(target=read) for _ in range(2)]
        for thread in threads:
            thread.start()
        events = controller.events()
        target.add_key(new)
        source.set(new)
        wait_for(events, "replaced")
        stop.set()
        for thread in threads:
            thread.join()
        assert len(done) == 2 and all(done) and controller.statistics().errors == 0
        # The old key goes: nothing here needs it any more.
        assert target.remove_key(old) and not target.remove_key(old)
        rotation = controller.rotate_keys()
        assert rotation.generation >= 2 and not rotation.key_changed and not rotation.gap
        assert (rotation.identity_version, rotation.held) == (1, None)
        assert namespace.read(0, 512) == bytes(512)
        with pytest.raises(nvme_tcp.TlsError):
            nvme_tcp.connect(target.uri, key=old)


def test_a_file_is_watched(tmp_path: Path) -> None:
    old, new = keys.generate(), keys.generate()
    path = tmp_path / "key"
    old.write_file(path)
    source = keys.Source.file(path)
    with Target(SIZE, key=old) as target, nvme_tcp.connect(target.uri, key=source) as controller:
        events = controller.events()
        target.add_key(new)
        new.write_file(tmp_path / "new")
        os.rename(tmp_path / "new", path)
        wait_for(events, "replaced")
        target.remove_key(old)
        controller.reconnect()
        assert controller.namespace().read(0, 512) == bytes(512)
    with pytest.raises(nvme_tcp.ConfigurationError, match="from a file"):
        source.set(old)
    assert "Source" in repr(source)


def test_in_an_event_loop() -> None:
    async def main(target: Target, source: keys.Source, new: keys.Key) -> None:
        async with nvme_tcp.aio.connect(target.uri, key=source) as controller:
            namespace = await controller.namespace()
            target.add_key(new)
            source.set(new)
            assert (await asyncio.to_thread(controller.blocking.rotate_keys)).generation >= 1
            assert await namespace.read(0, 512) == bytes(512)

    old, new = keys.generate(), keys.generate()
    with Target(SIZE, key=old) as target:
        asyncio.run(main(target, keys.Source(old), new))


def test_a_target_that_does_not_know_the_new_key() -> None:
    old, new = keys.generate(), keys.generate()
    source = keys.Source(old)
    with Target(SIZE, key=old) as target, nvme_tcp.connect(target.uri, key=source) as controller:
        source.set(new)
        with pytest.raises(nvme_tcp.TlsError):
            controller.rotate_keys()
        # The old association is used on.
        assert controller.namespace().read(0, 512) == bytes(512)


def test_what_makes_no_sense(tmp_path: Path) -> None:
    with Target(SIZE) as target, nvme_tcp.connect(target.uri) as controller:
        with pytest.raises(nvme_tcp.ConfigurationError, match="plain"):
            controller.rotate_keys()
        with pytest.raises(nvme_tcp.ConfigurationError, match="no keyfile"):
            nvme_tcp.connect(target.uri, key=keys.Source(keys.generate()), keyfile=tmp_path / "key")
    for wrong, error in (([], nvme_tcp.ConfigurationError), ([3], TypeError), (3, TypeError), ("x", ValueError)):
        with pytest.raises(error):
            keys.Source(wrong)  # type: ignore[arg-type]
