// Decisions and comments, carried out by the host; what came of them is told by records.

import { api, newKey } from "../api.ts";
import type { Side } from "../diff/lines.ts";
import type { ApplyChange, Change, Comment, Decision } from "../protocol.ts";
import { doing, noteChanges, type Deed, usePane } from "../store.ts";
import type { Target } from "./target.ts";

/** Some hunks or lines of a change; null for all of it. */
export type Part = NonNullable<ApplyChange["hunks"]> | null;

/** Under the path, so that what is said about it stays when the agent changes the file once more. */
const fileDeed = (change: Change) => `change:${change.session_id}:${change.file_path}`;
export const allDeed = (sessionId: string) => `changes:${sessionId}`;
export const reviewDeed = (sessionId: string) => `review:${sessionId}`;
export const newCommentDeed = (changeId: string, side: Side, line: number) => `comment:${changeId}:${side}:${line}`;

export function useDeed(name: string): Deed | undefined {
  return usePane((state) => state.deeds[name]);
}

export function useFileDeed(change: Change): { name: string; deed: Deed | undefined } {
  const name = fileDeed(change);
  return { name, deed: useDeed(name) };
}

export const apply = (change: Change, part: Part, target: Target) =>
  doing(fileDeed(change), async () => {
    noteChanges(change.session_id, [await api.apply(change.id, { hunks: part, target }, newKey())]);
  });

export const reject = (change: Change, part: Part, reason: string | null) =>
  doing(fileDeed(change), async () => {
    noteChanges(change.session_id, [await api.reject(change.id, { hunks: part, reason }, newKey())]);
  });

export const revert = (change: Change) =>
  doing(`revert:${change.id}`, async () => {
    noteChanges(change.session_id, [await api.revert(change.id, newKey())]);
  });

/** Everything that is pending, or these of it; all or nothing. */
export const applyAll = (sessionId: string, chosen: readonly Change[] | null, target: Target) =>
  doing(allDeed(sessionId), async () => {
    const changes = chosen?.map(({ id }) => ({ id })) ?? null;
    noteChanges(sessionId, await api.applyAll(sessionId, { changes, target }, newKey()));
  });

export const rejectAll = (sessionId: string, chosen: readonly Change[] | null, reason: string | null) =>
  doing(allDeed(sessionId), async () => {
    noteChanges(sessionId, await api.rejectAll(sessionId, { changes: chosen?.map(({ id }) => ({ id })) ?? null, reason }, newKey()));
  });

export const withdrawDecision = (id: Decision["id"]) =>
  doing(`decision:${id}`, async () => {
    await api.withdrawDecision(id);
  });

export const restore = (checkpointId: string) =>
  doing(`restore:${checkpointId}`, async () => {
    await api.restore(checkpointId, newKey());
  });

export const beginComment = (change: Change, side: Side, line: number, body: string) =>
  doing(newCommentDeed(change.id, side, line), async () => {
    await api.comment(change.id, { side, line, body }, newKey());
  });

export const reply = (comment: Comment, body: string) =>
  doing(`comment:${comment.id}`, async () => {
    await api.reply(comment.id, body, newKey());
  });

export const settle = (comment: Comment, status: "open" | "resolved") =>
  doing(`comment:${comment.id}`, async () => {
    await api.settleComment(comment.id, status);
  });

export const sendReview = (sessionId: string, agent: string, words: string) =>
  doing(reviewDeed(sessionId), async () => {
    await api.sendReview(sessionId, { agent, input: words.trim() || null }, newKey());
  });
