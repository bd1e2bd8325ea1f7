// Colours of source text. Loaded when the first text of a known language is shown.

import bash from "highlight.js/lib/languages/bash";
import c from "highlight.js/lib/languages/c";
import cpp from "highlight.js/lib/languages/cpp";
import csharp from "highlight.js/lib/languages/csharp";
import css from "highlight.js/lib/languages/css";
import dockerfile from "highlight.js/lib/languages/dockerfile";
import go from "highlight.js/lib/languages/go";
import ini from "highlight.js/lib/languages/ini";
import java from "highlight.js/lib/languages/java";
import javascript from "highlight.js/lib/languages/javascript";
import json from "highlight.js/lib/languages/json";
import kotlin from "highlight.js/lib/languages/kotlin";
import makefile from "highlight.js/lib/languages/makefile";
import markdown from "highlight.js/lib/languages/markdown";
import php from "highlight.js/lib/languages/php";
import python from "highlight.js/lib/languages/python";
import ruby from "highlight.js/lib/languages/ruby";
import rust from "highlight.js/lib/languages/rust";
import scss from "highlight.js/lib/languages/scss";
import sql from "highlight.js/lib/languages/sql";
import swift from "highlight.js/lib/languages/swift";
import typescript from "highlight.js/lib/languages/typescript";
import xml from "highlight.js/lib/languages/xml";
import yaml from "highlight.js/lib/languages/yaml";
import { createLowlight } from "lowlight";

import type { Language } from "./language.ts";
import type { Token } from "./lines.ts";

const lowlight = createLowlight({
  bash, c, cpp, csharp, css, dockerfile, go, ini, java, javascript, json, kotlin, makefile, markdown, php, python, ruby, rust,
  scss, sql, swift, typescript, xml, yaml,
} satisfies Record<Language, unknown>);

type Nodes = ReturnType<typeof lowlight.highlight>["children"];

/** The tokens of each line; a line's tokens make up the line. */
export function tokensOf(language: Language, lines: readonly string[]): Token[][] {
  const found: Token[][] = [[]];
  walk(lowlight.highlight(language, lines.join("\n")).children, null, found);
  return found;
}

/** The language that a fence names, by its own name or a common short one. */
export function languageNamed(name: string): Language | null {
  return lowlight.registered(name) ? (name as Language) : null;
}

function walk(nodes: Nodes, look: string | null, found: Token[][]): void {
  for (const node of nodes) {
    if (node.type === "element") {
      const names = node.properties.className;
      walk(node.children as Nodes, Array.isArray(names) ? names.join(" ") : look, found);
    } else if (node.type === "text") {
      node.value.split("\n").forEach((text, at) => {
        if (at > 0) found.push([]);
        if (text) found.at(-1)?.push({ text, look });
      });
    }
  }
}
