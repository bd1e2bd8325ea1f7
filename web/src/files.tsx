// The worktree's files as they are now: a tree of folders, found by name, read with colours.

import { ArrowLeft, File, Search } from "lucide-react";
import { useEffect, useMemo, useRef, useState } from "react";
import { flushSync } from "react-dom";

import { api, wordsOf } from "./api.ts";
import { CodeBlock } from "./code.tsx";
import { IconButton, Trouble } from "./controls.tsx";
import type { Facts } from "./fold.ts";
import { useKept } from "./kept.ts";
import type { FoundFile } from "./protocol.ts";
import { languageOf } from "./diff/language.ts";
import { Plain } from "./plain.tsx";
import { Wait } from "./tool.tsx";
import { Tree } from "./tree.tsx";

const SOON = 120;

interface FilesProps {
  id: string;
  /** Changes whenever a turn may have changed files. */
  moved: string;
  changes: Facts["changes"];
}

export default function Files({ id, moved, changes }: FilesProps) {
  const [query, setQuery] = useState("");
  const [file, setFile] = useState<string | null>(null);
  const [folders, setFolders] = useKept<string[]>(`coder.folders.${id}`, []);
  const open = useMemo(() => new Set(folders), [folders]);
  const changed = useMemo(
    () => new Map(Object.values(changes).filter(({ status }) => status === "pending").map((change) => [change.file_path, change.operation])),
    [changes],
  );
  const fold = (path: string, isOpen: boolean) => setFolders(isOpen ? [...folders, path] : folders.filter((one) => one !== path));
  const list = useRef<HTMLDivElement>(null);
  const goBack = () => {
    flushSync(() => setFile(null));
    const find = (what: string) => list.current?.querySelector<HTMLElement>(what);
    (find('[role="treeitem"][tabindex="0"]') ?? find("input"))?.focus();
  };
  return (
    <>
      {file !== null && <Text id={id} path={file} moved={moved} onBack={goBack} />}
      <div ref={list} hidden={file !== null}>
        <label className="m-2.5 flex h-8 items-center gap-2 rounded-md border border-line-strong bg-raised px-2 focus-within:border-live">
          <Search aria-hidden className="size-3.5 shrink-0 text-faint" />
          <input
            type="search"
            aria-label="Find a file"
            placeholder="Some letters of a name"
            value={query}
            onChange={(event) => setQuery(event.target.value)}
            className="min-w-0 flex-1 bg-transparent text-xs outline-none"
          />
        </label>
        {query.trim() ? (
          <Found id={id} query={query} moved={moved} onFile={setFile} />
        ) : (
          <Tree id={id} moved={moved} open={open} onFold={fold} changed={changed} onFile={setFile} />
        )}
      </div>
    </>
  );
}

/** Files by letters of their names, asked for when one has stopped writing. */
function Found({ id, query, moved, onFile }: { id: string; query: string; moved: string; onFile: (path: string) => void }) {
  const [files, setFiles] = useState<readonly FoundFile[] | null>(null);
  const [trouble, setTrouble] = useState<string | null>(null);
  useEffect(() => {
    let isCurrent = true;
    const timer = setTimeout(() => {
      api.files(id, query, 300).then(
        (found) => {
          if (!isCurrent) return;
          setFiles(found);
          setTrouble(null);
        },
        (error: unknown) => isCurrent && setTrouble(wordsOf(error)),
      );
    }, SOON);
    return () => {
      isCurrent = false;
      clearTimeout(timer);
    };
  }, [id, query, moved]);
  return (
    <>
      {trouble && (
        <div className="px-2.5">
          <Trouble words={trouble} />
        </div>
      )}
      {files === null && !trouble && <Wait />}
      {files?.length === 0 && <p className="px-4 py-6 text-center text-soft">No file is called that.</p>}
      <ul aria-label="Files found" className="px-1.5 pb-3">
        {files?.map(({ path }) => (
          <li key={path}>
            <button
              type="button"
              onClick={() => onFile(path)}
              className="flex min-h-7 w-full items-center gap-2 rounded-md px-2 text-left font-mono text-xs hover:bg-hover"
            >
              <File aria-hidden className="size-3.5 shrink-0 text-faint" />
              <span className="min-w-0 truncate">
                <Plain text={path} />
              </span>
            </button>
          </li>
        ))}
      </ul>
    </>
  );
}

function Text({ id, path, moved, onBack }: { id: string; path: string; moved: string; onBack: () => void }) {
  const [text, setText] = useState<string | null>(null);
  const [trouble, setTrouble] = useState<string | null>(null);
  useEffect(() => {
    let isCurrent = true;
    api.file(id, path).then(
      (found) => {
        if (!isCurrent) return;
        setText(found);
        setTrouble(null);
      },
      (error: unknown) => isCurrent && setTrouble(wordsOf(error)),
    );
    return () => {
      isCurrent = false;
    };
  }, [id, path, moved]);
  return (
    <section aria-label={path} className="flex flex-col">
      <div className="sticky top-0 z-10 flex items-center gap-2 border-b border-line bg-surface px-2 py-1.5">
        <IconButton autoFocus label="Back to all files" onClick={onBack}>
          <ArrowLeft aria-hidden className="size-4" />
        </IconButton>
        <h3 className="min-w-0 truncate font-mono text-xs">
          <Plain text={path} />
        </h3>
      </div>
      <div className="p-2.5">
        {trouble ? (
          <Trouble words={trouble} />
        ) : text === null ? (
          <Wait />
        ) : text === "" ? (
          <p className="text-soft">The file is empty.</p>
        ) : (
          <CodeBlock>
            <code className={`language-${languageOf(path) ?? "text"}`}>{text}</code>
          </CodeBlock>
        )}
      </div>
    </section>
  );
}
