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

/** Between two parts: dragged or moved by arrows, and remembered. `grows` is where the resized part lies from here. */
export function Divider({ label, grows, ...bounds }: Bounds & { label: string; grows: "left" | "right" }) {
  const width = useWidth(bounds);
  const from = useRef<{ x: number; width: number } | null>(null);
  const sign = grows === "right" ? -1 : 1;
  const resize = (next: number) => {
    const { widths } = usePreferences.getState();
    prefer({ widths: { ...widths, [bounds.name]: Math.round(Math.min(bounds.most, Math.max(bounds.least, next))) } });
  };
  return (
    <div
      role="separator"
      aria-orientation="vertical"
      aria-label={label}
      aria-valuenow={width}
      aria-valuemin={bounds.least}
      aria-valuemax={bounds.most}
      tabIndex={0}
      onPointerDown={(event) => {
        event.currentTarget.setPointerCapture(event.pointerId);
        from.current = { x: event.clientX, width };
      }}
      onPointerMove={(event) => from.current && resize(from.current.width + sign * (event.clientX - from.current.x))}
      onPointerUp={() => (from.current = null)}
      onPointerCancel={() => (from.current = null)}
      onDoubleClick={() => resize(bounds.usual)}
      onKeyDown={(event) => {
        const step = event.key === "ArrowLeft" ? -sign : event.key === "ArrowRight" ? sign : 0;
        if (step === 0) return;
        event.preventDefault();
        resize(width + step * 24);
      }}
      className="group/divider relative z-10 -mx-1 w-2 shrink-0 cursor-col-resize touch-none select-none focus-visible:outline-none"
    >
      <span aria-hidden className="absolute inset-y-0 left-1/2 w-px -translate-x-1/2 bg-line group-hover/divider:w-0.5 group-hover/divider:bg-line-strong group-focus-visible/divider:w-0.5 group-focus-visible/divider:bg-live" />
    </div>
  );
}
