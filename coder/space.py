"""Room on the disk that the home is on: a reserve that is left to what runs already."""

import os
from pathlib import Path

from coder.errors import Unavailable

DISK_FULL = "disk_full"


class Space:
    """Below `reserve` bytes nothing new begins."""

    def __init__(self, home: Path, reserve: int) -> None:
        self._home = home
        self.reserve = reserve

    def free(self) -> int:
        """Bytes that this account may still write."""
        found = os.statvfs(self._home)
        return found.f_bavail * found.f_frsize

    def has_room(self) -> bool:
        return self.free() >= self.reserve

    def refuse_without(self) -> None:
        """Raises Unavailable: `disk_full`."""
        if not self.has_room():
            raise Unavailable(f"{self.words()}: nothing new begins until there is room", code=DISK_FULL)

    def words(self) -> str:
        mebi = 1024 * 1024
        return f"{self.free() // mebi} MiB are free at {self._home}, {self.reserve // mebi} MiB are kept in reserve"
