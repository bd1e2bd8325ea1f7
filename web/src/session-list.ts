// The order of sessions, the same in the list and for the keys that step through it.

import type { Project, Session } from "./protocol.ts";

/** By project, the newest session first. */
export function listed(projects: readonly Project[], sessions: readonly Session[]): Session[] {
  return projects.flatMap((project) =>
    sessions
      .filter((session) => session.project_id === project.id)
      .toSorted((a, b) => (a.created_at < b.created_at ? 1 : -1)),
  );
}
