"""From what a turn wants (model, mode, thinking level, features) to the requests that make it so."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from coder.backends.acp.choices import Choice, Choices
from coder.backends.acp.handshake import Protocol
from coder.backends.wire import Fields
from coder.errors import InvalidInput
from coder.model.values import Json


class Selection(NamedTuple):
    """A request, less its session id, and what is chosen once it is accepted."""

    method: str
    params: Fields
    chosen: Mapping[str, str]


def selections(
    choices: Callable[[], Choices],
    model: str | None,
    mode: str | None,
    thinking: str | None,
    features: Mapping[str, Json],
    protocol: Protocol = 1,
) -> Iterator[Selection]:
    """The requests needed, one at a time: each answer may change the choices that the next is made from.

    Version 2 of the protocol names the type of every value.

    Raises:
        InvalidInput: the agent offers no such choice.
    """
    if model is not None:
        way = Selection("session/set_model", {"modelId": model}, {"model": model})
        yield from _select(choices().model, "model", model, way, protocol)
    if mode is not None:
        way = Selection("session/set_mode", {"modeId": mode}, {"mode": mode})
        yield from _select(choices().mode, "mode", mode, way, protocol)
    if thinking is not None:
        way = Selection("", {}, {"thinking": thinking})
        yield from _select(choices().thinking, "thinking option", thinking, way, protocol)
    for id, value in features.items():
        yield from _switch(choices(), id, value, protocol)


def _select(choice: Choice | None, word: str, value: str, older: Selection, protocol: Protocol) -> Iterator[Selection]:
    if choice is None:
        raise InvalidInput(f"the agent does not let its {word} be chosen", code="not_offered")
    if choice.current == value:
        return
    if choice.config_id is None:
        yield older
    else:
        params: dict[str, Json] = {"configId": choice.config_id, "value": value}
        yield Selection("session/set_config_option", _typed(params, protocol), older.chosen)


def _switch(choices: Choices, id: str, value: Json, protocol: Protocol) -> Iterator[Selection]:
    switch = choices.features.get(id)
    if switch is None:
        raise InvalidInput(f"the agent has no option {id}", code="not_offered")
    if switch.current == value:
        return
    params: dict[str, Json] = {"configId": id, "value": value}
    if switch.is_boolean:
        yield Selection("session/set_config_option", {**params, "type": "boolean"}, {})
    else:
        yield Selection("session/set_config_option", _typed(params, protocol), {})


def _typed(params: Fields, protocol: Protocol) -> Fields:
    return {**params, "type": "id"} if protocol == 2 else params
