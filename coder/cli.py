"""The `coder` command. Exit codes: 0 done, 1 failed, 2 bad input, 3 cancelled, 4 no host answers."""

import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import anyio
import typer
from pydantic import BaseModel, ValidationError

from coder import __version__, app, doctor
from coder.client import UNREACHABLE, Client
from coder.errors import CoderError, Conflict, InvalidInput, NotFound
from coder.model.branches import BranchStatus
from coder.model.changes import Change, ChangeStatus
from coder.model.comments import Comment, CommentStatus, Side
from coder.model.providers import ProviderSnapshot
from coder.model.setups import Setup, SetupState
from coder.model.tasks import TaskState
from coder.model.values import Json
from coder.protocol import NewComment, Page, Prompt, Review
from coder.providers.overrides import OverrideFile, parse_override, patched, save_overrides
from coder.providers.registry import load_registry
from coder.settings import Settings, inherited_environment, load_settings
from coder.terminal import Turn, setup_text, table, visible, visible_line
from coder.tokens import load_token, read_token

Result = TypeVar("Result")
Item = TypeVar("Item")
Wish = TypeVar("Wish", bound=BaseModel)

FAILED, BAD_INPUT, CANCELLED, UNREACHABLE_EXIT = 1, 2, 3, 4
_ENDINGS = {TaskState.COMPLETED: 0, TaskState.CANCELLED: CANCELLED}


def _group(does: str) -> typer.Typer:
    return typer.Typer(help=does, no_args_is_help=True, add_completion=False, rich_markup_mode=None)


cli = _group("A host for coding agents.")
projects = _group("Registered repositories.")
sessions = _group("Sessions and their worktrees.")
changes = _group("What agents changed and nobody has decided yet.")
providers = _group("Agents that the host knows how to start.")
cli.add_typer(projects, name="projects")
cli.add_typer(sessions, name="sessions")
cli.add_typer(changes, name="changes")
cli.add_typer(providers, name="providers")


@dataclass(frozen=True)
class Reach:
    """Which host is meant."""

    home: Path | None
    url: str | None

    def settings(self, **flags: object) -> Settings:
        return load_settings(home=self.home, **flags)

    def client(self) -> Client:
        """Raises HostConfigError: there is no token to sign in with."""
        settings = self.settings()
        return Client(self.url or _url_of(settings), read_token(settings.home))


Context = Annotated[typer.Context, typer.Option(hidden=True)]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON, one value a line.")]
Reason = Annotated[str | None, typer.Option(help="For the record.")]


@cli.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    home: Annotated[Path | None, typer.Option(help="State folder of the host (CODER_HOME).")] = None,
    url: Annotated[str | None, typer.Option(help="Where the host answers; default from the settings.")] = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(BAD_INPUT)
    context.obj = Reach(home, url)


@cli.command()
def up(
    context: typer.Context,
    home: Annotated[Path | None, typer.Option(help="State folder (CODER_HOME).")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[str | None, typer.Option(help="Port, or auto.")] = None,
    database_url: Annotated[str | None, typer.Option(help="A PostgreSQL server instead of the embedded one.")] = None,
    providers_path: Annotated[Path | None, typer.Option(help="The provider override file.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    allowed_host: Annotated[list[str] | None, typer.Option(help="Further host name; may be given again.")] = None,
    allowed_origin: Annotated[list[str] | None, typer.Option(help="Further exact origin; may be given again.")] = None,
) -> None:
    """Start the host and serve until told to stop."""
    app.run(
        load_settings(
            home=home or _reach(context).home,
            host=host,
            port=port,
            database_url=database_url,
            providers_path=providers_path,
            log_level=log_level,
            allowed_hosts=tuple(allowed_host) if allowed_host else None,
            allowed_origins=tuple(allowed_origin) if allowed_origin else None,
        )
    )


@cli.command(name="doctor")
def examine(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Say what is missing for the host to work, and how to get it."""
    findings = anyio.run(doctor.examine, _reach(context).settings(), inherited_environment())
    if as_json:
        _print_json(findings)
    else:
        for finding in findings:
            typer.echo(f"{finding.state:<8}{finding.name:<18}{visible_line(finding.message)}")
            if finding.remedy and finding.state != "ok":
                typer.echo(f"{'':<26}-> {visible_line(finding.remedy)}")
    if any(finding.state == "missing" for finding in findings):
        raise typer.Exit(FAILED)


@cli.command()
def token(
    context: typer.Context,
    login_url: Annotated[bool, typer.Option("--login-url", help="Print the link that opens the pane.")] = False,
) -> None:
    """Print the access token, made first where there is none."""
    settings = _reach(context).settings()
    secret = load_token(settings.home)
    typer.echo(f"{_reach(context).url or _url_of(settings)}/#token={secret}" if login_url else secret)


@projects.command(name="list")
def list_projects(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Every registered repository."""
    found = _call(context, lambda client: _all_pages(client.projects))
    _show(as_json, found, ("ID", "NAME", "PATH"), lambda project: (project.id, project.name, project.repo_path))


@projects.command(name="add")
def add_project(
    context: typer.Context, path: Path, name: Annotated[str | None, typer.Option()] = None, as_json: JsonFlag = False
) -> None:
    """Register the repository at a path."""
    project = _call(context, lambda client: client.register_project(str(path.expanduser().absolute()), name))
    _show_one(as_json, project, project.id)


@projects.command(name="rm")
def remove_project(context: typer.Context, id: str) -> None:
    """Forget a project; its repository is not touched."""
    _call(context, lambda client: client.remove_project(id))


@sessions.command(name="list")
def list_sessions(
    context: typer.Context, project: Annotated[str | None, typer.Option()] = None, as_json: JsonFlag = False
) -> None:
    """Sessions, of one project or of all."""
    found = _call(context, lambda client: _all_pages(partial(client.sessions, project)))
    _show(
        as_json,
        found,
        ("ID", "NAME", "STATE", "BRANCH", "WORKTREE"),
        lambda session: (session.id, session.name, session.state, session.branch or "", session.worktree_path or ""),
    )


@sessions.command(name="open")
def open_session(
    context: typer.Context,
    project: Annotated[str, typer.Argument(help="A project's id, or the path of a repository.")],
    name: Annotated[str | None, typer.Option()] = None,
    base: Annotated[str | None, typer.Option(help="What to start from; default the repository's HEAD.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Open a session: a worktree of its own on a branch of its own."""

    async def run(client: Client) -> BaseModel:
        return await client.open_session(await _project_id(client, project), name, base)

    session = _call(context, run)
    _show_one(as_json, session, str(session.model_dump()["id"]))


@sessions.command(name="close")
@cli.command(name="close")
def close_session(
    context: typer.Context,
    id: str,
    force: Annotated[bool, typer.Option("--force")] = False,
    keep_branch: Annotated[bool, typer.Option("--keep-branch", help="Leave its branch and commits.")] = False,
) -> None:
    """Close a session and remove its worktree; unsaved work is refused unless forced."""
    _call(context, lambda client: client.close_session(id, force=force, keep_branch=keep_branch))


@cli.command(name="branch")
def show_branch(context: typer.Context, session: str, as_json: JsonFlag = False) -> None:
    """Where a session's branch stands beside the default branch."""
    found = _call(context, lambda client: client.branch(session))
    _show_one(as_json, found, _branch_text(found))


@cli.command()
def commit(
    context: typer.Context,
    session: str,
    message: Annotated[str, typer.Option("--message", "-m", help="The commit's message; - reads standard input.")],
    everything: Annotated[bool, typer.Option("--all", help="Also what is pending, which applies it.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Commit on a session's branch what was applied."""
    text = sys.stdin.read() if message == "-" else message
    made = _call(context, lambda client: client.commit(session, text, "all" if everything else "applied"))
    _show_one(as_json, made, made.commit)


@cli.command()
def update(
    context: typer.Context,
    session: str,
    rebase: Annotated[bool, typer.Option("--rebase", help="Rebase instead of merge.")] = False,
    agent: Annotated[str | None, typer.Option(help="Who resolves conflicts; without, they write nothing.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Bring the project's default branch into a session."""
    how, otherwise = "rebase" if rebase else "merge", "agent" if agent else "abort"
    done = _call(context, lambda client: client.update_branch(session, how, otherwise, agent))
    lines = [f"{done.outcome} {done.head}", *(f"conflict {visible_line(name)}" for name in done.conflicts)]
    _show_one(as_json, done, "\n".join(lines))


@cli.command(name="patch")
def show_patch(
    context: typer.Context,
    session: str,
    which: Annotated[str, typer.Option("--changes", help="applied, pending or all.")] = "all",
) -> None:
    """A session's changes as a patch for git apply, byte for byte."""
    if which not in ("applied", "pending", "all"):
        raise InvalidInput("--changes is applied, pending or all")
    sys.stdout.buffer.write(_call(context, lambda client: client.patch(session, which)))


@cli.command()
def prompt(
    context: typer.Context,
    words: Annotated[list[str], typer.Argument(metavar="[SESSION] TEXT", help="TEXT - reads standard input.")],
    agent: Annotated[str, typer.Option(help="Which agent is asked.")],
    project: Annotated[Path | None, typer.Option(help="Open a new session on this repository.")] = None,
    model: Annotated[str | None, typer.Option()] = None,
    mode: Annotated[str | None, typer.Option()] = None,
    thinking: Annotated[str | None, typer.Option()] = None,
    when: Annotated[str, typer.Option(help="While a turn runs: queue, steer or interrupt.")] = "queue",
    allow: Annotated[bool, typer.Option("--allow", help="Allow whatever the agent asks.")] = False,
    deny: Annotated[bool, typer.Option("--deny", help="Refuse whatever the agent asks.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Ask an agent for one turn and show it as it happens."""
    if allow and deny:
        raise InvalidInput("--allow and --deny exclude each other")
    if len(words) < (1 if project else 2):
        raise InvalidInput("give a session and a text, or --project and a text")
    session, text = (None, " ".join(words)) if project else (words[0], " ".join(words[1:]))
    wish = _valid(
        Prompt,
        agent=agent,
        input=sys.stdin.read() if text == "-" else text,
        model=model,
        mode_id=mode,
        thinking_option_id=thinking,
        when=when,
    )
    turn = Turn(allow=allow, deny=deny, as_json=as_json)

    async def run(client: Client) -> TaskState:
        return await turn.run(client, session or await _new_session(client, str(project)), wish)

    state = _call(context, run)
    raise typer.Exit(_ENDINGS.get(state, FAILED))


@cli.command()
def setup(
    context: typer.Context,
    session: str,
    run: Annotated[bool, typer.Option("--run", help="Run it, also once more.")] = False,
    skip: Annotated[bool, typer.Option("--skip", help="Let prompts go without it.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """The setup of a session's worktree: what it runs, how it went, and why prompts wait."""
    if run and skip:
        raise InvalidInput("--run and --skip exclude each other")
    act = Client.run_setup if run else Client.skip_setup if skip else Client.setup
    found = _call(context, lambda client: act(client, session))
    _show_one(as_json, found, setup_text(found))


@cli.command()
def trust(
    context: typer.Context,
    project: Annotated[str, typer.Argument(help="A project's id, or the path of a repository.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    digest: Annotated[str | None, typer.Option(help="Trust this content only, and do not ask.")] = None,
) -> None:
    """Let the setup files that sessions of a project wait with run their commands."""

    async def find(client: Client) -> tuple[str, Sequence[Setup]]:
        id = await _project_id(client, project)
        found = [await client.setup(each.id) for each in await _all_pages(partial(client.sessions, id))]
        return id, [each for each in found if each.state is SetupState.UNTRUSTED]

    id, waiting = _call(context, find)
    by_digest = {str(each.digest): each for each in waiting}
    if digest is not None:
        by_digest = {digest: by_digest[digest]} if digest in by_digest else {}
    if not by_digest:
        raise NotFound("no session of this project waits for such a setup file to be trusted")
    for chosen, each in by_digest.items():
        typer.echo(setup_text(each))
        if not (yes or digest) and not typer.confirm("Trust this?"):
            raise typer.Exit(CANCELLED)
        _call(context, partial(Client.trust_setup, project_id=id, digest=chosen))


@changes.command(name="list")
def list_changes(
    context: typer.Context,
    session: str,
    status: Annotated[ChangeStatus | None, typer.Option()] = ChangeStatus.PENDING,
    everything: Annotated[bool, typer.Option("--all", help="Decided ones too.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """The changes of a session that wait for a decision."""
    wanted = None if everything else status
    found = _call(context, lambda client: _all_pages(lambda cursor: client.changes(session, wanted, cursor=cursor)))
    _show(as_json, found, ("ID", "STATUS", "AGENT", "CHANGE", "FILE"), _change_row)


@changes.command(name="show")
def show_change(context: typer.Context, id: str, as_json: JsonFlag = False) -> None:
    """One change with its diff."""
    change = _call(context, lambda client: client.change(id))
    _show_one(
        as_json, change, f"{change.status} {change.operation} {visible_line(change.file_path)}\n{visible(change.diff)}"
    )


@changes.command(name="apply")
def apply_changes(
    context: typer.Context,
    ids: Annotated[list[str] | None, typer.Argument()] = None,
    session: Annotated[str | None, typer.Option(help="Everything pending in this session.")] = None,
    reason: Reason = None,
) -> None:
    """Write changes into the project's checkout. A conflict writes nothing."""
    one, every = partial(Client.apply_change, reason=reason), partial(Client.apply_changes, reason=reason)
    _decide(context, ids, session, one, every)


@changes.command(name="reject")
def reject_changes(
    context: typer.Context,
    ids: Annotated[list[str] | None, typer.Argument()] = None,
    session: Annotated[str | None, typer.Option(help="Everything pending in this session.")] = None,
    reason: Reason = None,
) -> None:
    """Put the base content back into the worktree."""
    one, every = partial(Client.reject_change, reason=reason), partial(Client.reject_changes, reason=reason)
    _decide(context, ids, session, one, every)


@changes.command(name="revert")
def revert_changes(context: typer.Context, ids: list[str], reason: Reason = None) -> None:
    """Take applied changes out of the checkout again."""
    _decide(context, ids, None, partial(Client.revert_change, reason=reason), None)


@cli.command(name="comment")
def begin_comment(
    context: typer.Context,
    change: Annotated[str, typer.Argument(help="The change's id.")],
    text: Annotated[list[str], typer.Argument(help="What is to be said; - reads standard input.")],
    line: Annotated[int, typer.Option(help="The number of the line, from 1.")],
    side: Annotated[Side, typer.Option(help="The text before the change (base) or after it (new).")] = "new",
    as_json: JsonFlag = False,
) -> None:
    """Comment on a line of a pending change."""
    wish = _valid(NewComment, body=_text_of(text).strip(), line=line, side=side)
    comment = _call(context, lambda client: client.begin_comment(change, wish.line, wish.body, side=wish.side))
    _show_one(as_json, comment, comment.id)


@cli.command(name="comments")
def list_comments(
    context: typer.Context,
    session: str,
    everything: Annotated[bool, typer.Option("--all", help="Settled ones too.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """The open comments of a session."""
    wanted = None if everything else CommentStatus.OPEN
    found = _call(context, lambda client: _all_pages(lambda cursor: client.comments(session, wanted, cursor)))
    _show(as_json, found, ("ID", "STATUS", "PLACE", "COMMENT"), _comment_row)


@cli.command(name="review")
def send_review(
    context: typer.Context,
    session: str,
    agent: Annotated[str, typer.Option(help="Who is to go through the comments.")],
    words: Annotated[list[str] | None, typer.Argument(metavar="[TEXT]", help="What else to say; - reads it.")] = None,
    comment: Annotated[list[str] | None, typer.Option(help="Only this comment; may be given again.")] = None,
    allow: Annotated[bool, typer.Option("--allow", help="Allow whatever the agent asks.")] = False,
    deny: Annotated[bool, typer.Option("--deny", help="Refuse whatever the agent asks.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Send the open comments of a session to an agent as one prompt, and show the turn."""
    if allow and deny:
        raise InvalidInput("--allow and --deny exclude each other")
    turn = Turn(allow=allow, deny=deny, as_json=as_json)
    wish = _valid(Review, agent=agent, comments=comment or None, input=_text_of(words) if words else None)

    async def run(client: Client) -> TaskState:
        begin = partial(client.review, session, agent, comments=wish.comments, input=wish.input)
        return await turn.follow(client, session, begin)

    raise typer.Exit(_ENDINGS.get(_call(context, run), FAILED))


@providers.command(name="list")
def list_providers(
    context: typer.Context, force: Annotated[bool, typer.Option("--force")] = False, as_json: JsonFlag = False
) -> None:
    """Every provider, and whether it can be used."""
    found = _call(context, lambda client: client.providers(force=force))
    _show(as_json, found, ("ID", "LABEL", "STATUS", "VERSION", "NOTE"), _provider_row)


@providers.command(name="refresh")
def refresh_providers(
    context: typer.Context, ids: Annotated[list[str] | None, typer.Argument()] = None, as_json: JsonFlag = False
) -> None:
    """Ask the agents again what they offer."""
    found = _call(context, lambda client: client.refresh_providers(ids or None))
    _show(as_json, found, ("ID", "LABEL", "STATUS", "VERSION", "NOTE"), _provider_row)


@providers.command(name="add")
def add_provider(
    context: typer.Context,
    id: str,
    command: Annotated[list[str], typer.Argument(help="The program and its arguments, after --.")],
    label: Annotated[str | None, typer.Option()] = None,
    description: Annotated[str | None, typer.Option()] = None,
) -> None:
    """Add an agent that speaks ACP to the override file of this machine."""
    entry: dict[str, Json] = {"extends": "acp", "label": label or id, "command": list(command), "enabled": True}
    if description:
        entry["description"] = description
    settings = _reach(context).settings()
    registry = load_registry(settings.resolved_providers_path, inherited_environment())
    parse_override(id, entry, registry.builtin)
    _write_override(registry.file, id, entry)
    typer.echo(f"{id} is in {registry.file.path}")


@providers.command(name="enable")
def enable_provider(context: typer.Context, id: str) -> None:
    """Offer a provider again."""
    _call(context, lambda client: client.patch_providers({id: {"enabled": True}}, merge_fields=True))


@providers.command(name="disable")
def disable_provider(context: typer.Context, id: str) -> None:
    """Stop offering a provider."""
    _call(context, lambda client: client.patch_providers({id: {"enabled": False}}, merge_fields=True))


def main() -> None:
    """The entry point: errors are one line on standard error, never a traceback."""
    try:
        cli()
    except CoderError as error:
        _fail(error)
    except BaseExceptionGroup as group:
        found, others = group.split(CoderError)
        if found is None or others is not None:
            raise
        _fail(_first(found))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(FAILED)


def _fail(error: CoderError) -> NoReturn:
    typer.echo(f"error: {visible_line(str(error))}", err=True)
    if error.stable_code == UNREACHABLE:
        typer.echo("start it with `coder up`, or name it with --url", err=True)
        sys.exit(UNREACHABLE_EXIT)
    sys.exit(BAD_INPUT if isinstance(error, InvalidInput | NotFound) else FAILED)


def _first(group: BaseExceptionGroup[CoderError]) -> CoderError:
    found = group.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found


def _reach(context: typer.Context) -> Reach:
    found: Any = context.obj
    assert isinstance(found, Reach)
    return found


def _url_of(settings: Settings) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    return f"http://{host}:{9502 if settings.port == 'auto' else settings.port}"


def _call(context: typer.Context, run: Callable[[Client], Awaitable[Result]]) -> Result:
    async def enter() -> Result:
        async with _reach(context).client() as client:
            return await run(client)

    return anyio.run(enter)


async def _all_pages(fetch: Callable[[str | None], Awaitable[Page[Item]]]) -> list[Item]:
    page = await fetch(None)
    items = list(page.items)
    while page.next is not None:
        page = await fetch(page.next)
        items += page.items
    return items


async def _project_id(client: Client, name: str) -> str:
    """The project of a repository's path, registered where it is not yet; anything else is an id."""
    path = await anyio.Path(name).expanduser()
    if not await path.is_dir():
        return name
    try:
        return (await client.register_project(str(await path.absolute()))).id
    except Conflict as error:
        if error.stable_code != "project_exists":
            raise
        return str(error.fields["project_id"])


async def _new_session(client: Client, path: str) -> str:
    session = await client.open_session(await _project_id(client, path))
    typer.echo(f"session {session.id}", err=True)
    return session.id


def _decide(
    context: typer.Context,
    ids: Sequence[str] | None,
    session: str | None,
    decide: Callable[[Client, str], Awaitable[Change]],
    decide_all: Callable[[Client, str], Awaitable[Sequence[Change]]] | None,
) -> None:
    if bool(ids) == bool(session):
        raise InvalidInput("give the ids of changes, or --session for everything that is pending in it")

    async def run(client: Client) -> Sequence[Change]:
        if session and decide_all:
            return await decide_all(client, session)
        return [await decide(client, id) for id in ids or ()]

    for change in _call(context, run):
        typer.echo(f"{change.status} {visible_line(change.file_path)}")


def _write_override(file: OverrideFile, id: str, entry: Json) -> None:
    if file.document is None:
        raise InvalidInput(f"{file.path} {file.damage[0].message}; mend it first")
    entries = patched(file.raw, {id: entry if isinstance(entry, dict) else {}}, merge=False)
    save_overrides(file.path, {**file.document, "providers": entries}, file.stamp)


def _valid(kind: type[Wish], /, **fields: object) -> Wish:
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        fault = error.errors()[0]
        raise InvalidInput(f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}") from error


def _show(as_json: bool, items: Sequence[Any], head: Sequence[str], row: Callable[[Any], Sequence[str]]) -> None:
    if as_json:
        _print_json(items)
    elif items:
        typer.echo(table(head, [row(item) for item in items]))


def _show_one(as_json: bool, item: BaseModel, text: str) -> None:
    typer.echo(item.model_dump_json() if as_json else text)


def _print_json(items: Sequence[BaseModel]) -> None:
    for item in items:
        typer.echo(item.model_dump_json())


def _text_of(words: Sequence[str]) -> str:
    text = " ".join(words)
    return sys.stdin.read() if text == "-" else text


def _comment_row(comment: Comment) -> Sequence[str]:
    return (comment.id, comment.status, f"{comment.file_path}:{comment.line}", comment.body)


def _branch_text(found: BranchStatus) -> str:
    lines = [f"{found.branch} {found.head or 'gone'}"]
    if found.default_branch is not None:
        lines.append(f"{found.default_branch} {found.default_head or 'gone'}")
    if found.ahead is not None:
        lines.append(f"{found.ahead} ahead, {found.behind} behind")
    if found.uncommitted is not None:
        lines.append(f"{found.uncommitted} files differ from the branch, {found.applied} of what was applied")
    if found.problem is not None:
        lines.append(visible_line(found.problem.message))
    return "\n".join(lines)


def _change_row(change: Change) -> Sequence[str]:
    counts = f"{change.operation} +{change.added_lines} -{change.deleted_lines}"
    return (change.id, change.status, change.agent, counts, change.file_path)


def _provider_row(provider: ProviderSnapshot) -> Sequence[str]:
    state = "disabled" if not provider.enabled else provider.status if provider.installed else "not installed"
    note = provider.error or ("" if provider.installed else provider.install_hint)
    return (provider.id, provider.label, state, provider.version or "", note)
