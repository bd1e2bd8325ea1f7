import { expect, it } from "vitest";

import { Beat } from "./beat.ts";

function bench() {
  const frames: ((now: number) => void)[] = [];
  const timers: (() => void)[] = [];
  const page = { isHidden: false, shown: 0 };
  const beat = new Beat(() => (page.shown += 1), {
    isHidden: () => page.isHidden,
    onFrame: (run) => frames.push(run),
    onTimer: (run) => timers.push(run),
  });
  const paint = (now: number) => frames.splice(0).forEach((run) => run(now));
  const ring = () => timers.splice(0).forEach((run) => run());
  return { beat, page, paint, ring };
}

it("shows what came after a pause with the next frame, and what keeps coming with every second one", () => {
  const { beat, page, paint } = bench();
  const shown = [];
  for (let frame = 0; frame < 6; frame += 1) {
    beat.soon();
    beat.soon();
    paint(1000 + frame * 16.7);
    shown.push(page.shown);
  }
  expect(shown).toEqual([1, 1, 2, 2, 3, 3]);
});

it("shows what waits when the page is hidden, and goes on by a timer", () => {
  const { beat, page, paint, ring } = bench();
  beat.soon();
  page.isHidden = true;
  beat.now();
  expect(page.shown).toBe(1);
  beat.soon();
  ring();
  expect(page.shown).toBe(2);
  page.isHidden = false;
  paint(5000);
  expect(page.shown).toBe(2);
});
