"""Drafts: what a person has not sent yet, there on every device."""

from coder.model.drafts import Draft
from coder.store import drafts, sessions
from coder.store.database import Store


class Drafts:
    """One draft per session; the last one written counts."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def get(self, session_id: str) -> Draft:
        """The draft, empty where there is none. Raises NotFound for an unknown session."""
        async with self._store.connection() as connection:
            await sessions.get(connection, session_id)
            return await drafts.get(connection, session_id)

    async def write(self, session_id: str, text: str) -> Draft:
        """Keep `text` in the place of what was kept. Raises NotFound for an unknown session."""
        async with self._store.transaction() as connection:
            await sessions.get(connection, session_id)
            return await drafts.write(connection, session_id, text)
