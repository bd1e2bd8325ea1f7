"""How many viewers, by socket or event stream, may watch at once."""

from collections.abc import Generator
from contextlib import contextmanager

from starlette.requests import HTTPConnection

from coder.errors import TooMany


class Seats:
    """One for each viewer."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = 0

    @contextmanager
    def seat(self) -> Generator[None]:
        """A place for as long as the context lasts.

        Raises:
            TooMany: all are taken.
        """
        if self._taken >= self._limit:
            raise TooMany(f"{self._limit} viewers watch already", code="too_many_viewers")
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1


def seats_of(connection: HTTPConnection) -> Seats:
    """The application's seats."""
    seats: Seats = connection.app.state.seats
    return seats
