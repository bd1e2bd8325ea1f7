"""What a command imports: a client does not wait for the host."""

import sys

import anyio
import pytest
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from coder.cli import COMMANDS, Commands, cli
from tests.api.test_cli import environment

HOST_ONLY = {"starlette", "uvicorn", "asyncpg", "git", "coder.host", "coder.app", "coder.store", "coder.worktrees"}
HOST_COMMANDS = {"up", "doctor", "backup", "restore", "reset"}


async def imported(*arguments: str) -> set[str]:
    """The modules that a command loads until it has printed its help."""
    command = [sys.executable, "-X", "importtime", "-m", "coder", *arguments, "--help"]
    with anyio.fail_after(60):
        done = await anyio.run_process(command, env=environment())
    return {line.rpartition("|")[2].strip() for line in done.stderr.decode().splitlines()}


@pytest.mark.scenario("cli: A client command loads no host")
async def test_a_client_command_loads_no_module_of_the_host() -> None:
    modules = {module: name for name, (module, _) in COMMANDS.items() if name not in HOST_COMMANDS}
    for name in modules.values():
        assert not HOST_ONLY & await imported(name), name
    assert "coder.host" in await imported("up")


@pytest.mark.scenario("cli: Help lists every command without loading them")
async def test_the_help_knows_every_command_and_loads_none() -> None:
    loaded = await imported()
    assert {name for name in loaded if name.startswith("coder.commands.")} == {"coder.commands.reach"}
    assert "coder.client" not in loaded
    group = get_command(cli)
    assert isinstance(group, Commands)
    for name, (_, does) in COMMANDS.items():
        found = group.get_command(None, name)
        assert isinstance(found, TyperCommand | TyperGroup)
        assert found.help == does, name
