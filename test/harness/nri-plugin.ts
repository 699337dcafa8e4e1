import { parts } from "../parts/paths.ts";
import { eventually } from "./eventually.ts";

/** A line of the plugin: an event, or the answer to a wish. Messages are proto3 JSON. */
export interface PluginEvent {
  readonly id?: number;
  readonly event?: string;
  readonly pod?: Json;
  readonly container?: Json;
  readonly all?: { readonly pods?: readonly Json[]; readonly containers?: readonly Json[] };
  readonly resources?: Json;
  readonly request?: Json;
  readonly failed?: readonly Json[] | null;
  readonly error?: string;
}

// biome-ignore lint/suspicious/noExplicitAny: what a test looks for in it is the test's business
export type Json = any;

export interface PluginAnswer {
  readonly error?: string;
  /** A ContainerAdjustment. */
  readonly adjust?: object;
  /** ContainerUpdates. */
  readonly update?: readonly object[];
}

export interface PluginOptions {
  readonly index?: string;
  readonly name?: string;
  /** Events that wait for `answer`. */
  readonly hold?: readonly string[];
}

/** test/parts/nri: a real plugin, of NRI's own library, that does what a test tells it. */
export class NriPlugin implements AsyncDisposable {
  readonly events: PluginEvent[] = [];
  readonly #process: Bun.Subprocess<"pipe", "pipe", "ignore">;

  private constructor(process: Bun.Subprocess<"pipe", "pipe", "ignore">) {
    this.#process = process;
    void this.#read();
  }

  /** Connected and configured, and synchronized unless that is held. */
  static async connect(socket: string, options: PluginOptions = {}): Promise<NriPlugin> {
    const { index = "10", name = "test", hold = [] } = options;
    const argv = [`-socket=${socket}`, `-name=${name}`, `-index=${index}`, `-hold=${hold}`];
    const plugin = new NriPlugin(
      Bun.spawn([parts.nriPlugin, ...argv], { stdin: "pipe", stdout: "pipe", stderr: "ignore" }),
    );
    await plugin.next(hold.includes("Synchronize") ? "Configure" : "Synchronize");
    return plugin;
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** What it was told, in order: `["RunPodSandbox", ...]`. */
  names(): readonly string[] {
    return this.events.map(({ event = "" }) => event);
  }

  /** The event that comes, or has come, of this name, and about this container or pod. */
  async next(name: string, about = ""): Promise<PluginEvent> {
    return await eventually(() => {
      const found = this.events.find(
        ({ event, pod, container }) =>
          event === name && (about === "" || pod?.id === about || container?.id === about),
      );
      if (found === undefined) throw new Error(`no ${name} among ${this.names()}`);
      return found;
    });
  }

  /** To an event that is held. */
  answer({ id }: PluginEvent, answer: PluginAnswer = {}): void {
    this.#write({ id, ...answer });
  }

  /** Asks for changes by itself: returns those that failed. */
  async update(update: readonly object[]): Promise<PluginEvent> {
    const isResponse = (line: PluginEvent) => line.event === undefined;
    const before = this.events.filter(isResponse).length;
    this.#write({ update });
    return await eventually(() => {
      const answer = this.events.filter(isResponse)[before];
      if (answer === undefined) throw new Error("no answer");
      return answer;
    });
  }

  #write(line: object): void {
    this.#process.stdin.write(`${JSON.stringify(line)}\n`);
    this.#process.stdin.flush();
  }

  async #read(): Promise<void> {
    let rest = "";
    for await (const chunk of this.#process.stdout) {
      const lines = (rest + Buffer.from(chunk).toString()).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) this.events.push(JSON.parse(line));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#process.exited;
  }
}
