// The worktree as a tree of folders, each asked for when it is opened. Walked with the arrow keys.

import { ChevronRight, File, Folder, FolderOpen } from "lucide-react";
import { useRef, useState, type KeyboardEvent } from "react";

import { api } from "./api.ts";
import { Letter } from "./changes/badges.tsx";
import { Button, Trouble } from "./controls.tsx";
import { useFetched } from "./fetched.ts";
import type { Change, FolderEntry } from "./protocol.ts";
import { Plain } from "./plain.tsx";
import { Wait } from "./tool.tsx";
import { OPERATION } from "./words.ts";

type Operations = ReadonlyMap<string, Change["operation"]>;

interface TreeProps {
  id: string;
  /** Changes whenever files may have changed. */
  moved: string;
  open: ReadonlySet<string>;
  onFold: (path: string, isOpen: boolean) => void;
  /** What waits for a decision, by path. */
  changed: Operations;
  onFile: (path: string) => void;
}

export function Tree(props: TreeProps) {
  const box = useRef<HTMLUListElement>(null);
  const [here, setHere] = useState<string | null>(null);
  const press = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const items = [...(box.current?.querySelectorAll<HTMLElement>('[role="treeitem"]') ?? [])];
    const at = items.indexOf(event.target as HTMLElement);
    const item = items[at];
    const step = item && stepOf(event.key, items, at);
    if (!step) return;
    event.preventDefault();
    if (step === "fold") item.click();
    else step.focus();
  };
  return (
    <ul ref={box} role="tree" aria-label="Files of the worktree" onKeyDown={press} className="px-1.5 pb-3">
      <Level {...props} path="" depth={1} here={here} onHere={setHere} />
    </ul>
  );
}

/** Where a key leads: to another item, or to open or close this one. */
function stepOf(key: string, items: readonly HTMLElement[], at: number): HTMLElement | "fold" | undefined {
  const item = items[at];
  const isOpen = item?.getAttribute("aria-expanded");
  switch (key) {
    case "ArrowDown":
      return items[at + 1];
    case "ArrowUp":
      return items[at - 1];
    case "Home":
      return items[0];
    case "End":
      return items.at(-1);
    case "ArrowRight":
      return isOpen === "false" ? "fold" : isOpen === "true" ? items[at + 1] : undefined;
    case "ArrowLeft":
      if (isOpen === "true") return "fold";
      return items.slice(0, at).findLast((one) => Number(one.ariaLevel) < Number(item?.ariaLevel));
    case "Enter":
    case " ":
      return "fold";
    default:
      return undefined;
  }
}

interface LevelProps extends TreeProps {
  path: string;
  depth: number;
  /** The item that the Tab key leads to. */
  here: string | null;
  onHere: (path: string) => void;
}

function Level({ path, depth, ...rest }: LevelProps) {
  const { value, trouble, retry } = useFetched(`${rest.id} ${path} ${rest.moved}`, () => api.folder(rest.id, path));
  if (trouble && !value)
    return (
      <li role="none" className="p-1">
        <Trouble words={trouble}>
          <Button look="danger" size="small" onClick={retry}>
            Try again
          </Button>
        </Trouble>
      </li>
    );
  if (!value)
    return (
      <li role="none">
        <Wait />
      </li>
    );
  return (
    <>
      {value.entries.map((entry, at) => (
        <Entry key={entry.path} entry={entry} depth={depth} isFirst={depth === 1 && at === 0} {...rest} />
      ))}
      {value.entries.length === 0 && (
        <li role="none" style={{ paddingInlineStart: `${depth}rem` }} className="py-1 text-2xs text-faint">
          {depth === 1 ? "The worktree has no files yet." : "Nothing that git would take in."}
        </li>
      )}
      {value.more > 0 && (
        <li role="none" style={{ paddingInlineStart: `${depth}rem` }} className="py-1 text-2xs text-faint">
          and {value.more} more: find them by name
        </li>
      )}
    </>
  );
}

interface EntryProps extends Omit<LevelProps, "path"> {
  entry: FolderEntry;
  isFirst: boolean;
}

function Entry({ entry, depth, isFirst, ...rest }: EntryProps) {
  const { open, changed, here, onHere, onFold, onFile } = rest;
  const isFolder = entry.kind === "folder";
  const isOpen = isFolder && open.has(entry.path);
  const operation = changed.get(entry.path);
  const isAbove = isFolder && !isOpen && [...changed.keys()].some((path) => path.startsWith(`${entry.path}/`));
  const Icon = isFolder ? (isOpen ? FolderOpen : Folder) : File;
  return (
    <>
      <li
        role="treeitem"
        aria-level={depth}
        aria-expanded={isFolder ? isOpen : undefined}
        aria-label={`${entry.name}${operation ? `, ${OPERATION[operation].word.toLowerCase()}` : isAbove ? ", with changes" : ""}`}
        tabIndex={here === entry.path || (here === null && isFirst) ? 0 : -1}
        onFocus={() => onHere(entry.path)}
        onClick={() => (isFolder ? onFold(entry.path, !isOpen) : onFile(entry.path))}
        style={{ paddingInlineStart: `${(depth - 1) * 0.875 + 0.375}rem` }}
        className="flex min-h-7 w-full cursor-default items-center gap-1.5 rounded-md pr-2 font-mono text-xs hover:bg-hover focus-visible:outline-offset-[-2px]"
      >
        <ChevronRight aria-hidden className={`size-3 shrink-0 text-faint transition-transform ${isOpen ? "rotate-90" : ""} ${isFolder ? "" : "invisible"}`} />
        <Icon aria-hidden className="size-3.5 shrink-0 text-faint" />
        <span className="min-w-0 flex-1 truncate">
          <Plain text={entry.name} />
        </span>
        {operation && <Letter operation={operation} />}
        {isAbove && <span aria-hidden className="size-1.5 rounded-full bg-live" />}
      </li>
      {isOpen && <Level {...rest} path={entry.path} depth={depth + 1} />}
    </>
  );
}
