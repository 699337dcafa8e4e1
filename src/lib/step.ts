/**
 * The steps of the domain, and what each of them is: names of metrics' labels and of spans, so they stay. What happens
 * many times in a call, or takes microseconds, is none.
 */
export const stepDescriptions = {
  "lock.wait": "waiting for another operation on the same pod or container",
  "records.write": "writing records of pods and containers",
  "plugins.call": "callbacks of NRI plugins",
  "sandbox.files": "making or removing the directory of a pod: hosts, resolv.conf, hostname",
  "sandbox.task": "starting or stopping a process or machine of the pod itself",
  "network.namespaces": "making or removing the pinned namespaces of a pod, sysctls included",
  "network.attach": "CNI ADD of all plugins, and what is done in their place",
  "network.detach": "CNI DEL, as far as StopPodSandbox waits for it",
  "network.finish": "what is left of CNI DEL after StopPodSandbox",
  "snapshot.prepare": "making a container's writable layer",
  "snapshot.mount": "mounting a container's root file system",
  "snapshot.remove": "removing a container's writable layer",
  "container.volumes": "image volumes, and volumes that the image defines",
  "container.spec": "making the OCI specification, plugins' adjustments included",
  "runtime.create": "making the container in the OCI runtime or the shim",
  "runtime.start": "starting the container's program",
  "runtime.stop": "the stop signal and the grace period",
  "runtime.kill": "SIGKILL, until the end is recorded",
  "runtime.delete":
    "removing the ended container from the OCI runtime or the shim, with its mounts",
  "monitor.start": "starting a monitor",
  "monitor.replace": "replacing a monitor that was killed or that no longer responds",
  "image.nearby": "looking for an image in the executable and on peers",
  "image.resolve": "manifests and image configuration from the registry or its mirrors",
  "image.admit": "signature policy",
  "image.blob": "fetching a layer from the registry, its mirrors or peers",
  "image.unpack": "decompressing, verifying and unpacking a layer, waiting for its bytes included",
  "image.commit": "putting an unpacked layer into the store",
  "image.sync": "waiting until an image is on the disk",
  "recovery.images": "opening the stores of images and snapshots at the start",
  "recovery.containers": "comparing the records of containers with what runs",
  "recovery.sandboxes": "comparing the records of pods with what is there",
  "recovery.leftovers": "removing what no record knows",
  "recovery.network": "removing networks of pods that are gone",
} as const;

export type StepName = keyof typeof stepDescriptions;

/** Ids, names and hosts; never anything secret. */
export type StepAttributes = Readonly<Record<string, string | number>>;

/** A step in progress. Disposed of before `end` or `fail`, it has failed. */
export interface Step extends Disposable {
  end(): void;
  fail(error: unknown): void;
}

/** What somebody who listens to steps gives: called when a step begins, and what it returns when it ends. */
export type StepListener = (
  name: StepName,
  attributes?: StepAttributes,
) => (outcome: StepOutcome) => void;

export type StepOutcome =
  | { readonly isFailed: false }
  | { readonly isFailed: true; readonly error: unknown };

/** `ctx.step`: begins a step of this context's call. */
export type StartStep = (name: StepName, attributes?: StepAttributes) => Step;

/** Undefined where nobody listens, so that `ctx.step?.()` costs nothing. */
export function openSteps(listeners: readonly StepListener[]): StartStep | undefined {
  if (listeners.length === 0) return undefined;
  return (name, attributes) => {
    const ends = listeners.map((listen) => listen(name, attributes));
    let isOver = false;
    const over = (outcome: StepOutcome) => {
      if (isOver) return;
      isOver = true;
      for (const end of ends) end(outcome);
    };
    return {
      end: () => over({ isFailed: false }),
      fail: (error) => over({ isFailed: true, error }),
      [Symbol.dispose]: () => over({ isFailed: true, error: undefined }),
    };
  };
}

/** Runs `run`, which may be asynchronous, as a step of the call. What it throws makes the step a failed one. */
export function inStep<T>(
  ctx: { readonly step?: StartStep | undefined },
  name: StepName,
  run: () => T,
  attributes?: StepAttributes,
): T {
  const step = ctx.step?.(name, attributes);
  if (step === undefined) return run();
  try {
    const result = run();
    if (!(result instanceof Promise)) {
      step.end();
      return result;
    }
    return result.then(
      (value) => {
        step.end();
        return value;
      },
      (error) => {
        step.fail(error);
        throw error;
      },
    ) as T;
  } catch (error) {
    step.fail(error);
    throw error;
  }
}
