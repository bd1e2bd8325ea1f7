"""The queue of a session: waiting, going first, changing places; and what a prompt keeps from the ones before."""

from pathlib import Path

import pytest

from coder.errors import InvalidInput, WrongState
from coder.model.events import Text, UserText
from coder.model.tasks import TaskState
from coder.protocol import TaskPatch
from coder.testing.rooms import Room, open_room


async def order_of_turns(room: Room) -> list[str]:
    return [record.task_id for record in await room.records() if record.event.type == "turn_started" and record.task_id]


@pytest.mark.scenario("dispatch: a prompt that interrupts goes next")
async def test_a_prompt_that_interrupts_cancels_the_turn_and_goes_before_what_waits(
    tmp_path: Path, database_url: str
) -> None:
    async with open_room(tmp_path, database_url) as room:
        running = await room.submit("say begun; hang")
        await room.saw("text")
        waiting = await room.submit("say later")
        urgent = await room.submit("say now", when="interrupt")
        await room.ended(waiting)
        assert (await room.host.dispatcher.get(running.id)).state is TaskState.CANCELLED
        assert await order_of_turns(room) == [running.id, urgent.id, waiting.id]


@pytest.mark.scenario("dispatch: a prompt that steers becomes part of the running turn")
async def test_a_prompt_that_steers_becomes_part_of_the_running_turn(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        running = await room.submit("say begun; sleep 400; say done")
        await room.saw("text")
        steering = await room.submit("say more", when="steer")
        assert steering.id == running.id
        await room.ended(running)
        assert "more" in await room.text_of(running)
        said = [record.event.text for record in await room.records() if record.event.type == "user_text"]
        assert said == ["say begun; sleep 400; say done", "say more"]
        assert await order_of_turns(room) == [running.id]


@pytest.mark.scenario("dispatch: a prompt that cannot steer waits for its turn")
async def test_a_prompt_that_steers_while_another_agent_works_waits(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.add_provider("second", room.host.providers.get("demo").command)
        running = await room.submit("say begun; sleep 300; say done")
        await room.saw("text")
        steering = await room.submit("say more", agent="second", when="steer")
        assert steering.id != running.id
        assert (await room.ended(steering)).state is TaskState.COMPLETED
        assert (await room.host.dispatcher.get(running.id)).state is TaskState.COMPLETED


@pytest.mark.scenario("dispatch: a waiting prompt goes now")
async def test_a_waiting_prompt_joins_the_running_turn(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        running = await room.submit("say begun; listen; say done")
        await room.saw("text")
        waiting = await room.submit("say more")
        joined = await room.host.dispatcher.edit(waiting.id, TaskPatch(when="steer"))
        assert (joined.state, joined.stop_reason) == (TaskState.CANCELLED, "steered")
        await room.ended(running)
        assert "more" in await room.text_of(running)
        said = {
            record.event.text: record.task_id for record in await room.records() if record.event.type == "user_text"
        }
        assert said["say more"] == running.id
        told = [record.event for record in await room.records() if record.event.type in ("user_text", "text")]
        words = [event.text for event in told if isinstance(event, UserText | Text)]
        assert words[1:3] == ["begun", "say more"]
        assert "more" in "".join(words[3:])
        assert await order_of_turns(room) == [running.id]


@pytest.mark.scenario("dispatch: a waiting prompt goes now")
async def test_a_waiting_prompt_interrupts_and_goes_before_the_others(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        running = await room.submit("say begun; hang")
        await room.saw("text")
        first, second = [await room.submit(f"say {name}") for name in "ab"]
        edit = room.host.dispatcher.edit
        await edit(second.id, TaskPatch(when="interrupt"))
        await room.ended(first)
        assert (await room.ended(running)).state is TaskState.CANCELLED
        assert await order_of_turns(room) == [running.id, second.id, first.id]
        for when in ("steer", "interrupt"):
            with pytest.raises(WrongState):
                await edit(first.id, TaskPatch(when=when, before=None))


@pytest.mark.scenario("dispatch: a waiting prompt that cannot steer waits on")
@pytest.mark.scenario("dispatch: viewers know whether an agent can be steered")
async def test_a_waiting_prompt_whose_agent_takes_none_keeps_its_place(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        program = Path(__file__).parents[1] / "contract" / "unsteerable_agent.py"
        await room.add_provider("deaf", [room.host.providers.get("demo").command[0], str(program)])
        await room.prompt("say hello")
        running = await room.submit("say begun; hang", agent="deaf")
        await room.seen(lambda record: record.event.type == "text" and record.agent == "deaf")
        waiting = await room.submit("say more", agent="deaf")
        kept = await room.host.dispatcher.edit(waiting.id, TaskPatch(when="steer"))
        assert (kept.state, kept.place) == (TaskState.PENDING, waiting.place)
        await room.host.dispatcher.cancel(running.id)
        assert (await room.ended(waiting)).state is TaskState.COMPLETED
        rows = await room.host.sessions.agent_sessions(room.session.id)
        assert {row.agent: row.can_steer for row in rows} == {"demo": True, "deaf": False}
        told = [event for event in await room.events() if event.type == "agent_status" and event.can_steer is not None]
        assert [(event.agent, event.can_steer) for event in told] == [("demo", True), ("deaf", False)]


@pytest.mark.scenario("dispatch: a waiting prompt that the agent may have seen is not said again")
async def test_a_waiting_prompt_that_an_agent_died_of_fails(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        program = Path(__file__).parents[1] / "contract" / "deadly_steering_agent.py"
        await room.add_provider("mortal", [room.host.providers.get("demo").command[0], str(program)])
        running = await room.submit("say begun; hang", agent="mortal")
        await room.saw("text")
        waiting = await room.submit("say more", agent="mortal")
        failed = await room.host.dispatcher.edit(waiting.id, TaskPatch(when="steer"))
        assert failed.state is TaskState.FAILED
        assert failed.error is not None
        assert failed.error.code == "agent_died"
        assert (await room.ended(running)).state is TaskState.FAILED
        await room.prompt("say alive", agent="mortal")
        assert waiting.id not in await order_of_turns(room)


@pytest.mark.scenario("dispatch: waiting prompts are reordered and edited")
async def test_waiting_prompts_are_reordered_and_edited(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        running = await room.submit("say begun; hang")
        await room.saw("text")
        a, b, c = [await room.submit(f"say {name}") for name in "abc"]
        edit = room.host.dispatcher.edit
        await edit(c.id, TaskPatch(before=a.id))
        await edit(a.id, TaskPatch(before=None))
        edited = await edit(b.id, TaskPatch(input="say changed"))
        assert edited.input == "say changed"
        with pytest.raises(WrongState):
            await edit(running.id, TaskPatch(input="too late"))
        with pytest.raises(InvalidInput):
            await edit(a.id, TaskPatch(before=running.id))
        await room.host.dispatcher.cancel(running.id)
        await room.ended(a)
        assert await order_of_turns(room) == [running.id, c.id, b.id, a.id]
        assert "changed" in await room.text_of(b)
        assert [r.event.type for r in await room.records()].count("task_updated") == 3


@pytest.mark.scenario("dispatch: choices are remembered per session and agent")
async def test_model_and_mode_are_kept_for_later_prompts_and_after_the_agent_was_closed(
    tmp_path: Path, database_url: str
) -> None:
    async with open_room(tmp_path, database_url) as room:
        chosen = await room.prompt("settings", model="demo-large", mode_id="plan")
        assert "demo-large" in await room.text_of(chosen)
        await room.host.pool.close(room.session.id, "demo")
        kept = await room.text_of(await room.prompt("settings"))
        assert "demo-large" in kept
        assert "plan" in kept
        (row,) = await room.host.sessions.agent_sessions(room.session.id)
        assert (row.model, row.mode_id) == ("demo-large", "plan")


@pytest.mark.scenario("dispatch: the agent's own change of mode is remembered")
async def test_a_mode_that_the_agent_chose_itself_is_kept(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt("say hello", mode_id="plan")
        await room.prompt("mode auto")
        assert "auto" in await room.text_of(await room.prompt("settings"))


@pytest.mark.scenario("dispatch: an image is refused before it is queued where the agent takes none")
async def test_an_image_for_an_agent_that_takes_none_is_refused(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        replay = Path(__file__).parents[1] / "golden" / "acp" / "sdkts.jsonl"
        python = room.host.providers.get("demo").command[0]
        await room.add_provider("blind", [python, "-m", "coder.testing.replay_agent", str(replay)])
        await room.host.providers.refresh(["blind"])
        (row,) = [row for row in await room.host.providers.snapshot() if row.id == "blind"]
        assert (row.status, row.accepts_images) == ("ready", False)
        image = {"name": "dot.png", "mime_type": "image/png", "data": "aGk="}
        with pytest.raises(InvalidInput) as refused:
            await room.submit("look", agent="blind", attachments=[image])
        assert refused.value.stable_code == "attachment_not_taken"
        assert (await room.host.dispatcher.list(room.session.id, (), None, 10)).items == ()
