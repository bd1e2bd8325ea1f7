import { File, SquareSlash } from "lucide-react";
import { useEffect, useId, useState } from "react";

import { api } from "./api.ts";
import { commandsFor, type Wanted } from "./complete.ts";
import { Plain } from "./plain.tsx";
import type { Command } from "./protocol.ts";
import { splitPath } from "./words.ts";

interface Choice {
  value: string;
  aside: string;
}

const SOON = 90;

/** What may stand for `wanted`: commands at once, files as soon as the host has found them. */
export function useChoices(sessionId: string, wanted: Wanted | null, commands: readonly Command[]) {
  const [files, setFiles] = useState<readonly Choice[]>([]);
  const [chosen, setChosen] = useState(0);
  const kind = wanted?.kind;
  const query = wanted?.query ?? "";
  useEffect(() => setChosen(0), [kind, query]);
  useEffect(() => {
    if (kind !== "file") return setFiles([]);
    let isCurrent = true;
    const timer = setTimeout(() => {
      api.files(sessionId, query, 30).then(
        (found) => isCurrent && setFiles(found.map(({ path }) => ({ value: path, aside: "" }))),
        () => isCurrent && setFiles([]),
      );
    }, SOON);
    return () => {
      isCurrent = false;
      clearTimeout(timer);
    };
  }, [sessionId, kind, query]);
  const choices: readonly Choice[] =
    kind === "command"
      ? commandsFor(query, commands).map(({ name, description, hint }) => ({ value: name, aside: description || hint || "" }))
      : kind === "file"
        ? files
        : [];
  const move = (by: number) => choices.length && setChosen((chosen + by + choices.length) % choices.length);
  return { choices, chosen: Math.min(chosen, choices.length - 1), setChosen, move, listId: useId() };
}

interface CompletionProps {
  wanted: Wanted;
  choices: readonly Choice[];
  chosen: number;
  listId: string;
  onHover: (at: number) => void;
  onChoose: (value: string) => void;
}

export function Completion({ wanted, choices, chosen, listId, onHover, onChoose }: CompletionProps) {
  useEffect(() => {
    document.getElementById(`${listId}-${chosen}`)?.scrollIntoView({ block: "nearest" });
  }, [listId, chosen]);
  if (choices.length === 0) return null;
  const Icon = wanted.kind === "file" ? File : SquareSlash;
  return (
    <ul
      id={listId}
      role="listbox"
      aria-label={wanted.kind === "file" ? "Files" : "Commands of the agent"}
      className="absolute right-0 bottom-full left-0 z-10 mb-1.5 max-h-64 overflow-y-auto rounded-lg border border-line bg-surface p-1 shadow-raised"
    >
      {choices.map(({ value, aside }, at) => (
        <li
          key={value}
          id={`${listId}-${at}`}
          role="option"
          aria-selected={at === chosen}
          onPointerMove={() => at !== chosen && onHover(at)}
          onPointerDown={(event) => {
            event.preventDefault();
            onChoose(value);
          }}
          className={`flex h-7 cursor-pointer items-center gap-2 rounded-md px-2 text-xs ${at === chosen ? "bg-hover" : ""}`}
        >
          <Icon aria-hidden className="size-3.5 shrink-0 text-faint" />
          {wanted.kind === "file" ? <FileName path={value} /> : <span className="shrink-0 font-mono">/{value}</span>}
          <span className="min-w-0 truncate text-soft">{aside}</span>
        </li>
      ))}
    </ul>
  );
}

function FileName({ path }: { path: string }) {
  const { folder, name } = splitPath(path);
  return (
    <span className="flex min-w-0 items-baseline font-mono">
      <span className="shrink-0">
        <Plain text={name} />
      </span>
      <span className="ml-2 min-w-0 truncate text-soft">
        <Plain text={folder} />
      </span>
    </span>
  );
}
