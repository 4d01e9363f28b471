/** Cuts a stream of text at the first of several strings, without ever giving out the beginning of one. */
export class StopText {
  /** Whether one of the strings has come; nothing follows. */
  stopped = false;
  /** What may be the beginning of a string. */
  private held = '';

  constructor(private readonly stops: readonly string[]) {}

  /** Adds text, and gives what is certain not to belong to a stop. @param heed false: the text so far stops nothing */
  push(piece: string, heed: boolean): string {
    if (this.stopped) return '';
    const text = this.held + piece;
    if (!heed) {
      this.held = '';
      return text;
    }
    const found = this.stops.map((s) => text.indexOf(s)).filter((at) => at >= 0);
    if (found.length > 0) {
      this.stopped = true;
      this.held = '';
      return text.slice(0, Math.min(...found));
    }
    let keep = 0;
    for (const stop of this.stops) {
      for (let n = Math.min(stop.length - 1, text.length); n > keep; n--) {
        if (text.endsWith(stop.slice(0, n))) keep = n;
      }
    }
    this.held = text.slice(text.length - keep);
    return text.slice(0, text.length - keep);
  }

  /** What was held back, now that nothing follows. */
  end(): string {
    const rest = this.held;
    this.held = '';
    return this.stopped ? '' : rest;
  }
}
