// Sessions side by side: which stand where, which one has the keys, and how wide each is.

import { createContext, useContext } from "react";

import { alone, go, here, turnTo, type Route, type SessionRoute } from "./route.ts";

/** The column that one stands in: its session, its number from the left and whether the keys go to it. */
export interface Column {
  readonly id: string;
  readonly number: number;
  readonly count: number;
  readonly hasKeys: boolean;
}

export const ColumnContext = createContext<Column | null>(null);

/** A landmark's name, which differs from column to column. */
export function useLandmark(name: string): string {
  const column = useContext(ColumnContext);
  return column && column.count > 1 ? `${name} in column ${column.number}` : name;
}

/** Show the session: where it stands already, else in place of the one that has the keys. */
export function shown(route: Route, id: string): SessionRoute {
  if (route.place !== "session") return alone(id);
  if (route.ids.includes(id)) return { ...route, id };
  return { place: "session", id, ids: route.ids.map((one) => (one === route.id ? id : one)) };
}

/** Show the session beside the one that has the keys, which it takes over. */
export function beside(route: Route, id: string): SessionRoute {
  if (route.place !== "session" || route.ids.includes(id)) return shown(route, id);
  return { place: "session", id, ids: route.ids.flatMap((one) => (one === route.id ? [one, id] : [one])) };
}

/** Without the column of the session; its neighbour gets the keys that it had. */
export function without(route: SessionRoute, id: string): Route {
  const at = route.ids.indexOf(id);
  const ids = route.ids.filter((one) => one !== id);
  const next = route.id === id ? ids[Math.min(at, ids.length - 1)] : route.id;
  return next === undefined ? { place: "home" } : { place: "session", id: next, ids };
}

/** The keys go to a neighbour, round about. */
export function stepped(route: SessionRoute, by: 1 | -1): SessionRoute {
  const { ids } = route;
  return { ...route, id: ids[(ids.indexOf(route.id) + by + ids.length) % ids.length] ?? route.id };
}

/** The column that has the keys changes places with its neighbour. */
export function moved(route: SessionRoute, by: 1 | -1): SessionRoute {
  const at = route.ids.indexOf(route.id);
  const other = route.ids[at + by];
  if (other === undefined) return route;
  return { ...route, ids: route.ids.map((one) => (one === other ? route.id : one === route.id ? other : one)) };
}

/** The columns' parts of the width, all the same where nobody said otherwise. */
export function sharesOf(kept: readonly number[] | undefined, count: number): readonly number[] {
  return kept?.length === count && kept.every((share) => share > 0) ? kept : Array.from({ length: count }, () => 1);
}

/** The column left of the divider gets `percent` of what it and its right neighbour have together. */
export function divided(shares: readonly number[], left: number, percent: number): readonly number[] {
  const both = (shares[left] ?? 0) + (shares[left + 1] ?? 0);
  const part = (both * percent) / 100;
  return shares.map((share, at) => (at === left ? part : at === left + 1 ? both - part : share));
}

export function showSession(id: string): void {
  go(shown(here(), id));
}

export function openBeside(id: string): void {
  go(beside(here(), id));
}

export function closeColumn(id: string): void {
  const route = here();
  if (route.place === "session") go(without(route, id));
}

/** The keys go to this column. */
export function giveKeys(id: string): void {
  const route = here();
  if (route.place === "session" && route.id !== id && route.ids.includes(id)) turnTo({ ...route, id });
}
