"""The sandboxes that this machine has, and tests of each."""

import os
from collections.abc import Callable
from typing import Any

import pytest

from coder.model.sandboxes import Sandbox
from coder.processes.sandbox import try_sandboxes

SANDBOXES = [sandbox for sandbox, fault in try_sandboxes(os.environ["PATH"]) if fault is None]
Test = Callable[..., Any]


def every_sandbox(test: Test) -> Test:
    """Run it in each of them."""
    return _with(test, SANDBOXES)


def with_bubblewrap(test: Test) -> Test:
    """Run it in bubblewrap alone, where that is to be had."""
    return _with(test, [sandbox for sandbox in SANDBOXES if sandbox.kind == "bubblewrap"])


def _with(test: Test, sandboxes: list[Sandbox]) -> Test:
    marked = pytest.mark.parametrize("sandbox", sandboxes, ids=[sandbox.kind for sandbox in sandboxes])(test)
    return marked if sandboxes else pytest.mark.where_possible(marked)
