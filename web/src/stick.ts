import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "react";

const NEAR = 48;
/** For so long a scroll follows the hand that caused it; later ones come from rows that were measured anew. */
const INTENT = 600;
/** A scroll bar tells when it is taken, not when it is let go. */
const HOLD = 10_000;

/** Keeps a scroll container at its end while the reader is there. */
export function useStickToBottom(moved: readonly unknown[]) {
  const ref = useRef<HTMLDivElement>(null);
  const sticks = useRef(true);
  const lastTop = useRef(0);
  const touched = useRef(0);
  const [isAtBottom, setAtBottom] = useState(true);

  const toBottom = useCallback(() => {
    const box = ref.current;
    sticks.current = true;
    setAtBottom(true);
    if (box) box.scrollTop = box.scrollHeight;
  }, []);

  /** The next scroll up is somebody's wish. */
  const leave = useCallback(() => {
    sticks.current = false;
    touched.current = performance.now() + INTENT * 3;
  }, []);

  const onScroll = useCallback(() => {
    const box = ref.current;
    if (!box) return;
    const climbed = lastTop.current - box.scrollTop;
    lastTop.current = box.scrollTop;
    const left = box.scrollHeight - box.scrollTop - box.clientHeight;
    if (left < NEAR) sticks.current = true;
    else if (climbed > 0 && performance.now() < touched.current) sticks.current = false;
    setAtBottom(sticks.current || left < NEAR);
  }, []);

  useLayoutEffect(() => {
    const box = ref.current;
    if (box && sticks.current) box.scrollTop = box.scrollHeight;
    // oxlint-disable-next-line react-hooks/exhaustive-deps
  }, [...moved]);

  useEffect(() => {
    const box = ref.current;
    const content = box?.firstElementChild;
    if (!box || !content) return;
    const touch = (event: Event) => {
      const isBar = event instanceof PointerEvent && event.offsetX >= box.clientWidth && event.target === box;
      touched.current = performance.now() + (isBar ? HOLD : INTENT);
    };
    const watch = new ResizeObserver(() => {
      if (sticks.current) box.scrollTop = box.scrollHeight;
    });
    watch.observe(content);
    watch.observe(box);
    const signs = ["wheel", "touchmove", "keydown", "pointerdown"] as const;
    for (const sign of signs) box.addEventListener(sign, touch, { passive: true });
    return () => {
      watch.disconnect();
      for (const sign of signs) box.removeEventListener(sign, touch);
    };
  }, []);

  return { ref, isAtBottom, toBottom, leave, onScroll };
}
