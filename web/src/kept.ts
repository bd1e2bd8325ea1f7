// Drafts and preferences of this browser: they survive a reload, and nothing depends on them.

import { useEffect, useState } from "react";

export function kept<Value>(name: string, otherwise: Value): Value {
  try {
    return JSON.parse(localStorage.getItem(name) ?? "null") ?? otherwise;
  } catch {
    return otherwise;
  }
}

/** An empty text is not kept. */
export function keep(name: string, value: unknown): void {
  try {
    if (value === "") localStorage.removeItem(name);
    else localStorage.setItem(name, JSON.stringify(value));
  } catch {
    // Without storage a draft lives as long as the page.
  }
}

/** State that is there again after a reload. `name` stays the same while the component lives. */
export function useKept<Value>(name: string, otherwise: Value): [Value, (value: Value) => void] {
  const [value, setValue] = useState(() => kept(name, otherwise));
  useEffect(() => keep(name, value), [name, value]);
  return [value, setValue];
}
