// What leads a session's work out by git, carried out by the host.

import { api, newKey, type PatchPart } from "../api.ts";
import type { BranchCommit, BranchIncoming, BranchUpdate, NewCommit } from "../protocol.ts";
import { doing } from "../store.ts";

export const commitDeed = (sessionId: string) => `commit:${sessionId}`;
export const updateDeed = (sessionId: string) => `update:${sessionId}`;
export const patchDeed = (sessionId: string) => `patch:${sessionId}`;

/** The commit that was made, or null where it was refused. */
export async function commit(sessionId: string, wish: NewCommit): Promise<BranchCommit | null> {
  let made: BranchCommit | null = null;
  await doing(commitDeed(sessionId), async () => {
    made = await api.commit(sessionId, wish, newKey());
  });
  return made;
}

/** How the default branch came in, or null where it was refused. */
export async function update(sessionId: string, wish: BranchIncoming): Promise<BranchUpdate | null> {
  let done: BranchUpdate | null = null;
  await doing(updateDeed(sessionId), async () => {
    done = await api.updateBranch(sessionId, wish, newKey());
  });
  return done;
}

/** The patch, or null where it was refused. */
export async function patch(sessionId: string, part: PatchPart): Promise<Blob | null> {
  let found: Blob | null = null;
  await doing(patchDeed(sessionId), async () => {
    found = await api.patch(sessionId, part);
  });
  return found;
}
