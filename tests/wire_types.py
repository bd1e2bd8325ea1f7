"""Renders the values of `coder.model` and `coder.protocol` as TypeScript: `web/src/protocol.ts` is this text.

Run `python -m tests.wire_types` after changing a model; a test fails while the file and the models differ.
"""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from coder import protocol
from coder.model import (
    branches,
    changes,
    checkpoints,
    comments,
    decisions,
    drafts,
    events,
    files,
    permissions,
    providers,
    sessions,
    setups,
    tasks,
    tool_calls,
    values,
)

TARGET = Path(__file__).resolve().parent.parent / "web" / "src" / "protocol.ts"
UNIONS: dict[str, Any] = {
    "AgentEvent": events.AgentEvent,
    "ClientFrame": protocol.ClientFrame,
    "ServerFrame": protocol.ServerFrame,
}
GENERIC = {"Page": "export interface Page<Item> {\n  items: Item[];\n  next: string | null;\n}\n"}

RENAMED = {"Error": "ErrorReported", "Record": "JournalRecord"}
"""Names that TypeScript already uses for something else."""

UNSENT = (decisions.FileSide, decisions.PlannedWrite, decisions.Plan)
"""What the host keeps for itself."""

Schema = dict[str, Any]


class _WireSchema(GenerateJsonSchema):
    """What the host sends holds every field, also those with a default; what it may leave out says so."""

    def field_is_required(self, field: Any, total: bool) -> bool:
        is_always_sent = self.mode == "serialization" and "serialization_exclude_if" not in field
        return is_always_sent or super().field_is_required(field, total)


def render() -> str:
    """The whole file."""
    sent = _definitions(values.Value, "serialization")
    taken = _definitions(values.Input, "validation")
    known = taken | sent
    parts = [
        "// The wire, rendered from coder/model and coder/protocol.py. Not edited: run `python -m tests.wire_types`.\n",
        f"export const SUBPROTOCOL = {_literal(protocol.SUBPROTOCOL)};\n",
        "export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };\n",
        *GENERIC.values(),
        *(_declaration(name, known[name]) for name in sorted(known)),
        *(_union(name, union) for name, union in UNIONS.items()),
    ]
    return "\n".join(parts)


def _models(root: type[BaseModel]) -> list[type[BaseModel]]:
    homes = {
        module.__name__
        for module in (
            branches,
            changes,
            checkpoints,
            comments,
            decisions,
            drafts,
            events,
            files,
            permissions,
            protocol,
            providers,
            sessions,
            setups,
            tasks,
            tool_calls,
        )
    }
    found: list[type[BaseModel]] = []
    for model in root.__subclasses__():
        if model.__module__ in homes and model.__name__.split("[")[0] not in GENERIC and model not in UNSENT:
            found.append(model)
        found += _models(model)
    return found


def _definitions(root: type[BaseModel], mode: Any) -> dict[str, Schema]:
    models = [(model, mode) for model in dict.fromkeys(_models(root))]
    _, schema = models_json_schema(models, ref_template="{model}", schema_generator=_WireSchema)
    definitions: dict[str, Schema] = schema["$defs"]
    return {name: body for name, body in definitions.items() if name != "JsonValue"}


def _declaration(name: str, body: Schema) -> str:
    if "properties" not in body:
        return f"export type {name} = {_type(body)};\n"
    required = set(body.get("required", ()))
    lines: list[str] = []
    for field, schema in body["properties"].items():
        is_optional = field not in required and field != "type"
        lines.append(f"  {field}{'?' if is_optional else ''}: {_type(schema)};")
    return "\n".join([f"export interface {_name(name)} {{", *lines, "}", ""])


def _union(name: str, union: Any) -> str:
    mapping: dict[str, str] = TypeAdapter(union).json_schema(ref_template="{model}")["discriminator"]["mapping"]
    return "\n".join([f"export type {name} =", *(f"  | {_name(member)}" for member in mapping.values())]) + ";\n"


def _type(schema: Schema) -> str:
    match schema:
        case {"$ref": str(name)}:
            return "Json" if name == "JsonValue" else _name(name)
        case {"const": value}:
            return _literal(value)
        case {"enum": [*members]}:
            return " | ".join(_literal(member) for member in members)
        case {"oneOf": _}:
            return "AgentEvent"
        case {"anyOf": [*members]}:
            return " | ".join(dict.fromkeys(_type(member) for member in members))
        case {"type": "array", **rest}:
            return _array(rest)
        case {"type": "object", "additionalProperties": inner}:
            return f"Record<string, {_type(inner)}>"
        case {"type": str(name)}:
            return {"integer": "number", "number": "number", "string": "string", "boolean": "boolean", "null": "null"}[
                name
            ]
        case _:
            return "Json"


def _array(schema: Schema) -> str:
    item = _type(schema["items"]) if "items" in schema else "Json"
    return f"({item})[]" if " " in item else f"{item}[]"


def _name(name: str) -> str:
    return RENAMED.get(name, name)


def _literal(value: object) -> str:
    return f'"{value}"'


if __name__ == "__main__":
    TARGET.write_text(render())
