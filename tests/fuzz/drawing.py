"""Values drawn by hypothesis; how many is up to `CODER_FUZZ_SECONDS`, as for the requests."""

import logging
import os
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

Drawn = TypeVar("Drawn")

SECONDS = int(os.environ.get("CODER_FUZZ_SECONDS", "20"))
"""For the requests; everything else draws in proportion."""


def often(examples: int) -> settings:
    """So many examples in a run of every commit, and in proportion in a longer one."""
    examples *= max(1, SECONDS // 20)
    return settings(max_examples=examples, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def draw(strategy: st.SearchStrategy[Drawn], count: int) -> list[Drawn]:
    """Values for a test that keeps one host or repository for all of them."""
    found: list[Drawn] = []

    @settings(often(count), phases=[Phase.generate], database=None)
    @given(strategy)
    def collect(value: Drawn) -> None:
        found.append(value)

    collect()
    return found


def errors_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged as an error, but for what a busy machine is to blame for."""
    found = [record for record in caplog.records if record.levelno >= logging.ERROR]
    return [record.getMessage() for record in found if record.name != "coder.standstill"]


texts = st.text(max_size=8) | st.sampled_from(["\0", "\ud800", "../x", "\u202e", "-", "\x1b]52;c;x\x07", "9" * 50])
leaves: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from([0, 1, -1, 2**31, 2**53, 2**63, 2**64, 1e308])
    | texts
)
values: st.SearchStrategy[Any] = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=8
)
