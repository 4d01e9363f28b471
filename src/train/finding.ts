/** What checks of a training run report. */

/** Something that was noticed. */
export interface Finding {
  /** 'error': training cannot work; 'warning': it will hardly be worth it; 'note': unusual, and maybe meant. */
  readonly severity: 'error' | 'warning' | 'note';
  /** A short name, the same in every run. */
  readonly code: string;
  /** What was expected, what was found, and the likely cause. */
  readonly message: string;
}

export const finding = (severity: Finding['severity'], code: string, message: string): Finding => ({
  severity,
  code,
  message,
});
/** A loss as messages show it. */
export const nats = (x: number): string => x.toFixed(2);
