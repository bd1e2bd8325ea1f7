"""The scripted agent as agents are that take no input during a turn."""

import os

from coder.testing.agent import Agent
from coder.testing.wire import Fields, Peer


class UnsteerablePeer(Peer):
    """Takes the word that it can be steered out of every answer."""

    def answer(self, id: object, result: Fields) -> None:
        super().answer(id, {name: value for name, value in result.items() if name != "_meta"})  # pyright: ignore[reportArgumentType] - any JSON


if __name__ == "__main__":
    Agent(UnsteerablePeer(0, 1), os.environ).run()
