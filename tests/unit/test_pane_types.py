import pytest

from tests import wire_types


@pytest.mark.scenario("pane: The pane's types are the host's types")
def test_the_types_of_the_pane_are_rendered_from_the_models():
    assert wire_types.TARGET.read_text() == wire_types.render(), "run `python -m tests.wire_types`"
