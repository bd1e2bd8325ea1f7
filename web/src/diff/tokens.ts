import { useEffect, useMemo, useState } from "react";

import type { Language } from "./language.ts";
import type { DiffLine, Token } from "./lines.ts";

/** Longer hunks are shown without colours. */
const COLOURED = 200_000;

type Syntax = typeof import("./syntax.ts");

/** The coloured pieces of each line, by its `at`; null until they are there. */
export function useTokens(lines: readonly DiffLine[], language: Language | null): ReadonlyMap<number, readonly Token[]> | null {
  const [syntax, setSyntax] = useState<Syntax | null>(null);
  useEffect(() => {
    let isCurrent = true;
    // Without colours the text can still be read.
    if (language) void import("./syntax.ts").then((loaded) => isCurrent && setSyntax(loaded), () => undefined);
    return () => {
      isCurrent = false;
    };
  }, [language]);
  return useMemo(() => {
    if (!syntax || !language || lines.reduce((sum, { text }) => sum + text.length, 0) > COLOURED) return null;
    const found = new Map<number, readonly Token[]>();
    for (const left of ["+", "-"]) {
      const side = lines.filter(({ mark }) => mark !== left);
      syntax.tokensOf(language, side.map(({ text }) => text)).forEach((tokens, at) => {
        const line = side[at];
        if (line) found.set(line.at, tokens);
      });
    }
    return found;
  }, [syntax, language, lines]);
}
