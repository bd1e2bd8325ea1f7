// Words that are not sent yet: at once in this browser, soon after on the host, so that other devices have them.

import { useCallback, useEffect, useRef, useState } from "react";

import { api } from "./api.ts";
import { keep, kept } from "./kept.ts";

/** `base` is the host's time of what this browser last agreed on with it; `isAhead` while the host does not have the words yet. */
interface Local {
  readonly text: string;
  readonly base: string | null;
  readonly isAhead: boolean;
}

interface Remote {
  readonly text: string;
  readonly updated_at: string | null;
}

const SOON = 700;

/** What becomes of the words here once the host says what it has: theirs where nothing was written here since. */
export function reconciled(local: Local, remote: Remote): Local {
  if (local.isAhead || remote.updated_at === local.base) return local;
  return { text: remote.text, base: remote.updated_at, isAhead: false };
}

function localOf(id: string): Local {
  const found = kept<Partial<Local> | string>(`coder.draft.${id}`, "");
  if (typeof found === "string") return { text: found, base: null, isAhead: found !== "" };
  return { text: found.text ?? "", base: found.base ?? null, isAhead: found.isAhead ?? false };
}

export function useDraft(id: string): [string, (text: string) => void] {
  const [local, setLocal] = useState(() => localOf(id));
  const now = useRef(local);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);

  const note = useCallback(
    (next: Local) => {
      now.current = next;
      keep(`coder.draft.${id}`, next.text === "" && !next.isAhead && next.base === null ? "" : next);
      setLocal(next);
    },
    [id],
  );

  const push = useCallback(async () => {
    clearTimeout(timer.current);
    const { text, isAhead } = now.current;
    if (!isAhead) return;
    try {
      const { updated_at } = await api.writeDraft(id, text);
      note({ ...now.current, base: updated_at, isAhead: now.current.text !== text });
    } catch {
      // It stays here, and is offered again with the next words or the next visit.
    }
  }, [id, note]);

  useEffect(() => {
    const meet = async () => {
      if (document.hidden) return;
      const asked = now.current;
      const remote = await api.draft(id).catch(() => null);
      // what was written meanwhile is newer than any answer
      if (!remote || now.current !== asked) return;
      const next = reconciled(now.current, remote);
      if (next !== now.current) note(next);
      await push();
    };
    const leave = () => (document.hidden ? void push() : void meet());
    void meet();
    document.addEventListener("visibilitychange", leave);
    return () => {
      document.removeEventListener("visibilitychange", leave);
      void push();
    };
  }, [id, note, push]);

  const write = useCallback(
    (text: string) => {
      note({ ...now.current, text, isAhead: true });
      clearTimeout(timer.current);
      timer.current = setTimeout(() => void push(), SOON);
    },
    [note, push],
  );
  return [local.text, write];
}
