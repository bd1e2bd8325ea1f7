"""One prompt in version 2 of the protocol: its answer says that it was taken, and the turn ends with the state idle."""

from coder.backends.acp.exchange import Exchange
from coder.backends.acp.peer import Pending, refusal_of
from coder.backends.acp.translate_v2 import TranslatorV2
from coder.backends.wire import Fields, fields


class ExchangeV2(Exchange):
    """Ends when the agent is idle again after it has worked on the prompt.

    Not every idle is that end: the state may be repeated at any time, and work that the agent began by itself, or that
    an earlier prompt left behind, may end while the prompt still waits for its place in the conversation. It has that
    place once it was answered or has come back as a message of the user.
    """

    _is_taken = False
    _is_busy = False

    async def answered(self, pending: Pending) -> None:
        if pending.error:
            # refused before it had its place: there is no turn
            await self.end(fields(pending.result), pending.error)
            return
        self._is_taken = True
        self._turn.heard()

    async def heard_state(self, update: Fields) -> None:
        if update.get("state") != "idle":
            self._is_busy = True
        elif self._is_end():
            error = update.get("error") or {"message": "the agent reports an error without a reason"}
            is_failed = update.get("stopReason") == "error"
            await self.end(update, refusal_of("session/prompt", error) if is_failed else None)

    def _is_end(self) -> bool:
        turn, translator = self._turn, self._feed.translator
        if turn.is_cancelled or turn.error:
            return True
        is_taken = self._is_taken or (isinstance(translator, TranslatorV2) and translator.is_echoed)
        return is_taken and (self._is_busy or turn.has_begun)
