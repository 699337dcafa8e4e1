import { describe } from "../../lib/errors.ts";
import type { Log } from "../../lib/log.ts";
import type { Config, LoadedConfig } from "./config.ts";
import { type DescribedSetting, describeConfig } from "./describe-config.ts";

export interface ReloadReport {
  /** Settings that have changed and are in force, and those that need a restart. */
  readonly changed: readonly string[];
  readonly needRestart: readonly string[];
}

export interface ReloadDeps {
  readonly log: Log;
  /** Reads the files again. */
  readonly load: () => Promise<LoadedConfig>;
  /** Puts what needs no restart in force; throws, and changes nothing, where it does not work. */
  readonly apply: (next: Config) => Promise<void>;
  /** Names of handlers whose change needs a restart. */
  readonly heldHandlers: (now: Config, next: Config) => readonly string[];
}

/** The configuration in force, which is read again on request: one reload at a time. */
export class LiveConfig {
  readonly #deps: ReloadDeps;
  readonly #started: LoadedConfig;
  #current: LoadedConfig;
  #last: Promise<unknown> = Promise.resolve();

  constructor(started: LoadedConfig, deps: ReloadDeps) {
    this.#deps = deps;
    this.#started = started;
    this.#current = started;
  }

  /** Every setting as it is in force: of those that need a restart, as the daemon was started. */
  describe(): {
    readonly files: readonly string[];
    readonly settings: readonly DescribedSetting[];
  } {
    const started = new Map(describeConfig(this.#started.given).map((own) => [own.key, own]));
    const next = describeConfig(this.#current.given);
    const settings = next.map((own) => (own.reloads ? own : (started.get(own.key) ?? own)));
    return { files: this.#current.config.files, settings };
  }

  /** Throws what is wrong with the files, with file, line and key; what was in force stays then. */
  async reload(): Promise<ReloadReport> {
    const turn = this.#last.then(() => this.#reload());
    this.#last = turn.catch(() => {});
    return await turn;
  }

  async #reload(): Promise<ReloadReport> {
    const { log, load, apply, heldHandlers } = this.#deps;
    try {
      const next = await load();
      const held = heldHandlers(this.#started.config, next.config);
      const isHeld = (key: string) => held.some((name) => key.includes(`.handlers.${name}.`));
      const all = differences(this.#current, next);
      await apply(next.config);
      this.#current = next;
      const changed = all.filter(({ key, reloads }) => reloads && !isHeld(key));
      const report = {
        changed: changed.map(({ key }) => key),
        needRestart: differences(this.#started, next)
          .filter(({ key, reloads }) => !reloads || isHeld(key))
          .map(({ key }) => key),
      };
      log.info("configuration reloaded", {
        files: next.config.files.join(" "),
        changed: report.changed.join(" "),
      });
      for (const key of report.needRestart) {
        log.warn("setting needs a restart", { setting: key });
      }
      return report;
    } catch (err) {
      log.error("configuration reload failed", { err: describe(err) });
      throw err;
    }
  }
}

/** The settings whose values differ, as `next` has them; of both where one has what the other has not. */
function differences(now: LoadedConfig, next: LoadedConfig): readonly DescribedSetting[] {
  const byKey = ({ given }: LoadedConfig) =>
    new Map(describeConfig(given).map((own) => [own.key, own]));
  const [before, after] = [byKey(now), byKey(next)];
  // Not the described value where one was given: secrets are hidden in it.
  const text = (from: LoadedConfig, described: DescribedSetting | undefined) =>
    described && JSON.stringify(from.given.get(described.key)?.value ?? described.value);
  return [...new Map([...before, ...after]).values()].filter(
    ({ key }) => text(now, before.get(key)) !== text(next, after.get(key)),
  );
}
