// What one browser keeps for itself: preferences and words that are not sent yet.

export function kept<Value>(name: string, otherwise: Value): Value {
  try {
    return JSON.parse(localStorage.getItem(name) ?? "null") ?? otherwise;
  } catch {
    return otherwise;
  }
}

/** An empty value is not kept at all. */
export function keep(name: string, value: unknown): void {
  try {
    if (value === "" || value === null || value === undefined) localStorage.removeItem(name);
    else localStorage.setItem(name, JSON.stringify(value));
  } catch {
    // Without storage it lives as long as the page.
  }
}
