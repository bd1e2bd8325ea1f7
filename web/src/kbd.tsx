import { useKeysOf, type ActionId } from "./actions.ts";
import { shownChord } from "./keys.ts";

/** A shortcut as it stands on the keys. */
export function Keys({ chord, className = "" }: { chord: string; className?: string }) {
  return (
    <kbd className={`shrink-0 rounded-sm border border-line bg-sunken px-1.5 font-mono text-2xs text-soft ${className}`}>{shownChord(chord)}</kbd>
  );
}

/** The words for a button's tooltip: what it does and its shortcut. */
export function useTip(id: ActionId, words: string): string {
  const chord = useKeysOf(id)[0];
  return chord ? `${words} (${shownChord(chord)})` : words;
}
