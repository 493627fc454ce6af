"""Every example in the documentation runs."""

from __future__ import annotations

import doctest
import importlib
import inspect
from pathlib import Path

import pytest

import nvme_tcp
from nvme_tcp import _native

MODULES = [
    "nvme_tcp",
    "nvme_tcp._errors",
    "nvme_tcp._file",
    "nvme_tcp.aio",
    "nvme_tcp.keys",
    "nvme_tcp.ktls",
    "nvme_tcp.testing",
]
FLAGS = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL


def run(test: doctest.DocTest) -> None:
    said: list[str] = []
    result = doctest.DocTestRunner(optionflags=FLAGS).run(test, out=said.append)
    assert result.failed == 0, "".join(said)


@pytest.mark.parametrize("name", MODULES)
def test_modules(name: str) -> None:
    module = importlib.import_module(name)
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = [test for test in finder.find(module) if test.examples]
    for error in (nvme_tcp.NvmeError,) if name == "nvme_tcp._errors" else ():
        # It says that it belongs to `nvme_tcp`, so that its own module's finder passes over it.
        found += [test for test in finder.find(error, module=False, globs={}) if test.examples]
    assert found
    for test in found:
        run(test)


def native_docs() -> list[tuple[str, str]]:
    found = []
    for name in _native.__all__:
        thing = getattr(_native, name)
        if inspect.isclass(thing):
            found += [(f"{name}.{member}", inspect.getdoc(getattr(thing, member)) or "") for member in vars(thing)]
        found.append((name, inspect.getdoc(thing) or ""))
    return [(name, doc) for name, doc in found if ">>>" in doc]


def test_the_native_half() -> None:
    docs = native_docs()
    assert {name for name, _ in docs} >= {"Namespace.readinto", "Reservations", "Source", "discover", "discover_all"}
    for name, doc in docs:
        run(doctest.DocTestParser().get_doctest(doc, {}, name, None, None))


@pytest.mark.parametrize(
    "thing",
    [
        _native.Controller,
        _native.Features,
        _native.Key,
        _native.Logs,
        _native.Namespace,
        _native.Reservations,
        _native.Socket,
        _native.Source,
    ],
)
def test_everything_public_is_documented(thing: type) -> None:
    for name, member in vars(thing).items():
        if not name.startswith("_"):
            assert inspect.getdoc(member), name
    for name in nvme_tcp.__all__:
        assert name.startswith("__") or inspect.getdoc(getattr(nvme_tcp, name)), name


def test_the_readme() -> None:
    path = Path(__file__).parent.parent / "README.md"
    text = "\n".join(block.split("```")[0] for block in path.read_text(encoding="utf-8").split("```pycon\n")[1:])
    test = doctest.DocTestParser().get_doctest(text, {}, "README.md", str(path), 0)
    assert test.examples
    run(test)
