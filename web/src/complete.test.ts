import { describe, expect, it } from "vitest";

import { addCommand } from "./add-agent.tsx";
import { completed, stillMentioned, stepped, wantedAt } from "./complete.ts";
import { reconciled } from "./drafts.ts";
import { marked, piecesOf } from "./marks.ts";

describe("A prompt being written", () => {
  it("wants a command at its start and a file after a blank", () => {
    expect(wantedAt("/pl", 3)).toEqual({ kind: "command", query: "pl", from: 0, to: 3 });
    expect(wantedAt("do /pl", 6)).toBeNull();
    expect(wantedAt("see @src/a", 10)).toEqual({ kind: "file", query: "src/a", from: 4, to: 10 });
    expect(wantedAt("me@home", 7)).toBeNull();
    expect(wantedAt("see @a and", 10)).toBeNull();
  });

  it("takes what was chosen and stands behind it", () => {
    expect(completed("see @st now", { kind: "file", query: "st", from: 4, to: 7 }, "src/store.py")).toEqual({
      text: "see @src/store.py now",
      caret: 18,
    });
    expect(completed("/pl", { kind: "command", query: "pl", from: 0, to: 3 }, "plan").text).toBe("/plan ");
    expect(completed("@a", { kind: "file", query: "a", from: 0, to: 2 }, "a b.txt").text).toBe('@"a b.txt" ');
  });

  it("names only the files that are still in it", () => {
    const files = ["src/a.py", "src/a.pyi", "b c.txt"];
    expect(stillMentioned('look at @src/a.pyi, then @"b c.txt"', files)).toEqual(["src/a.pyi", "b c.txt"]);
    expect(stillMentioned("look at @src/a.py.", files)).toEqual(["src/a.py"]);
  });

  it("steps through the past and back to what was written", () => {
    expect([stepped(["b", "a"], -1, 1), stepped(["b", "a"], 1, 1), stepped(["b", "a"], 0, -1)]).toEqual([0, 1, -1]);
  });
});

describe("A draft", () => {
  const local = { text: "mine", base: "1", isAhead: false };

  it("gives way to the host's unless something was written here since", () => {
    expect(reconciled(local, { text: "theirs", updated_at: "2" })).toEqual({ text: "theirs", base: "2", isAhead: false });
    expect(reconciled({ ...local, isAhead: true }, { text: "theirs", updated_at: "2" }).text).toBe("mine");
    expect(reconciled(local, { text: "older", updated_at: "1" }).text).toBe("mine");
  });
});

describe("Characters that are not seen", () => {
  it("are shown as marks with their number", () => {
    expect(marked("a\u202egpj.exe")).toBe("a[U+202E]gpj.exe");
    expect(marked("in\u200bvisible \u{e0041}")).toBe("in[U+200B]visible [U+E0041]");
    expect(marked("\u001b[31mred")).toBe("[U+001B][31mred");
    expect(piecesOf("plain").length).toBe(1);
  });

  it("leave every other text alone", () => {
    for (const text of ["", "a\tb\nc", "日本語 العربية עברית", "e\u0301 👍🏽"]) expect(marked(text)).toBe(text);
  });
});

describe("The line that adds an agent", () => {
  it("is quoted for a shell", () => {
    expect(addCommand("my-agent", "It's mine", "my agent --acp")).toBe("coder providers add my-agent --label 'It'\\''s mine' -- my agent --acp");
    expect(addCommand("x", "$(rm -rf ~)", "x")).toContain("--label '$(rm -rf ~)'");
  });
});
