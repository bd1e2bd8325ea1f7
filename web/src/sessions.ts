// Opening, naming and closing sessions and their projects.

import { api } from "./api.ts";
import { choiceIn } from "./choice.ts";
import { forget } from "./follow.ts";
import type { Project, Session, SessionPatch, Setup } from "./protocol.ts";
import { doing, usePane } from "./store.ts";
import { warm } from "./warm.ts";
import { obstacleOf } from "./words.ts";

const { getState: pane, setState: set } = usePane;

export async function openSession(projectId: string, name: string, key: string): Promise<Session> {
  const session = await api.openSession(projectId, name.trim() || null, key);
  set({ sessions: [session, ...pane().sessions.filter(({ id }) => id !== session.id)] });
  warmChosen(session.id);
  return session;
}

/** Start the agent that was chosen last, which the composer of a new session will show. */
function warmChosen(session: string): void {
  const { agent } = choiceIn(session);
  const provider = pane().providers?.find(({ id }) => id === agent);
  if (provider && obstacleOf(provider) === null) warm(session, provider.id);
}

export async function registerProject(path: string): Promise<Project> {
  const project = await api.registerProject(path.trim());
  set({ projects: [...pane().projects.filter(({ id }) => id !== project.id), project] });
  return project;
}

export const editSession = (id: string, patch: SessionPatch) =>
  doing(`session:${id}`, async () => {
    const session = await api.editSession(id, patch);
    set({ sessions: pane().sessions.map((one) => (one.id === id ? session : one)) });
  });

export const closeSession = (id: string, force: boolean, keepsBranch: boolean) =>
  doing(`session:${id}`, async () => {
    await api.closeSession(id, force, keepsBranch);
    forget(id, "This session was closed.");
  });

/** Press a button of a worktree's setup; what comes of it is told by records. */
export const actOnSetup = (setup: Setup, projectId: string, action: "trust" | "run" | "skip") =>
  doing(`setup:${setup.session_id}`, async () => {
    if (action === "trust") await api.trustSetup(projectId, setup.digest ?? "");
    if (action !== "trust" || setup.state !== "untrusted")
      await api.actOnSetup(setup.session_id, action === "skip" ? "skip" : "run");
  });

