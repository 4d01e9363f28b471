/**
 * Ends this process when the one that started it is gone, if that one keeps a channel to it, as `dawngrad tune` does with its
 * trials: two processes must never write to the same run.
 */
export function followParent(): void {
  if (!process.channel) return;
  process.once('disconnect', () => process.exit(1));
  // The channel itself keeps nobody alive.
  process.channel.unref();
}
