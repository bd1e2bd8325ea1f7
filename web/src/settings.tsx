// View preferences and shortcuts, in one dialog.

import { RotateCcw } from "lucide-react";
import { useState, type ReactNode } from "react";

import { ACTIONS, actionsOf, keysOf } from "./actions.ts";
import { Button, Dialog, IconButton } from "./controls.tsx";
import { Keys } from "./kbd.tsx";
import { chordOf } from "./keys.ts";
import { askToNotify, canNotify } from "./notify.ts";
import { prefer, usePreferences } from "./preferences.ts";

export default function Settings({ onClose }: { onClose: () => void }) {
  const { theme, density, notifies } = usePreferences();
  return (
    <Dialog title="Preferences" onClose={onClose}>
      <div className="flex flex-col gap-3">
        <Choice label="Theme" value={theme} options={{ system: "System", light: "Light", dark: "Dark" }} onChange={(value) => prefer({ theme: value })} />
        <Choice label="Density" value={density} options={{ comfortable: "Comfortable", compact: "Compact" }} onChange={(value) => prefer({ density: value })} />
        <Choice
          label="Notifications"
          value={notifies ? "on" : "off"}
          options={{ off: "Off", on: "When an agent asks or ends" }}
          onChange={(value) => void askToNotify(value === "on")}
        />
        {!canNotify() && <p className="text-xs text-soft">This browser does not allow notifications from this address.</p>}
      </div>
      <Shortcuts />
    </Dialog>
  );
}

interface ChoiceProps<Value extends string> {
  label: string;
  value: Value;
  options: Record<Value, string>;
  onChange: (value: Value) => void;
}

function Choice<Value extends string>({ label, value, options, onChange }: ChoiceProps<Value>) {
  return (
    <fieldset className="flex flex-wrap items-center gap-x-4 gap-y-1">
      <legend className="float-left w-28 text-xs font-medium text-soft">{label}</legend>
      {(Object.entries(options) as [Value, string][]).map(([one, words]) => (
        <label key={one} className="flex items-center gap-1.5 text-xs">
          <input type="radio" name={label} checked={one === value} onChange={() => onChange(one)} className="accent-[var(--live)]" />
          {words}
        </label>
      ))}
    </fieldset>
  );
}

function Shortcuts() {
  const bindings = usePreferences((state) => state.bindings);
  const [asked, setAsked] = useState<string | null>(null);
  const [words, setWords] = useState<string | null>(null);
  const bind = (id: string, chord: string) => {
    const others = actionsOf(chord, bindings).filter((one) => one !== id && chord !== "");
    setWords(others.length ? `Also does: ${others.map((one) => ACTIONS[one]?.title).join(", ")}. What can be done first is done.` : null);
    prefer({ bindings: { ...bindings, [id]: chord } });
    setAsked(null);
  };
  const groups = [...new Set(Object.values(ACTIONS).map(({ group }) => group))];
  return (
    <section aria-label="Keyboard shortcuts" className="flex flex-col gap-3">
      <div className="flex items-baseline justify-between">
        <h3 className="font-semibold">Keyboard shortcuts</h3>
        {Object.keys(bindings).length > 0 && (
          <Button look="quiet" onClick={() => prefer({ bindings: {} })}>
            All as usual
          </Button>
        )}
      </div>
      <p role="status" className="text-xs text-soft">
        {words ?? "Choose one and press the new keys. Backspace switches it off, Escape leaves it."}
      </p>
      {groups.map((group) => (
        <div key={group}>
          <h4 className="text-2xs font-medium text-soft">{group}</h4>
          <ul>
            {Object.entries(ACTIONS).filter(([, one]) => one.group === group).map(([id, { title }]) => (
              <Row key={id} title={title} isOwn={id in bindings} onReset={() => prefer({ bindings: without(bindings, id) })}>
                <button
                  type="button"
                  onClick={() => setAsked(id)}
                  onBlur={() => setAsked(null)}
                  onKeyDown={(event) => {
                    if (asked !== id || event.key === "Tab") return;
                    const chord = chordOf(event.nativeEvent);
                    event.preventDefault();
                    event.stopPropagation();
                    if (event.key === "Escape") setAsked(null);
                    else if (event.key === "Backspace" || event.key === "Delete") bind(id, "");
                    else if (chord) bind(id, chord);
                  }}
                  className="flex min-h-6 min-w-16 flex-wrap justify-end gap-1 rounded-md px-1 py-0.5 hover:bg-hover"
                >
                  <span className="sr-only">Shortcut of {title}: </span>
                  {asked === id ? (
                    <span className="text-2xs text-live">Press keys…</span>
                  ) : (
                    <Chords chords={keysOf(id, bindings)} />
                  )}
                </button>
              </Row>
            ))}
          </ul>
        </div>
      ))}
    </section>
  );
}

function Chords({ chords }: { chords: readonly string[] }) {
  if (chords.length === 0) return <span className="text-2xs text-soft">none</span>;
  return chords.map((chord) => <Keys key={chord} chord={chord} />);
}

function without(bindings: Readonly<Record<string, string>>, id: string): Record<string, string> {
  const { [id]: _gone, ...rest } = bindings;
  return rest;
}

function Row({ title, isOwn, onReset, children }: { title: string; isOwn: boolean; onReset: () => void; children: ReactNode }) {
  return (
    <li className="flex min-h-8 items-center gap-2 border-b border-line text-xs">
      <span className="min-w-0 flex-1">{title}</span>
      {isOwn && (
        <IconButton label={`Usual shortcut for ${title}`} className="size-6" onClick={onReset}>
          <RotateCcw aria-hidden className="size-3" />
        </IconButton>
      )}
      {children}
    </li>
  );
}
