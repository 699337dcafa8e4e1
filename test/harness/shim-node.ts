import { renameSync } from "node:fs";
import type { SuiteNode, WantedTask } from "../../src/runtime/runtime.suite.ts";
import type { Runtime, Task, TaskRequest } from "../../src/runtime/runtime.ts";
import { ctx, ShimmedNode } from "./shimmed.ts";

/** A shim as the suite of all runtimes wants it: with one pod, whose own task is there. */
export class ShimSuiteNode implements SuiteNode {
  readonly ctx = ctx;
  readonly lacks: NonNullable<SuiteNode["lacks"]>;
  readonly #node: ShimmedNode;
  #pod: Task;

  private constructor(node: ShimmedNode, pod: Task, lacks: ShimSuiteNode["lacks"]) {
    this.#node = node;
    this.#pod = pod;
    this.lacks = lacks;
  }

  static async open(path: string, lacks: ShimSuiteNode["lacks"] = {}): Promise<ShimSuiteNode> {
    const node = await ShimmedNode.open({ path });
    return new ShimSuiteNode(node, await node.sandbox(), lacks);
  }

  get runtime(): Runtime {
    return this.#node.runtime;
  }

  async request({ memoryBytes, ...wanted }: WantedTask): Promise<TaskRequest> {
    return this.#node.request({
      sandboxId: this.#pod.id,
      ...wanted,
      ...(memoryBytes === undefined ? {} : { memory: memoryBytes }),
    });
  }

  async restart(): Promise<void> {
    await this.#node.restartDaemon();
    this.#pod = this.#node.again(this.#pod);
    await this.#pod.recover(ctx, this.#node.recovery(this.#pod.id));
  }

  log({ id }: TaskRequest, stream: "stdout" | "stderr" = "stdout"): string {
    return this.#node.hasLog(id) ? this.#node.log(id, stream) : "";
  }

  renameLog({ stdio }: TaskRequest, to: string): void {
    renameSync(stdio.logPath, to);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#node[Symbol.asyncDispose]();
  }
}
