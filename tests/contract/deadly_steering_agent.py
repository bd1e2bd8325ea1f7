"""The scripted agent, but it dies when it is given input during a turn: nobody learns whether it had taken it."""

import os

from coder.testing.agent import Agent
from coder.testing.wire import Fields, Json, Peer


class DeadlySteering(Agent):
    def _steer(self, id: Json, params: Fields) -> None:
        os._exit(1)


if __name__ == "__main__":
    DeadlySteering(Peer(0, 1), os.environ).run()
