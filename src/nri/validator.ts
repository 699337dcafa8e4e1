import * as nri from "../gen/nri/v1alpha1/api_pb.ts";
import { AppError, invalidArgument } from "../lib/errors.ts";
import { asList, asString } from "../lib/json.ts";
import type { ValidatorConfig } from "./config.ts";
import type { Owners } from "./owners.ts";

const { Field } = nri;

export interface Adjusted {
  /** Its name in the pod. */
  readonly container: string;
  readonly podAnnotations: Readonly<Record<string, string>>;
  /** As the client asked for it; undefined when it said nothing. */
  readonly seccomp: nri.SecurityProfile_ProfileType | undefined;
  readonly owners: Owners;
  /** Names, without index, of the plugins that were asked. */
  readonly plugins: ReadonlySet<string>;
}

/** Pods name plugins with it that must see their containers. */
const requiredPluginsAnnotation = "required-plugins.noderesource.dev";

/** The administrator's word on what plugins did to a container. Throws `permission-denied`. */
export function validateAdjustment(config: ValidatorConfig, adjusted: Adjusted): void {
  if (!config.enable) return;
  const { owners } = adjusted;
  const refuse = (isRefused: boolean, field: Parameters<Owners["ownersOf"]>[0], what: string) => {
    const plugins = owners.ownersOf(field);
    if (!isRefused || plugins.length === 0) return;
    throw new AppError(`NRI plugin ${plugins.join(", ")} may not adjust ${what}`, {
      kind: "permission-denied",
    });
  };
  refuse(config.rejectOciHookAdjustment, Field.OciHooks, "OCI hooks");
  refuse(refusesSeccomp(config, adjusted.seccomp), Field.SeccompPolicy, "the seccomp policy");
  refuse(config.rejectNamespaceAdjustment, Field.Namespace, "namespaces");
  refuse(config.rejectSysctlAdjustment, Field.Sysctl, "sysctls");
  checkRequired(config, adjusted);
}

function refusesSeccomp(config: ValidatorConfig, profile: Adjusted["seccomp"]): boolean {
  const { RUNTIME_DEFAULT, LOCALHOST } = nri.SecurityProfile_ProfileType;
  if (profile === RUNTIME_DEFAULT) return config.rejectRuntimeDefaultSeccompAdjustment;
  if (profile === LOCALHOST) return config.rejectCustomSeccompAdjustment;
  return config.rejectUnconfinedSeccompAdjustment;
}

function checkRequired(config: ValidatorConfig, adjusted: Adjusted): void {
  const { tolerateMissingPluginsAnnotation: tolerateKey, requiredPlugins } = config;
  const tolerated = tolerateKey === "" ? undefined : annotationFor(adjusted, tolerateKey);
  if (tolerated === "true") return;
  const named = annotationFor(adjusted, requiredPluginsAnnotation);
  const required = [...requiredPlugins, ...(named === undefined ? [] : parseNames(named))];
  const missing = required.filter((name) => !adjusted.plugins.has(name));
  if (missing.length === 0) return;
  throw new AppError(`required NRI plugin ${missing.join(", ")} is not connected`, {
    kind: "failed-precondition",
  });
}

/** The pod's annotation for this container, or for all of its containers. */
function annotationFor({ podAnnotations, container }: Adjusted, key: string): string | undefined {
  const keys = [`${key}/container.${container}`, `${key}/pod`, key];
  return keys.map((name) => podAnnotations[name]).find((value) => value !== undefined);
}

const maxNamesLength = 64 << 10;

/** A YAML list of names. */
function parseNames(text: string): readonly string[] {
  const what = `annotation ${requiredPluginsAnnotation}`;
  if (text.length > maxNamesLength) throw invalidArgument(`${what}: too long`);
  try {
    return asList(Bun.YAML.parse(text), what, asString);
  } catch (cause) {
    throw invalidArgument(`${what}: not a list of names`, cause);
  }
}
