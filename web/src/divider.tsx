import { useRef } from "react";

import { prefer, usePreferences } from "./preferences.ts";

interface Bounds {
  name: string;
  usual: number;
  least: number;
  most: number;
}

/** How wide a part is: the person's word, else the usual. */
export function useWidth({ name, usual, least, most }: Bounds): number {
  const width = usePreferences((state) => state.widths[name]) ?? usual;
  return Math.min(most, Math.max(least, width));
}

/** Between two parts, the width remembered. `grows` is where the resized part lies from here. */
export function Divider({ label, grows, name, ...range }: Bounds & { label: string; grows: "left" | "right" }) {
  const width = useWidth({ name, ...range });
  const resize = (next: number) => prefer({ widths: { ...usePreferences.getState().widths, [name]: Math.round(next) } });
  return <Separator label={label} sign={grows === "right" ? -1 : 1} value={width} step={24} {...range} onChange={resize} />;
}

interface SeparatorProps {
  label: string;
  value: number;
  usual: number;
  least: number;
  most: number;
  /** What an arrow key adds or takes. */
  step: number;
  /** -1 where the value grows to the left. */
  sign?: 1 | -1;
  /** How many pixels one of the value is. */
  pixelsOf?: (separator: HTMLElement) => number;
  onChange: (value: number) => void;
}

/** Dragged, moved by arrows, and put back by a double click. */
export function Separator({ label, value, usual, least, most, step, sign = 1, pixelsOf = () => 1, onChange }: SeparatorProps) {
  const from = useRef<{ x: number; value: number; pixels: number } | null>(null);
  const change = (next: number) => onChange(Math.min(most, Math.max(least, next)));
  return (
    <div
      role="separator"
      aria-orientation="vertical"
      aria-label={label}
      aria-valuenow={value}
      aria-valuemin={least}
      aria-valuemax={most}
      tabIndex={0}
      onPointerDown={(event) => {
        event.currentTarget.setPointerCapture(event.pointerId);
        from.current = { x: event.clientX, value, pixels: pixelsOf(event.currentTarget) };
      }}
      onPointerMove={(event) => {
        const { current } = from;
        if (current) change(current.value + (sign * (event.clientX - current.x)) / current.pixels);
      }}
      onPointerUp={() => (from.current = null)}
      onPointerCancel={() => (from.current = null)}
      onDoubleClick={() => change(usual)}
      onKeyDown={(event) => {
        const way = event.key === "ArrowLeft" ? -sign : event.key === "ArrowRight" ? sign : 0;
        if (way === 0) return;
        event.preventDefault();
        change(value + way * step);
      }}
      className="group/divider relative z-10 -mx-1 w-2 shrink-0 cursor-col-resize touch-none select-none focus-visible:outline-none"
    >
      <span aria-hidden className="absolute inset-y-0 left-1/2 w-px -translate-x-1/2 bg-line group-hover/divider:w-0.5 group-hover/divider:bg-line-strong group-focus-visible/divider:w-0.5 group-focus-visible/divider:bg-live" />
    </div>
  );
}
