"""What an agent lets its client choose: model, mode, thinking level and further options, and how each is set.

Newer agents list everything as `configOptions`; older ones send `models` and `modes`, each with a method of its own.
Where both come the config options count.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from coder.backends.wire import Fields, fields, objects, text
from coder.model.providers import Mode, Model, ThinkingOption
from coder.model.values import Json

_CATEGORY_OF_ID = {
    "mode": "mode",
    "model": "model",
    "thought_level": "thought_level",
    "thinking": "thought_level",
    "effort": "thought_level",
    "reasoning_effort": "thought_level",
}
_UNATTENDED = frozenset({"yolo", "bypassPermissions", "full-access", "agent-full-access"})
"""Modes of real agents that never ask."""


@dataclass(frozen=True)
class Option:
    id: str
    label: str
    description: str | None = None


@dataclass(frozen=True)
class Choice:
    """One select. `config_id` names the config option it is; None for the older `models` and `modes`."""

    options: tuple[Option, ...]
    current: str | None
    config_id: str | None = None


@dataclass(frozen=True)
class Switch:
    """Any other config option: a boolean or a select without a word of ours."""

    current: Json
    is_boolean: bool


@dataclass(frozen=True)
class Choices:
    """Everything that can be chosen, as it stands."""

    model: Choice | None = None
    mode: Choice | None = None
    thinking: Choice | None = None
    features: Mapping[str, Switch] = field(default_factory=dict[str, Switch])

    def models(self) -> tuple[Model, ...]:
        """The models, each with the thinking levels that the agent names for the present one."""
        if self.model is None:
            return ()
        levels = self.thinking_options()
        return tuple(
            Model(
                id=option.id,
                label=option.label,
                description=option.description,
                is_default=option.id == self.model.current,
                thinking_options=levels,
            )
            for option in self.model.options
        )

    def thinking_options(self) -> tuple[ThinkingOption, ...]:
        if self.thinking is None:
            return ()
        return tuple(
            ThinkingOption(
                id=option.id,
                label=option.label,
                description=option.description,
                is_default=option.id == self.thinking.current,
            )
            for option in self.thinking.options
        )

    def modes(self) -> tuple[Mode, ...]:
        if self.mode is None:
            return ()
        return tuple(
            Mode(
                id=option.id,
                label=option.label,
                description=option.description,
                is_unattended=option.id in _UNATTENDED,
            )
            for option in self.mode.options
        )

    def with_current(
        self, *, model: str | None = None, mode: str | None = None, thinking: str | None = None
    ) -> "Choices":
        """The choices after the agent or we have changed one."""
        changed = self
        if model is not None:
            changed = replace(changed, model=replace(self.model or Choice((), None), current=model))
        if mode is not None:
            changed = replace(changed, mode=replace(self.mode or Choice((), None), current=mode))
        if thinking is not None and self.thinking:
            changed = replace(changed, thinking=replace(self.thinking, current=thinking))
        return changed


def read_choices(result: Fields, known: Choices) -> Choices:
    """The choices after a session result or a config option update; what it leaves out stays as known."""
    choices = _read_config_options(result, known) if isinstance(result.get("configOptions"), list) else known
    if choices.model is None or choices.model.config_id is None:
        choices = replace(choices, model=_read_models(result) or choices.model)
    if choices.mode is None or choices.mode.config_id is None:
        mode = _read_modes(result)
        # one agent lists its thinking levels a second time, as modes
        if mode and not (choices.thinking and set(mode.options) == set(choices.thinking.options)):
            choices = replace(choices, mode=mode)
    return choices


def _read_config_options(result: Fields, known: Choices) -> Choices:
    found: dict[str, Choice] = {}
    features: dict[str, Switch] = {}
    for option in objects(result.get("configOptions")):
        # the key of version 2 comes second
        id, kind = text(option.get("id")) or text(option.get("configId")), option.get("type")
        category = text(option.get("category")) or _CATEGORY_OF_ID.get(id or "")
        if id is None:
            continue
        if kind == "select" and category in ("model", "mode", "thought_level") and category not in found:
            found[category] = Choice(_read_options(option), text(option.get("currentValue")), id)
        elif kind in ("select", "boolean"):
            features[id] = Switch(option.get("currentValue"), kind == "boolean")
    # the list is the complete state, but says nothing of the older `models` and `modes`
    return Choices(
        model=found.get("model") or _unless_config(known.model),
        mode=found.get("mode") or _unless_config(known.mode),
        thinking=found.get("thought_level"),
        features=features,
    )


def _unless_config(choice: Choice | None) -> Choice | None:
    return choice if choice and choice.config_id is None else None


def _read_options(option: Fields) -> tuple[Option, ...]:
    found: list[Option] = []
    for item in objects(option.get("options")):
        for each in objects(item.get("options")) or [item]:
            if (value := text(each.get("value"))) is not None:
                found.append(Option(value, text(each.get("name")) or value, text(each.get("description")) or None))
    return tuple(found)


def _read_models(result: Fields) -> Choice | None:
    models = fields(result.get("models"))
    return _read_listed(models.get("availableModels"), "modelId", text(models.get("currentModelId")))


def _read_modes(result: Fields) -> Choice | None:
    modes = fields(result.get("modes"))
    return _read_listed(modes.get("availableModes"), "id", text(modes.get("currentModeId")))


def _read_listed(listed: Json, key: str, current: str | None) -> Choice | None:
    options = tuple(
        Option(id, text(item.get("name")) or id, text(item.get("description")) or None)
        for item in objects(listed)
        if (id := text(item.get(key))) is not None
    )
    return Choice(options, current) if options or current else None
