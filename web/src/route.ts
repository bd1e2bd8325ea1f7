// Where in the pane one is, kept in the address's fragment so that links and reloads work.

import { useMemo, useSyncExternalStore } from "react";

/** One or more sessions side by side, from left to right, each once; what is done goes to the one at `id`. */
export interface SessionRoute {
  readonly place: "session";
  readonly id: string;
  readonly ids: readonly string[];
}
export type Route = { place: "home" } | SessionRoute | { place: "agents" };

export function routeOf(hash: string): Route {
  const [, path, at] = /^#\/sessions\/([^?]+?)\/?(?:\?at=(.*))?$/.exec(hash) ?? [];
  const ids = [...new Set((path ?? "").split("/").map(decoded))].filter(Boolean);
  const [first] = ids;
  if (first) return { place: "session", id: ids.find((id) => id === decoded(at ?? "")) ?? first, ids };
  return hash === "#/agents" ? { place: "agents" } : { place: "home" };
}

export function addressOf(route: Route): string {
  if (route.place !== "session") return route.place === "agents" ? "#/agents" : "#/";
  const path = `#/sessions/${route.ids.map(encodeURIComponent).join("/")}`;
  return route.id === route.ids[0] ? path : `${path}?at=${encodeURIComponent(route.id)}`;
}

/** The session alone. */
export function alone(id: string): SessionRoute {
  return { place: "session", id, ids: [id] };
}

export function here(): Route {
  return routeOf(location.hash);
}

export function go(route: Route): void {
  location.hash = addressOf(route);
}

/** Be elsewhere without a step that leads back. */
export function turnTo(route: Route): void {
  history.replaceState(history.state, "", addressOf(route));
  window.dispatchEvent(new HashChangeEvent("hashchange"));
}

export function useRoute(): Route {
  const hash = useSyncExternalStore(onHash, () => location.hash);
  return useMemo(() => routeOf(hash), [hash]);
}

function onHash(changed: () => void): () => void {
  window.addEventListener("hashchange", changed);
  return () => window.removeEventListener("hashchange", changed);
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
