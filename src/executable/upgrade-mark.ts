/**
 * The file that is there while an upgrade of `executable` has not shown that it serves. It holds how often the service has
 * started since; a daemon that serves takes it away.
 */
export function upgradeMarkOf(executable: string): string {
  return `${executable}.upgrading`;
}
