// One of a few, each with what it means.

import { useId } from "react";

interface Choice<Value> {
  readonly value: Value;
  readonly label: string;
  readonly hint?: string;
}

interface ChoicesProps<Value> {
  label: string;
  value: Value;
  onChange: (value: Value) => void;
  choices: readonly Choice<Value>[];
}

export function Choices<Value extends string>({ label, value, onChange, choices }: ChoicesProps<Value>) {
  const name = useId();
  return (
    <fieldset className="flex flex-col gap-1">
      <legend className="mb-1 text-xs font-medium text-soft">{label}</legend>
      {choices.map((choice) => (
        <label key={choice.value} className="flex items-start gap-2 rounded-md border border-line px-2.5 py-1.5 has-checked:border-live has-checked:bg-live-soft">
          <input
            type="radio"
            name={name}
            value={choice.value}
            checked={value === choice.value}
            onChange={() => onChange(choice.value)}
            className="mt-0.5 accent-(--live)"
          />
          <span className="min-w-0">
            <span className="block text-xs font-medium">{choice.label}</span>
            {choice.hint && <span className="block text-2xs text-soft">{choice.hint}</span>}
          </span>
        </label>
      ))}
    </fieldset>
  );
}
