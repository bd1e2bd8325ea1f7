// Where in the pane one is, kept in the address's fragment so that links and reloads work.

import { useSyncExternalStore } from "react";

export type Route = { place: "home" } | { place: "session"; id: string } | { place: "agents" };

export function routeOf(hash: string): Route {
  const session = /^#\/sessions\/([^/?]+)$/.exec(hash)?.[1];
  if (session) return { place: "session", id: decodeURIComponent(session) };
  return hash === "#/agents" ? { place: "agents" } : { place: "home" };
}

export function addressOf(route: Route): string {
  if (route.place === "session") return `#/sessions/${encodeURIComponent(route.id)}`;
  return route.place === "agents" ? "#/agents" : "#/";
}

export function go(route: Route): void {
  location.hash = addressOf(route);
}

export function useRoute(): Route {
  return routeOf(
    useSyncExternalStore(
      (changed) => {
        window.addEventListener("hashchange", changed);
        return () => window.removeEventListener("hashchange", changed);
      },
      () => location.hash,
    ),
  );
}
