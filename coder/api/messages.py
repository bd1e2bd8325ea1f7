"""The route that prompts an agent in a session."""

from coder.api.bodies import ATTACHMENTS_LIMIT
from coder.api.operations import Call, Nothing, command
from coder.host import Host
from coder.model.tasks import Task
from coder.protocol import NewTask, Prompt


async def send_message(host: Host, call: Call[Prompt, Nothing]) -> Task:
    wish = NewTask.model_construct(**dict(call.body), session_id=call.path["id"])
    return await host.dispatcher.submit(wish, idempotency_key=call.key)


routes = [
    command(
        "POST",
        "/api/sessions/{id}/messages",
        send_message,
        "Prompt an agent: answers with the task once it is stored",
        tag="tasks",
        body=Prompt,
        query=Nothing,
        answer=Task,
        status=202,
        limit=ATTACHMENTS_LIMIT,
        keeps_key=True,
    ),
]
