import { describe, expect, it } from "vitest";

import { ACTIONS, actionsOf, keysOf } from "./actions.ts";
import { matchOf, ranked } from "./fuzzy.ts";
import { chordOf, isCommanding, shownChord, spokenChord } from "./keys.ts";

const press = (key: string, more: Partial<KeyboardEvent> = {}) =>
  ({ key, code: /^[a-z]$/i.test(key) ? `Key${key.toUpperCase()}` : "", ctrlKey: false, metaKey: false, altKey: false, shiftKey: false, ...more }) as KeyboardEvent;

describe("A chord", () => {
  it("means the same wish on every machine", () => {
    expect(chordOf(press("k", { ctrlKey: true }), false)).toBe("Mod+K");
    expect(chordOf(press("k", { metaKey: true }), true)).toBe("Mod+K");
    expect(shownChord("Mod+Shift+K", false)).toBe("Ctrl+Shift+K");
    expect(shownChord("Mod+Shift+K", true)).toBe("⌘⇧K");
    expect(spokenChord("Mod+K", false)).toBe("Control+K");
  });

  it("is told by the key itself where Alt writes another letter", () => {
    expect(chordOf(press("˜", { altKey: true, code: "KeyN" }), true)).toBe("Alt+N");
    expect(chordOf(press("Dead", { altKey: true, code: "KeyN" }), true)).toBe("Alt+N");
    expect(chordOf(press("л", { ctrlKey: true, code: "KeyK" }), false)).toBe("Mod+K");
  });

  it("is none while only a modifier is down or a letter is composed", () => {
    expect(chordOf(press("Control", { ctrlKey: true }))).toBeNull();
    expect(chordOf(press("Process"))).toBeNull();
  });

  it("leaves letters to the one who writes", () => {
    expect(["1", "/", "Shift+A"].some(isCommanding)).toBe(false);
    expect(["Mod+K", "Alt+1", "Escape", "F2"].every(isCommanding)).toBe(true);
    expect(chordOf(press("?", { shiftKey: true, code: "Slash" }))).toBe("?");
  });
});

describe("A shortcut", () => {
  it("is the person's own before the usual one, and may be none", () => {
    expect(keysOf("palette", {})).toEqual(["Mod+K"]);
    expect(keysOf("palette", { palette: "Mod+J" })).toEqual(["Mod+J"]);
    expect(keysOf("palette", { palette: "" })).toEqual([]);
    expect(actionsOf("Mod+J", { palette: "Mod+J" })).toEqual(["palette"]);
  });

  it("stands for one action as long as nobody changes it", () => {
    const all = Object.keys(ACTIONS).flatMap((id) => keysOf(id, {}));
    expect(new Set(all).size).toBe(all.length);
  });
});

describe("Some letters", () => {
  it("find a thing by its words' beginnings", () => {
    expect(matchOf("ns", "New session")?.at).toEqual([0, 4]);
    expect(matchOf("xyz", "New session")).toBeNull();
    const names = ["Next session", "New session", "Rename session"];
    expect(ranked("new", names, (name) => name)[0]?.thing).toBe("New session");
  });
});
