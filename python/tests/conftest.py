"""What every test uses: targets, plain and with TLS, and what is connected to them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import nvme_tcp
from nvme_tcp.testing import Target

SIZE = 1 << 20


@pytest.fixture(params=["plain", "tls"])
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    with Target(SIZE, tls=request.param == "tls") as target:
        yield target


@pytest.fixture
def plain() -> Iterator[Target]:
    with Target(SIZE) as target:
        yield target


@pytest.fixture
def controller(target: Target) -> Iterator[nvme_tcp.Controller]:
    with nvme_tcp.connect(**target.connect_args) as controller:
        yield controller


@pytest.fixture
def namespace(controller: nvme_tcp.Controller) -> nvme_tcp.Namespace:
    return controller.namespace()
