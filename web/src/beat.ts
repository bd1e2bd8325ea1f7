// When what has arrived is shown: with the next frame, but not with every one, and in the background by a timer.

export interface Page {
  isHidden(): boolean;
  /** Run it before the next frame is painted; a hidden page paints none. */
  onFrame(run: (now: number) => void): void;
  onTimer(run: () => void, delay: number): void;
}

/** Milliseconds from one showing to the next: thirty a second read as well as sixty and cost half. */
export const SHORTEST = 30;
const HIDDEN = 50;

export class Beat {
  #run: () => void;
  #page: Page;
  #isAwaited = false;
  #last = -Infinity;

  constructor(run: () => void, page: Page) {
    this.#run = run;
    this.#page = page;
  }

  /** Something has arrived. */
  soon(): void {
    if (this.#isAwaited) return;
    this.#isAwaited = true;
    if (this.#page.isHidden()) this.#page.onTimer(() => this.now(), HIDDEN);
    else this.#page.onFrame((now) => this.#frame(now));
  }

  /** Show what waits: no frame comes any more once the page is hidden. */
  now(): void {
    if (!this.#isAwaited) return;
    this.#isAwaited = false;
    this.#run();
  }

  #frame(now: number): void {
    if (!this.#isAwaited) return;
    if (now - this.#last < SHORTEST) return this.#page.onFrame((later) => this.#frame(later));
    this.#last = now;
    this.now();
  }
}
