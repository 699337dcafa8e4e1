/** What is kept beside config.json in the bundle's directory while there is a task. */
export interface BundleFiles {
  readonly dir: string;
  readonly config: string;
  /** How the first process ended, once it has. */
  readonly exitFile: string;
  readonly pidFile: string;
  /** What is declared to CRIU of the container; there only once it has been checkpointed. */
  readonly criuConfig: string;
  /** What is to be restored when it is started; there until then. */
  readonly restore: string;
  /** The named pipes of its stdio, those that it has. */
  readonly pipes: Readonly<Record<"stdin" | "stdout" | "stderr", string>>;
}

export function bundleFiles(dir: string): BundleFiles {
  return {
    dir,
    config: `${dir}/config.json`,
    exitFile: `${dir}/exit.json`,
    pidFile: `${dir}/pid`,
    criuConfig: `${dir}/criu.conf`,
    restore: `${dir}/restore.json`,
    pipes: { stdin: `${dir}/stdin`, stdout: `${dir}/stdout`, stderr: `${dir}/stderr` },
  };
}
