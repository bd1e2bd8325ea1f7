"""Files of a session's worktree, found by name and read."""

from coder.errors import InvalidInput
from coder.model.files import Folder, FoundFile
from coder.protocol import Page
from coder.workspaces import Workspaces
from coder.worktrees.git import run_in_thread
from coder.worktrees.listing import find_files, list_folder
from coder.worktrees.names import stored_name
from coder.worktrees.paths import open_root

FOLDER_LIMIT = 2000
"""Entries of a folder that are listed at most."""

SIZE_LIMIT = 2 * 1024 * 1024
"""Bytes of a file that are shown at most."""


class Files:
    """What agents and people see in a worktree, without what is ignored."""

    def __init__(self, workspaces: Workspaces) -> None:
        self._workspaces = workspaces

    async def find(self, session_id: str, query: str, limit: int) -> Page[FoundFile]:
        """Files whose names hold the letters of `query` in their order, the best first.

        Raises:
            NotFound: no such session, or it has no worktree.
            Conflict: its folder is gone.
        """
        workspace = await self._workspaces.look(session_id)
        paths = await find_files(workspace.shadow, query, limit)
        return Page(items=tuple(FoundFile(path=path) for path in paths))

    async def folder(self, session_id: str, path: str) -> Folder:
        """What is directly in a folder of the worktree; the root's path is empty.

        Raises:
            NotFound: no such session, it has no worktree, or no such folder.
            InvalidInput: the path leads out of the worktree, or into `.git`. Conflict: the worktree is gone.
        """
        workspace = await self._workspaces.look(session_id)
        if ".git" in path.split("/"):
            raise InvalidInput("path names no folder of the worktree", path=path)
        return await list_folder(workspace.shadow, path.rstrip("/"), FOLDER_LIMIT)

    async def read(self, session_id: str, path: str) -> str:
        """The text of a file.

        Raises:
            NotFound: no such session or file.
            InvalidInput: `not_text`, the file is binary; or the path leads out of the worktree.
            TooLarge: the file is over `SIZE_LIMIT`.
        """
        workspace = await self._workspaces.look(session_id)
        if not path or ".git" in path.split("/"):
            raise InvalidInput("path names no file of the worktree", path=path)

        def read_bytes() -> bytes:
            with open_root(workspace.shadow.worktree) as root:
                return root.read_bytes(stored_name(path), size_limit=SIZE_LIMIT)

        content = await run_in_thread(read_bytes)
        if b"\0" in content:
            raise InvalidInput(f"not a text: {path}", code="not_text", path=path)
        return content.decode(errors="replace")
