"""What a server offers: models with their variants, agents as modes, commands; and what is chosen of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from coder.backends.wire import Fields, fields, objects, text, whole
from coder.model.providers import Command, Mode, Model, ThinkingOption
from coder.model.values import Json

FIRST_MODE = "build"
"""What the server itself begins with."""


@dataclass(frozen=True)
class Offer:
    """Ids of models are `vendor/model`."""

    models: tuple[Model, ...] = ()
    modes: tuple[Mode, ...] = ()
    commands: tuple[Command, ...] = ()
    default_model: str | None = None
    default_mode: str | None = None
    context_sizes: Mapping[str, int] = field(default_factory=dict[str, int])
    image_models: frozenset[str] = frozenset()

    def model(self, id: str | None) -> Model | None:
        return next((model for model in self.models if model.id == id), None)

    def has_mode(self, id: str) -> bool:
        return any(mode.id == id for mode in self.modes)


@dataclass(frozen=True)
class Chosen:
    """What the next prompt is sent with."""

    model: str | None = None
    mode: str | None = None
    thinking: str | None = None


def read_offer(vendors: Fields, agents: Json, commands: Json, config: Fields) -> Offer:
    """The answers to `/config/providers`, `/agent`, `/command` and `/config`; the rest of them holds secrets."""
    default = _default_model(vendors, config)
    found = [(vendor, model) for vendor in objects(vendors.get("providers")) for model in _models_of(vendor)]
    named = [(id, model) for vendor, model in found if (id := _model_id(vendor, model))]
    modes = tuple(_mode(item) for item in objects(agents) if _is_mode(item))
    return Offer(
        models=tuple(_model(id, vendor, model, default) for vendor, model in found if (id := _model_id(vendor, model))),
        modes=modes,
        commands=tuple(_command(item) for item in objects(commands) if text(item.get("name"))),
        default_model=default,
        default_mode=_default_mode(modes, config),
        context_sizes={
            id: size for id, model in named if (size := whole(fields(model.get("limit")).get("context"))) is not None
        },
        image_models=frozenset(id for id, model in named if _takes_images(model)),
    )


def _default_model(vendors: Fields, config: Fields) -> str | None:
    if configured := text(config.get("model")):
        return configured
    defaults = fields(vendors.get("default"))
    for vendor in objects(vendors.get("providers")):
        id = text(vendor.get("id"))
        if id and (model := text(defaults.get(id))):
            return f"{id}/{model}"
    return None


def _default_mode(modes: tuple[Mode, ...], config: Fields) -> str | None:
    ids = [mode.id for mode in modes]
    wanted = text(config.get("default_agent"))
    return next((id for id in (wanted, FIRST_MODE, *ids) if id in ids), None)


def _models_of(vendor: Fields) -> list[Fields]:
    return [model for model in fields(vendor.get("models")).values() if isinstance(model, dict)]


def _model_id(vendor: Fields, model: Fields) -> str | None:
    vendor_id, model_id = text(vendor.get("id")), text(model.get("id"))
    return f"{vendor_id}/{model_id}" if vendor_id and model_id else None


def _model(id: str, vendor: Fields, model: Fields, default: str | None) -> Model:
    name = text(model.get("name")) or id
    return Model(
        id=id,
        label=f"{text(vendor.get('name')) or text(vendor.get('id'))}/{name}",
        is_default=id == default,
        thinking_options=tuple(
            ThinkingOption(id=variant, label=variant.capitalize()) for variant in fields(model.get("variants"))
        ),
    )


def _takes_images(model: Fields) -> bool:
    return fields(fields(model.get("capabilities")).get("input")).get("image") is True


def _is_mode(item: Fields) -> bool:
    return item.get("mode") in ("primary", "all") and item.get("hidden") is not True and bool(text(item.get("name")))


def _mode(item: Fields) -> Mode:
    id = text(item.get("name")) or ""
    return Mode(id=id, label=id.capitalize(), description=text(item.get("description")))


def _command(item: Fields) -> Command:
    hints = item.get("hints")
    return Command(
        name=text(item.get("name")) or "",
        description=text(item.get("description")) or "",
        hint="arguments" if isinstance(hints, list) and hints else None,
    )
