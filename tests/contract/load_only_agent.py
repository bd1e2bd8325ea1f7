"""The scripted agent as agents are that load sessions but do not resume them."""

import os

from coder.testing.agent import Agent
from coder.testing.wire import Fields, Peer, fields


class LoadOnlyPeer(Peer):
    """Takes the offer to resume out of every answer."""

    def answer(self, id: object, result: Fields) -> None:
        capabilities = fields(result.get("agentCapabilities"))
        if capabilities:
            result = {**result, "agentCapabilities": {**capabilities, "sessionCapabilities": {}}}
        super().answer(id, result)  # pyright: ignore[reportArgumentType] - any JSON


if __name__ == "__main__":
    Agent(LoadOnlyPeer(0, 1), os.environ).run()
