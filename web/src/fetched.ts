import { useCallback, useEffect, useRef, useState } from "react";

import { wordsOf } from "./api.ts";

export interface Fetched<Value> {
  /** The newest answer; an older one is shown until the next is there. */
  readonly value: Value | null;
  readonly trouble: string | null;
  readonly retry: () => void;
}

/** Rows that no record carries, asked for again whenever `key` says that they may have changed. */
export function useFetched<Value>(key: string, fetch: () => Promise<Value>): Fetched<Value> {
  const [value, setValue] = useState<Value | null>(null);
  const [trouble, setTrouble] = useState<string | null>(null);
  const [attempt, setAttempt] = useState(0);
  const newest = useRef(fetch);
  newest.current = fetch;
  useEffect(() => {
    let isCurrent = true;
    newest.current().then(
      (found) => {
        if (!isCurrent) return;
        setValue(found);
        setTrouble(null);
      },
      (error: unknown) => isCurrent && setTrouble(wordsOf(error)),
    );
    return () => {
      isCurrent = false;
    };
  }, [key, attempt]);
  return { value, trouble, retry: useCallback(() => setAttempt((known) => known + 1), []) };
}
