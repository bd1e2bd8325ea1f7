// Text of agents. It is never trusted: no HTML, no scripts, few link schemes, nothing loaded from elsewhere.

import { memo, type ComponentProps } from "react";
import ReactMarkdown, { type Components } from "react-markdown";
import rehypeSanitize, { defaultSchema } from "rehype-sanitize";
import remarkGfm from "remark-gfm";

import { blocksOf, isProse, mended } from "./blocks.ts";
import { CodeBlock } from "./code.tsx";

const SCHEMES = ["http", "https", "mailto"];
const SCHEMA: typeof defaultSchema = { ...defaultSchema, protocols: { ...defaultSchema.protocols, href: SCHEMES } };

const REMARK = [remarkGfm];
const REHYPE: ComponentProps<typeof ReactMarkdown>["rehypePlugins"] = [[rehypeSanitize, SCHEMA]];

/** A link that may be followed, or null. Relative ones would lead into the pane itself. */
export function safeLink(href: string | undefined): string | null {
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(href ?? "")?.[1]?.toLowerCase();
  return href && scheme && SCHEMES.includes(scheme) ? href : null;
}

function Link({ href, children }: ComponentProps<"a">) {
  const target = safeLink(href);
  if (!target) return <span>{children}</span>;
  return (
    <a href={target} target="_blank" rel="noreferrer noopener" title={target}>
      {children}
    </a>
  );
}

/** An image would tell a stranger that this text is being read: it is offered as a link. */
function Image({ src, alt }: ComponentProps<"img">) {
  const target = safeLink(typeof src === "string" ? src : undefined);
  const words = alt ? `image: ${alt}` : "image";
  return target ? <Link href={target}>{words}</Link> : <span>[{words}]</span>;
}

const SETTLED: Components = { a: Link, img: Image, pre: CodeBlock, table: Table };
const GROWING: Components = { ...SETTLED, pre: (props) => <CodeBlock {...props} isGrowing /> };

function Table({ children }: ComponentProps<"table">) {
  return (
    <div className="overflow-x-auto" role="region" aria-label="Table" tabIndex={0}>
      <table>{children}</table>
    </div>
  );
}

/** `isGrowing`: more is to come. Only the last block is read again then, and halves of marks are not shown. */
export const Markdown = memo(function Markdown({ text, isGrowing = false }: { text: string; isGrowing?: boolean }) {
  const blocks = blocksOf(text);
  return (
    <div className="prose">
      {blocks.map((block, at) => (
        <Block key={at} text={block} isGrowing={isGrowing && at === blocks.length - 1} />
      ))}
    </div>
  );
});

const Block = memo(function Block({ text, isGrowing }: { text: string; isGrowing: boolean }) {
  if (isProse(text)) return <p>{text.trim()}</p>;
  return (
    <ReactMarkdown remarkPlugins={REMARK} rehypePlugins={REHYPE} components={isGrowing ? GROWING : SETTLED}>
      {isGrowing ? mended(text) : text}
    </ReactMarkdown>
  );
});
