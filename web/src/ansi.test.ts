import { describe, expect, it } from "vitest";

import { runsOf } from "./ansi.ts";
import { foldedText } from "./output.tsx";

const plain = (output: string) => runsOf(output).map(({ text }) => text).join("");

describe("Terminal output", () => {
  it("keeps its colours", () => {
    expect(runsOf("\u001b[1;32mok\u001b[0m 3 \u001b[91mbad\u001b[39m.")).toEqual([
      { text: "ok", look: "ansi-2 ansi-bold", colour: null },
      { text: " 3 ", look: "", colour: null },
      { text: "bad", look: "ansi-9", colour: null },
      { text: ".", look: "", colour: null },
    ]);
    expect(runsOf("\u001b[38;2;300;0;7mx\u001b[38;5;9my")[0]).toEqual({ text: "x", look: "", colour: "rgb(255 0 7)" });
    expect(runsOf("\u001b[38;5;9my")[0]?.look).toBe("ansi-9");
  });

  it("loses links, clipboards, titles, moves and bells", () => {
    expect(plain("\u001b]8;;https://evil.example\u0007click\u001b]8;;\u0007")).toBe("click");
    expect(plain("\u001b]52;c;c2VjcmV0\u001b\\a\u001b]0;title\u0007b")).toBe("ab");
    expect(plain("\u001b[2J\u001b[3;4Hx\u001bP1$r\u001b\\y\u0007\u0008z\u001b]8;;no end")).toBe("xyz");
    expect(plain("\u009d8;;https://evil.example\u009cc1")).toBe("c1");
  });

  it("shows of a line what was written last", () => {
    expect(plain("10%\r50%\r100%\ndone\r\n")).toBe("100%\ndone\n");
  });

  it("is folded to its end, other text to its beginning", () => {
    const long = Array.from({ length: 500 }, (_, at) => `line ${at}`).join("\n");
    expect(foldedText(long, true).shown.endsWith("line 499")).toBe(true);
    expect(foldedText(long, false).shown.startsWith("line 0\n")).toBe(true);
    expect(foldedText(long, false).hidden).toBe(482);
    expect(foldedText("short", true)).toEqual({ shown: "short", hidden: 0 });
    expect(foldedText("x".repeat(9000), true).hidden).toBe(1);
  });
});
