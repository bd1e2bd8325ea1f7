// Prompts on their way, in the queue and under way, and the answers to what agents ask.

import { api, newKey, wordsOf } from "./api.ts";
import type { TurnItem } from "./fold.ts";
import { tell } from "./follow.ts";
import type { PromptFrame, Task } from "./protocol.ts";
import { CommandRefused } from "./socket.ts";
import { doing, usePane, type Outgoing } from "./store.ts";

const { getState: pane, setState: set } = usePane;

export function prompt(wish: Omit<PromptFrame, "type" | "id">): void {
  send({ type: "prompt", id: newKey(), ...wish });
}

/** Ask once more for what a turn was asked for, of the same agent in the same way. */
export function repeat(item: TurnItem, task: Task | undefined, sessionId: string): void {
  const input = task?.input || item.input;
  if (!input) return;
  prompt({
    session_id: sessionId,
    agent: task?.agent ?? item.agent ?? "",
    input,
    model: task?.model ?? null,
    mode_id: task?.mode_id ?? null,
    thinking_option_id: task?.thinking_option_id ?? null,
    ...(task?.attachments?.length ? { attachments: [...task.attachments] } : {}),
  });
}

function send(frame: PromptFrame): void {
  set({ outbox: [...pane().outbox.filter((one) => one.frame.id !== frame.id), { frame, words: null }] });
  tell(frame).then(
    (ack) => {
      withdraw(frame.id);
      if (ack.result && "input" in ack.result) noteTask(ack.result);
    },
    (error: unknown) => {
      const words = wordsOf(error);
      set({ outbox: pane().outbox.map((one) => (one.frame.id === frame.id ? { ...one, words } : one)) });
    },
  );
}

/** Send a refused prompt once more. */
export function sendAgain(outgoing: Outgoing): void {
  send(outgoing.frame);
}

export function withdraw(id: string): void {
  set({ outbox: pane().outbox.filter((one) => one.frame.id !== id) });
}

/** The answer may arrive before the record that tells the same. */
function noteTask(task: Task): void {
  const view = pane().views[task.session_id];
  if (!view || view.facts.tasks[task.id]) return;
  const facts = { ...view.facts, tasks: { ...view.facts.tasks, [task.id]: task } };
  set({ views: { ...pane().views, [task.session_id]: { ...view, facts } } });
}

/** Give a waiting prompt other words. */
export const reword = (taskId: string, input: string) =>
  doing(`place:${taskId}`, async () => {
    await api.editTask(taskId, { input });
  });

/** Give a waiting prompt its turn before another one. */
export const place = (taskId: string, before: string) =>
  doing(`place:${taskId}`, async () => {
    await api.editTask(taskId, { before });
  });

/** Let a waiting prompt go now. */
export const hurry = (taskId: string, when: "steer" | "interrupt") =>
  doing(`place:${taskId}`, async () => {
    await api.editTask(taskId, { when });
  });

export const cancel = (taskId: string) =>
  doing(`cancel:${taskId}`, async () => {
    await tell({ type: "cancel", id: newKey(), task_id: taskId });
  });

export const answer = (requestId: string, optionId: string) =>
  doing(`answer:${requestId}`, async () => {
    try {
      await tell({ type: "permission", id: newKey(), request_id: requestId, option_id: optionId });
    } catch (error) {
      // Someone else was faster: the record of their answer says so.
      if (!(error instanceof CommandRefused && error.frame.code === "wrong_state")) throw error;
    }
  });

