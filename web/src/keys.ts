// Chords of keys: "Mod+K" is Ctrl+K, or ⌘K on Apple's machines.

export const IS_APPLE = /Mac|iP(hone|ad|od)/.test(globalThis.navigator?.platform ?? "");

type Pressed = Pick<KeyboardEvent, "key" | "code" | "ctrlKey" | "metaKey" | "altKey" | "shiftKey">;

const NAMES: Record<string, string> = { " ": "Space", Esc: "Escape", "+": "Plus" };

/** The chord that was pressed; null while only a modifier is down. */
export function chordOf(event: Pressed, isApple = IS_APPLE): string | null {
  const key = keyOf(event);
  if (key === null) return null;
  const isMod = isApple ? event.metaKey : event.ctrlKey;
  const isOther = isApple ? event.ctrlKey : event.metaKey;
  const isShift = event.shiftKey && (key.length > 1 || /[A-Z0-9]/.test(key));
  return [isMod && "Mod", isOther && (isApple ? "Ctrl" : "Meta"), event.altKey && "Alt", isShift && "Shift", key]
    .filter(Boolean)
    .join("+");
}

/** Alt changes what a key writes on some machines, so the key itself counts then. */
function keyOf({ key, code, altKey }: Pressed): string | null {
  if (/^(Control|Shift|Alt|AltGraph|Meta|Dead|Process|Unidentified|CapsLock)$/.test(key) && !(altKey && key === "Dead")) return null;
  const place = /^(?:Key|Digit)(.)$/.exec(code)?.[1];
  if (place && (altKey || !/^[\x21-\x7e]$/.test(key))) return place;
  return NAMES[key] ?? (key.length === 1 ? key.toUpperCase() : key);
}

/** Whether the chord may be pressed while one is writing without meaning a letter. */
export function isCommanding(chord: string): boolean {
  return /^(Mod|Ctrl|Meta|Alt)\+/.test(chord) || /^(Shift\+)?(Escape|F\d+)$/.test(chord);
}

const SIGNS: Record<string, string> = { Mod: "⌘", Ctrl: "⌃", Alt: "⌥", Shift: "⇧", Meta: "⊞" };
const WORDS: Record<string, string> = { Mod: "Ctrl", Escape: "Esc", ArrowUp: "↑", ArrowDown: "↓", ArrowLeft: "←", ArrowRight: "→", Plus: "+" };

export function shownChord(chord: string, isApple = IS_APPLE): string {
  const keys = chord.split("+").map((key) => (isApple ? SIGNS[key] : undefined) ?? WORDS[key] ?? key);
  return keys.join(isApple ? "" : "+");
}

/** As `aria-keyshortcuts` wants it. */
export function spokenChord(chord: string, isApple = IS_APPLE): string {
  return chord.replace("Mod", isApple ? "Meta" : "Control").replace("Ctrl", "Control");
}

export function isWriting(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}
