"""Whatever is asked for is done or refused by name, and what is told fits together."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import SIZE
from hypothesis import given, settings
from hypothesis import strategies as st

import nvme_tcp
from nvme_tcp.testing import Target

KINDS = st.sampled_from(
    [
        "write-exclusive",
        "exclusive-access",
        "write-exclusive-registrants-only",
        "exclusive-access-registrants-only",
        "write-exclusive-all-registrants",
        "exclusive-access-all-registrants",
    ]
)
#: Few, so that hosts meet each other's.
KEYS = st.integers(0, 3)


@pytest.fixture(scope="module")
def hosts() -> Iterator[list[nvme_tcp.Controller]]:
    """Two hosts of one target."""
    with Target(SIZE) as target, contextlib.ExitStack() as stack:
        ids = [str(uuid.uuid4()) for _ in range(2)]
        names = [f"nqn.2014-08.org.nvmexpress:uuid:{host}" for host in ids]
        yield [
            stack.enter_context(nvme_tcp.connect(**target.connect_args, host_id=host, host_nqn=name))
            for host, name in zip(ids, names, strict=True)
        ]


COMMANDS = st.one_of(
    st.fixed_dictionaries(
        {
            "action": st.sampled_from(["register", "unregister", "replace"]),
            "current_key": KEYS,
            "new_key": KEYS,
            "ignore_existing_key": st.booleans(),
        }
    ).map(lambda arguments: ("register", (), arguments)),
    st.tuples(
        KINDS,
        st.fixed_dictionaries(
            {
                "action": st.sampled_from(["acquire", "preempt", "preempt-and-abort"]),
                "current_key": KEYS,
                "preempt_key": KEYS,
            }
        ),
    ).map(lambda both: ("acquire", (both[0],), both[1])),
    st.tuples(
        KINDS,
        st.fixed_dictionaries(
            {
                "action": st.sampled_from(["release", "clear"]),
                "current_key": KEYS,
                "ignore_existing_key": st.booleans(),
            }
        ),
    ).map(lambda both: ("release", (both[0],), both[1])),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), COMMANDS), max_size=8))
def test_reservations(
    hosts: list[nvme_tcp.Controller], commands: list[tuple[int, tuple[str, tuple[Any, ...], dict[str, Any]]]]
) -> None:
    """Any commands of two hosts: who holds what is registered, and both hosts are told the same."""
    namespaces = [host.namespace() for host in hosts]
    for number, (name, positional, named) in commands:
        with contextlib.suppress(nvme_tcp.NvmeError):
            getattr(namespaces[number].reservations, name)(*positional, **named)
        first, second = (namespace.reservations.report() for namespace in namespaces)
        assert first == second
        holders = [registrant for registrant in first.registrants if registrant.holds]
        assert bool(holders) == (first.held is not None)
        if first.held is not None and "all-registrants" in first.held:
            assert len(holders) == len(first.registrants)
        else:
            assert len(holders) <= 1


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 0xFF),
    st.sampled_from(["current", "default", "saved", "capabilities"]),
    st.sampled_from([0, 1, 7, 0xFFFFFFFF]),
)
def test_features(hosts: list[nvme_tcp.Controller], feature: int, select: Any, nsid: int) -> None:
    """Any feature is told or refused by the controller; the connection goes on."""
    with contextlib.suppress(nvme_tcp.NvmeError):
        assert isinstance(hosts[0].features.get(feature, nsid=nsid, select=select), nvme_tcp.Feature)
    assert min(hosts[0].features.number_of_queues) >= 1


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 0x3FF))
def test_async_events(hosts: list[nvme_tcp.Controller], events: int) -> None:
    """What is set is read back, as far as the controller takes it."""
    features = hosts[0].features
    try:
        features.async_events = events
    except nvme_tcp.NvmeError:
        return
    assert features.async_events == events


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 256), st.one_of(st.none(), st.integers(0, 0xFFFFFFFF)), st.integers(0, 0xFF))
def test_logs(hosts: list[nvme_tcp.Controller], most: int, nsid: int | None, csi: int) -> None:
    """Each log is told in its type or refused by the controller."""
    logs = hosts[0].logs
    assert len(logs.errors(most)) <= most
    with contextlib.suppress(nvme_tcp.NvmeError):
        assert isinstance(logs.smart(nsid), nvme_tcp.SmartLog)
    with contextlib.suppress(nvme_tcp.NvmeError):
        assert isinstance(logs.command_effects(csi), nvme_tcp.CommandEffectsLog)
    for ask in (logs.supported, logs.firmware, logs.changed_namespaces, logs.sanitize, logs.ana):
        with contextlib.suppress(nvme_tcp.NvmeError):
            ask()
