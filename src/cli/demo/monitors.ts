import { argumentsOf, processIds } from "../../os/process/process-stat.ts";
import { eventually } from "./daemon-process.ts";

/** Monitors outlive their daemon on purpose, so the demo ends its own: those that were given a directory in `dir`. */
export async function endMonitors(dir: string): Promise<{ readonly detail: string }> {
  const ended = findMonitors(dir);
  for (const pid of ended) process.kill(pid, "SIGKILL");
  await eventually(async () => (findMonitors(dir).length === 0 ? true : undefined), {
    what: "end of the monitors",
    timeoutMs: 5000,
  });
  return { detail: `${ended.length} outlived the daemon, as it should` };
}

function findMonitors(dir: string): readonly number[] {
  return processIds().filter((pid) => {
    const argv = argumentsOf(pid);
    return argv.includes("monitor") && argv.some((argument) => argument.includes(`${dir}/`));
  });
}
