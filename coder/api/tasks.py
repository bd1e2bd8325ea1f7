"""Routes of tasks: durable wishes for one turn."""

from coder.api.bodies import ATTACHMENTS_LIMIT
from coder.api.operations import Call, Nothing, command, read
from coder.api.queries import PageQuery, SomeId
from coder.host import Host
from coder.model.tasks import Task, TaskState
from coder.protocol import NewTask, Page, TaskPatch


class TasksQuery(PageQuery):
    session_id: SomeId | None = None
    state: TaskState | None = None


async def list_tasks(host: Host, call: Call[Nothing, TasksQuery]) -> Page[Task]:
    states = (call.query.state,) if call.query.state else ()
    return await host.dispatcher.list(call.query.session_id, states, call.query.cursor, call.query.limit)


async def submit_task(host: Host, call: Call[NewTask, Nothing]) -> Task:
    return await host.dispatcher.submit(call.body, idempotency_key=call.key)


async def get_task(host: Host, call: Call[Nothing, Nothing]) -> Task:
    return await host.dispatcher.get(call.path["id"])


async def cancel_task(host: Host, call: Call[Nothing, Nothing]) -> Task:
    return await host.dispatcher.cancel(call.path["id"])


async def edit_task(host: Host, call: Call[TaskPatch, Nothing]) -> Task:
    return await host.dispatcher.edit(call.path["id"], call.body)


routes = [
    read("/api/tasks", list_tasks, "List tasks", tag="tasks", query=TasksQuery, answer=Page[Task]),
    command(
        "POST",
        "/api/tasks",
        submit_task,
        "Prompt an agent: answers with the task once it is stored",
        tag="tasks",
        body=NewTask,
        query=Nothing,
        answer=Task,
        status=202,
        limit=ATTACHMENTS_LIMIT,
        keeps_key=True,
    ),
    read("/api/tasks/{id}", get_task, "One task", tag="tasks", query=Nothing, answer=Task),
    command(
        "PATCH",
        "/api/tasks/{id}",
        edit_task,
        "Edit a task that waits, or give it another place in its session's queue",
        tag="tasks",
        body=TaskPatch,
        query=Nothing,
        answer=Task,
        status=200,
    ),
    command(
        "POST",
        "/api/tasks/{id}/cancel",
        cancel_task,
        "Cancel a task: one that waits at once, one that runs politely",
        tag="tasks",
        body=Nothing,
        query=Nothing,
        answer=Task,
        status=202,
    ),
]
