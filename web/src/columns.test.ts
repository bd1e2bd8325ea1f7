import { describe, expect, it } from "vitest";

import { runsOf } from "./actions.ts";
import { beside, divided, moved, sharesOf, shown, stepped, without } from "./columns.ts";
import { addressOf, alone, routeOf, type SessionRoute } from "./route.ts";

const at = (id: string, ...ids: string[]): SessionRoute => ({ place: "session", id, ids });

describe("the address", () => {
  it.each([
    ["#/sessions/a", at("a", "a")],
    ["#/sessions/a/b?at=b", at("b", "a", "b")],
    ["#/sessions/a%2Fb/c", at("a/b", "a/b", "c")],
  ])("%s leads to its columns and back", (hash, route) => {
    expect(routeOf(hash)).toEqual(route);
    expect(addressOf(route)).toBe(hash);
  });

  it("shows a session once, and gives the keys to the first where it names no other", () => {
    expect(routeOf("#/sessions/a/b/a?at=gone")).toEqual(at("a", "a", "b"));
  });

  it("leads to the start where it names nothing that is there", () => {
    expect(routeOf("#/sessions/")).toEqual({ place: "home" });
    expect(routeOf("#/sessions/%E0%A4%A")).toEqual(at("%E0%A4%A", "%E0%A4%A"));
  });
});

describe("columns", () => {
  it("show a session in place of the one that has the keys, or where it stands already", () => {
    expect(shown({ place: "home" }, "a")).toEqual(alone("a"));
    expect(shown(at("b", "a", "b"), "c")).toEqual(at("c", "a", "c"));
    expect(shown(at("b", "a", "b"), "a")).toEqual(at("a", "a", "b"));
  });

  it("open beside the one that has the keys, each session once", () => {
    expect(beside(at("a", "a", "b"), "c")).toEqual(at("c", "a", "c", "b"));
    expect(beside(at("a", "a", "b"), "b")).toEqual(at("b", "a", "b"));
    expect(beside({ place: "agents" }, "a")).toEqual(alone("a"));
  });

  it("leave the keys to a neighbour when they are closed", () => {
    expect(without(at("b", "a", "b", "c"), "b")).toEqual(at("c", "a", "c"));
    expect(without(at("c", "a", "b", "c"), "c")).toEqual(at("b", "a", "b"));
    expect(without(at("a", "a", "b"), "b")).toEqual(at("a", "a"));
    expect(without(at("a", "a"), "a")).toEqual({ place: "home" });
  });

  it("are stepped through round about, and moved as far as the edge", () => {
    expect(stepped(at("b", "a", "b"), 1).id).toBe("a");
    expect(stepped(at("a", "a", "b", "c"), -1).id).toBe("c");
    expect(moved(at("a", "a", "b", "c"), 1).ids).toEqual(["b", "a", "c"]);
    expect(moved(at("a", "a", "b"), -1).ids).toEqual(["a", "b"]);
  });

  it("divide the width evenly until a divider between two of them is moved", () => {
    expect(sharesOf(undefined, 2)).toEqual([1, 1]);
    expect(sharesOf([1, 1, 1], 2)).toEqual([1, 1]);
    expect(divided([1, 1, 2], 0, 75)).toEqual([1.5, 0.5, 2]);
  });
});

it("an action goes to the column that has the keys, else to what is the same everywhere", () => {
  const done: string[] = [];
  const offer = (id: string, column: string | null, word: string) => ({ id, column, run: () => void done.push(word) });
  const offers = [offer("turn.stop", "a", "stop a"), offer("turn.stop", "b", "stop b"), offer("palette", null, "palette")];
  runsOf(offers, "a")["turn.stop"]?.();
  runsOf(offers, "b")["turn.stop"]?.();
  runsOf(offers, "b").palette?.();
  expect(done).toEqual(["stop a", "stop b", "palette"]);
  expect(runsOf(offers, null)["turn.stop"]).toBeUndefined();
});
