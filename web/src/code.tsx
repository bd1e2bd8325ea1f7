// A block of code in an answer: its colours come when it is complete, and change nothing about its size.

import { isValidElement, useEffect, useRef, useState, type ComponentProps, type ReactNode } from "react";

import { CopyButton } from "./output.tsx";

interface Token {
  readonly text: string;
  readonly look: string | null;
}

export function CodeBlock({ children, node: _node, isGrowing = false, ...rest }: ComponentProps<"pre"> & { node?: unknown; isGrowing?: boolean }) {
  const block = useRef<HTMLPreElement>(null);
  const { text, language } = codeIn(children);
  const tokens = useTokens(isGrowing ? null : text, language);
  return (
    <div className="group/code relative">
      <pre
        ref={block}
        tabIndex={0}
        aria-label={language ? `Code in ${language}` : "Code"}
        className="overflow-x-auto rounded-md border border-line bg-sunken px-3 py-2.5 font-mono text-xs leading-[1.55]"
        {...rest}
      >
        {tokens ? (
          <code>
            {tokens.map((token, at) => (token.look ? <span key={at} className={token.look}>{token.text}</span> : token.text))}
          </code>
        ) : (
          children
        )}
      </pre>
      <CopyButton text={() => block.current?.textContent ?? ""} label="Copy code" className="group-hover/code:opacity-100" />
    </div>
  );
}

function codeIn(children: ReactNode): { text: string; language: string | null } {
  if (!isValidElement<{ className?: string; children?: ReactNode }>(children)) return { text: "", language: null };
  const text = children.props.children;
  const language = /language-([\w+#.-]+)/.exec(children.props.className ?? "")?.[1] ?? null;
  return { text: typeof text === "string" ? text : "", language };
}

function useTokens(text: string | null, language: string | null): Token[] | null {
  const [found, setFound] = useState<{ text: string; tokens: Token[] } | null>(null);
  useEffect(() => {
    if (text === null || !language || text.length > 60_000) return;
    let isCurrent = true;
    void import("./diff/syntax.ts").then(({ tokensOf, languageNamed }) => {
      const known = languageNamed(language.toLowerCase());
      if (!isCurrent || !known) return;
      const lines = tokensOf(known, text.split("\n"));
      const tokens = lines.flatMap((line, at) => (at < lines.length - 1 ? [...line, { text: "\n", look: null }] : line));
      setFound({ text, tokens });
    });
    return () => {
      isCurrent = false;
    };
  }, [text, language]);
  return found && found.text === text ? found.tokens : null;
}
