import { describe, expect, it } from "vitest";

import {
  changedBetween,
  changedWords,
  choiceOf,
  gapsOf,
  linesOf,
  nameOfHidden,
  pairsOf,
  parsedHunks,
  piecesOf,
  placeOf,
  seenParts,
  withLines,
  wordsOf,
} from "./lines.ts";
import { languageOf } from "./language.ts";
import { tokensOf } from "./syntax.ts";
import { unifiedDiff } from "./unified.ts";

const hunk = { id: "h", header: "@@ -10,4 +10,4 @@ def f():", lines: [" a", "-old one", "-old two", "+new one", " b", "\\ No newline"] };

describe("lines of a hunk", () => {
  it("are numbered on both sides, and a missing line end belongs to the line before", () => {
    expect(linesOf(hunk).map(({ at, base, fresh }) => [at, base, fresh])).toEqual([
      [0, 10, 10],
      [1, 11, null],
      [2, 12, null],
      [3, null, 11],
      [4, 13, 12],
    ]);
    expect(linesOf(hunk).at(-1)?.isUnended).toBe(true);
    expect(placeOf(hunk.header)).toEqual({ base: 10, fresh: 10, count: 4, context: "def f():" });
    expect(placeOf("@@ -0,0 +1 @@")).toEqual({ base: 0, fresh: 1, count: 1, context: "" });
  });

  it("stand beside each other in the order in which they were replaced", () => {
    expect(pairsOf(linesOf(hunk)).map(({ left, right }) => [left?.text, right?.text])).toEqual([
      ["a", "a"],
      ["old one", "new one"],
      ["old two", undefined],
      ["b", "b"],
    ]);
  });

  it("are left out before, between and after hunks", () => {
    const hunks = [
      { header: "@@ -3,3 +3,4 @@", lines: [" a", "+new", " b", " c"] },
      { header: "@@ -20,4 +21,3 @@", lines: [" d", "-old", " e", " f"] },
    ];
    expect(gapsOf(hunks, null)).toEqual([{ from: 1, to: 2, shift: 0 }, { from: 7, to: 20, shift: -1 }, null]);
    expect(gapsOf(hunks, 30)[2]).toEqual({ from: 24, to: 30, shift: 0 });
    expect(gapsOf(hunks, 23)[2]).toBeNull();
    expect(gapsOf([{ header: "@@ -1,4 +1,4 @@", lines: ["-x", "+y", " a", " b", " c"] }], null)).toEqual([null, { from: 5, to: null, shift: 0 }]);
    expect(gapsOf([{ header: "@@ -5,1 +4,0 @@", lines: ["-gone"] }], 9)).toEqual([
      { from: 1, to: 4, shift: 0 },
      { from: 5, to: 9, shift: 1 },
    ]);
  });

  it("are found in a unified diff of any length", () => {
    const before = Array.from({ length: 40 }, (_, at) => `line ${at}`).join("\n");
    const diff = unifiedDiff("a", before, before.replace("line 3\n", "three\n").replace("line 30", "thirty"));
    expect(parsedHunks(diff).map(({ header, lines }) => [header.slice(0, 5), lines.length])).toEqual([
      ["@@ -1", 8],
      ["@@ -2", 8],
    ]);
    expect(parsedHunks("no diff at all")).toEqual([]);
  });
});

describe("words", () => {
  it("that differ are marked, joined over blanks", () => {
    expect(changedWords("return a + b", "return a - c")).toEqual({ before: [[9, 12]], after: [[9, 12]] });
  });

  it("of lines with little in common are left alone", () => {
    expect(changedWords("import os", "class Tree:")).toBeNull();
    expect(changedWords("same", "same")).toBeNull();
    expect(wordsOf(linesOf(hunk)).get(1)).toEqual([[0, 3]]);
  });

  it("keep their colour", () => {
    const pieces = piecesOf("let a = 1", [[4, 9]], [{ text: "let", look: "k" }, { text: " a = ", look: null }, { text: "1", look: "n" }]);
    expect(pieces.map(({ text, isChanged, look }) => [text, isChanged, look])).toEqual([
      ["let", false, "k"],
      [" ", false, null],
      ["a = ", true, null],
      ["1", true, "n"],
    ]);
    expect(piecesOf("ab", [[0, 1]], undefined).map(({ text }) => text)).toEqual(["a", "b"]);
  });

  it("of source make up their lines again", () => {
    const lines = ['def f(a: str) -> None:', '    """Two', '    lines."""', "    return 1"];
    const tokens = tokensOf("python", lines);
    expect(tokens.map((line) => line.map(({ text }) => text).join(""))).toEqual(lines);
    expect(tokens[0]?.[0]?.look).toContain("hljs-keyword");
  });

  it("that nobody can see are taken apart", () => {
    expect(seenParts("a\u202eb")).toEqual(["a", "\u202e", "b"]);
    expect(nameOfHidden("\u202e")).toBe("U+202E");
    expect(nameOfHidden("\r")).toBe("CR");
    expect(seenParts("tab\tstays")).toEqual(["tab\tstays"]);
  });
});

describe("a selection", () => {
  it("grows and shrinks by changed lines only", () => {
    const lines = linesOf(hunk);
    expect(changedBetween(lines, 4, 0)).toEqual([1, 2, 3]);
    const two = withLines({}, "h", [2, 1], true);
    expect(two).toEqual({ h: [1, 2] });
    expect(withLines(two, "h", [1, 2], false)).toEqual({});
  });

  it("of every change is the hunk", () => {
    expect(choiceOf(hunk, [1, 2, 3])).toBe("h");
    expect(choiceOf(hunk, [1])).toEqual({ id: "h", lines: [1] });
  });
});

describe("a language", () => {
  it("is known by the file's name", () => {
    expect(["src/a.py", "Makefile", "a/Dockerfile", "b.constructor", "LICENSE"].map(languageOf)).toEqual([
      "python",
      "makefile",
      "dockerfile",
      null,
      null,
    ]);
  });
});
