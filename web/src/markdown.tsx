// Text of agents. It is never trusted: no HTML, no scripts, few link schemes, nothing loaded from elsewhere.

import { Check, Copy } from "lucide-react";
import { memo, useRef, useState, type ComponentProps } from "react";
import ReactMarkdown, { type Components } from "react-markdown";
import rehypeSanitize, { defaultSchema } from "rehype-sanitize";
import remarkGfm from "remark-gfm";

const SCHEMES = ["http", "https", "mailto"];
const SCHEMA: typeof defaultSchema = { ...defaultSchema, protocols: { ...defaultSchema.protocols, href: SCHEMES } };

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

function Code({ children, node: _node, ...rest }: ComponentProps<"pre"> & { node?: unknown }) {
  const block = useRef<HTMLPreElement>(null);
  const [isCopied, setCopied] = useState(false);
  const copy = () => {
    void navigator.clipboard?.writeText(block.current?.textContent ?? "").then(() => {
      setCopied(true);
      setTimeout(() => setCopied(false), 1500);
    });
  };
  return (
    <div className="group/code relative">
      <pre
        ref={block}
        tabIndex={0}
        className="overflow-x-auto rounded-md border border-line bg-sunken px-3 py-2.5 font-mono text-xs leading-[1.55]"
        {...rest}
      >
        {children}
      </pre>
      <button
        type="button"
        aria-label={isCopied ? "Copied" : "Copy code"}
        onClick={copy}
        className="absolute top-1.5 right-1.5 rounded-md border border-line bg-raised p-1 text-soft opacity-0 transition-opacity group-hover/code:opacity-100 focus-visible:opacity-100"
      >
        {isCopied ? <Check aria-hidden className="size-3.5" /> : <Copy aria-hidden className="size-3.5" />}
      </button>
    </div>
  );
}

const COMPONENTS: Components = { a: Link, img: Image, pre: Code };

export const Markdown = memo(function Markdown({ text }: { text: string }) {
  return (
    <div className="prose">
      <ReactMarkdown remarkPlugins={[remarkGfm]} rehypePlugins={[[rehypeSanitize, SCHEMA]]} components={COMPONENTS}>
        {text}
      </ReactMarkdown>
    </div>
  );
});
