/**
 * What the profiler sees of the host: the part of a step that is under way, and who listens to it. It lies here, below all who
 * have parts to tell of; `profile()` itself is in autograd/profile.ts.
 */

/** The parts of a step. A captured one is `replay` as a whole; its dispatches know the part that they were recorded in. */
export type Phase = 'forward' | 'backward' | 'optimizer' | 'replay';

/** What the host spends its time on. */
export type HostPart = Phase | 'recording' | 'encoding' | 'submitting' | 'computing' | 'waiting';

export interface Tracer {
  /** A part begins, inside the one under way. */
  begin(part: HostPart): void;
  /** The innermost part ends. */
  end(): void;
}

export const tracing: { phase: Phase; tracer: Tracer | null } = { phase: 'forward', tracer: null };

/** Runs `fn` as a part of the step. */
export function inPhase<R>(phase: Phase, fn: () => R): R {
  const { phase: before, tracer } = tracing;
  tracing.phase = phase;
  tracer?.begin(phase);
  try {
    return fn();
  } finally {
    tracer?.end();
    tracing.phase = before;
  }
}
