// What was opened or closed by hand stays so while it is scrolled out of sight.

import { useContext, useState } from "react";

import { ColumnContext } from "./columns.ts";

/** By session and key: numbers of records are the same in each. */
const folds = new Map<string, boolean>();

/** `null` until a person said so; then the word of the person. */
export function useFold(key: string): [boolean | null, (isOpen: boolean) => void] {
  const name = useFoldName()(key);
  const [isOpen, setOpen] = useState(folds.get(name) ?? null);
  return [
    isOpen,
    (next) => {
      folds.set(name, next);
      setOpen(next);
    },
  ];
}

/** Opens it before it is shown. */
export function useUnfold(): (key: string) => void {
  const nameOf = useFoldName();
  return (key) => folds.set(nameOf(key), true);
}

function useFoldName(): (key: string) => string {
  const session = useContext(ColumnContext)?.id ?? "";
  return (key) => `${session} ${key}`;
}
