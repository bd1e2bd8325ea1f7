import { expect, it } from "vitest";

import { unifiedDiff } from "./unified.ts";

it("shows a new file as additions", () => {
  expect(unifiedDiff("a.txt", null, "one\ntwo\n")).toBe(
    "diff --git a/a.txt b/a.txt\nnew file mode 100644\n--- /dev/null\n+++ b/a.txt\n@@ -0,0 +1,2 @@\n+one\n+two\n",
  );
});

it("keeps three lines around a change and leaves out the rest", () => {
  const before = Array.from({ length: 20 }, (_, at) => `line ${at + 1}`);
  const after = before.map((line) => (line === "line 10" ? "line ten" : line));
  const body = unifiedDiff("a.txt", before.join("\n"), after.join("\n")).split("\n").slice(3, -1);
  expect(body).toEqual([
    "@@ -7,7 +7,7 @@",
    " line 7",
    " line 8",
    " line 9",
    "-line 10",
    "+line ten",
    " line 11",
    " line 12",
    " line 13",
  ]);
});

it("says nothing about equal texts", () => {
  expect(unifiedDiff("a.txt", "same\n", "same\n")).toBe("");
});
