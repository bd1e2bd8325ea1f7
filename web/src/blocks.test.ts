import { describe, expect, it } from "vitest";

import { blocksOf, mended } from "./blocks.ts";

const TEXT = `# Title

A paragraph
of two lines.

- one

- two

  indented under two

1. first

\`\`\`python
a = 1

b = 2
\`\`\`

| a | b |
| - | - |
| 1 | 2 |

The end`;

describe("A text that is still being written", () => {
  it("is cut where nothing that follows changes what stands before", () => {
    expect(blocksOf(TEXT).map((block) => block.trim().split("\n")[0])).toEqual(["# Title", "A paragraph", "- one", "```python", "| a | b |", "The end"]);
    expect(blocksOf(TEXT).join("\n").replace(/\n+/g, "\n")).toBe(TEXT.replace(/\n+/g, "\n"));
  });

  it("keeps its first blocks as they are, whatever comes", () => {
    for (let end = 1; end < TEXT.length; end += 1) {
      const some = blocksOf(TEXT.slice(0, end)).slice(0, -1);
      const more = blocksOf(TEXT.slice(0, end + 1));
      expect(more.slice(0, Math.max(0, some.length - 1))).toEqual(some.slice(0, -1));
    }
  });

  it("is one block where what stands above may be defined below", () => {
    expect(blocksOf("See [this].\n\nMore.\n\n[this]: https://example.org").length).toBe(1);
    expect(blocksOf("")).toEqual([]);
    expect(blocksOf("```\nno end\n\nyet").length).toBe(1);
  });

  it("shows no half of a mark", () => {
    expect(mended("some **bold")).toBe("some **bold**");
    expect(mended("some **")).toBe("some ");
    expect(mended("run `ls -l")).toBe("run `ls -l`");
    expect(mended("see [the page](https://exa")).toBe("see the page");
    expect(mended("see [the pa")).toBe("see the pa");
    expect(mended("```js\nconst a = `")).toBe("```js\nconst a = `");
    expect(mended("whole **text** and [link](https://example.org).")).toBe("whole **text** and [link](https://example.org).");
  });
});
