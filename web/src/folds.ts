// What was opened or closed by hand stays so while it is scrolled out of sight.

import { useState } from "react";

const folds = new Map<string, boolean>();

/** `null` until a person said so; then the word of the person. */
export function useFold(key: string): [boolean | null, (isOpen: boolean) => void] {
  const [isOpen, setOpen] = useState(folds.get(key) ?? null);
  return [
    isOpen,
    (next) => {
      folds.set(key, next);
      setOpen(next);
    },
  ];
}

/** Open it before it is shown. */
export function unfold(key: string): void {
  folds.set(key, true);
}
