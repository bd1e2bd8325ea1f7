import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "react";

const NEAR = 48;

/** Keeps a scroll container at its end while the reader is there, and in place while older content arrives above. */
export function useStickToBottom(firstKey: string | undefined, moved: readonly unknown[]) {
  const ref = useRef<HTMLDivElement>(null);
  const sticks = useRef(true);
  const shown = useRef({ firstKey, height: 0 });
  const [isAtBottom, setAtBottom] = useState(true);

  const toBottom = useCallback(() => {
    const box = ref.current;
    sticks.current = true;
    setAtBottom(true);
    if (box) box.scrollTop = box.scrollHeight;
  }, []);

  const onScroll = useCallback(() => {
    const box = ref.current;
    if (!box) return;
    sticks.current = box.scrollHeight - box.scrollTop - box.clientHeight < NEAR;
    setAtBottom(sticks.current);
  }, []);

  useLayoutEffect(() => {
    const box = ref.current;
    if (!box) return;
    if (sticks.current) box.scrollTop = box.scrollHeight;
    else if (shown.current.firstKey !== firstKey) box.scrollTop += box.scrollHeight - shown.current.height;
    shown.current = { firstKey, height: box.scrollHeight };
    // oxlint-disable-next-line react-hooks/exhaustive-deps
  }, [firstKey, ...moved]);

  useEffect(() => {
    const box = ref.current;
    const content = box?.firstElementChild;
    if (!box || !content) return;
    const watch = new ResizeObserver(() => {
      if (sticks.current) box.scrollTop = box.scrollHeight;
      shown.current.height = box.scrollHeight;
    });
    watch.observe(content);
    watch.observe(box);
    return () => watch.disconnect();
  }, []);

  return { ref, isAtBottom, toBottom, onScroll };
}
