import { createElement } from "react";
import { renderToStaticMarkup } from "react-dom/server";
import ReactMarkdown from "react-markdown";
import remarkGfm from "remark-gfm";
import { describe, expect, it } from "vitest";

import { blocksOf, isProse, mended } from "./blocks.ts";

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

describe("A line of plain words", () => {
  const pieces = ["I", "see", " ", "it", ".", ":", ",", "-", "+", "1.", "2)", "#", "=", "(", ")", "!", "$", "{", "\"", "’", "é", "漢", "www.a.b", "http://a.b", "a@b.c", "*", "_", "`", "[", "]", "<b>", "&amp;", "~~", "|", "\\\\", "\n", "\n\n", "\t", "\u0000", "    "];

  it("is shown as markdown would show it", () => {
    let seed = 7;
    const random = (below: number) => (seed = (seed * 48271) % 2147483647) % below;
    let shown = 0;
    for (let round = 0; round < 3000; round += 1) {
      const text = Array.from({ length: 1 + random(7) }, () => pieces[random(pieces.length)]).join("");
      if (!isProse(text)) continue;
      shown += 1;
      const [markdown, plain] = [createElement(ReactMarkdown, { remarkPlugins: [remarkGfm] }, text), createElement("p", null, text.trim())];
      expect(renderToStaticMarkup(plain), JSON.stringify(text)).toBe(renderToStaticMarkup(markdown));
    }
    expect(shown).toBeGreaterThan(100);
  });
});
