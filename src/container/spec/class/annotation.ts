import { invalidArgument } from "../../../lib/errors.ts";

type Annotations = Readonly<Record<string, string>>;

/** Where a client may name the class of a container: its own annotation, one for it among the pod's, one for the pod. */
interface ClassKeys {
  readonly container: string;
  readonly podPrefix: string;
}

export const blockIoKeys: ClassKeys = {
  container: "io.kubernetes.cri.blockio-class",
  podPrefix: "blockio.resources.beta.kubernetes.io",
};

export const rdtKeys: ClassKeys = {
  container: "io.kubernetes.cri.rdt-class",
  podPrefix: "rdt.resources.beta.kubernetes.io",
};

/**
 * The class that annotations name, the most special one first; undefined for none. A name is all they can say: what a
 * class is, is the administrator's word.
 */
export function classOf(
  keys: ClassKeys,
  container: { readonly name: string; readonly annotations: Annotations },
  podAnnotations: Annotations,
): string | undefined {
  const name =
    container.annotations[keys.container] ??
    podAnnotations[`${keys.podPrefix}/container.${container.name}`] ??
    podAnnotations[`${keys.podPrefix}/pod`];
  if (name === undefined || name === "") return undefined;
  // Becomes the name of a directory.
  if (/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/.test(name)) return name;
  throw invalidArgument(`class ${JSON.stringify(name.slice(0, 100))} of ${keys.container}`);
}
