/**
 * Tries until `attempt` does not throw, and throws its last error when the time is over. The time is for what will never
 * be: a machine may be busy for a while.
 */
export async function eventually<T>(attempt: () => T | Promise<T>, timeoutMs = 60_000): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    try {
      return await attempt();
    } catch (err) {
      if (performance.now() > deadline) throw err;
      await Bun.sleep(20);
    }
  }
}
