"""A NumPy array straight from a namespace, and back: no copy is made on the way.

python numpy_array.py
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import nvme_tcp


def load(namespace: nvme_tcp.Namespace, offset: int, count: int) -> NDArray[np.float32]:
    """``count`` numbers that stand at ``offset``, a multiple of the block size together."""
    array = np.empty(count, np.float32)
    namespace.readinto(offset, array)
    return array


def main() -> None:
    with nvme_tcp.testing.Target("16M", tls=True) as target, nvme_tcp.connect(**target.connect_args) as controller:
        namespace = controller.namespace()
        namespace.write(4096, np.arange(1 << 20, dtype=np.float32))
        namespace.flush()
        array = load(namespace, 4096, 1 << 20)
        print(f"{array.size} numbers, mean {array.mean(dtype=np.float64)}")


if __name__ == "__main__":
    main()
