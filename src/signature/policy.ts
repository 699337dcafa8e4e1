import { lstatSync, readFileSync, statSync } from "node:fs";
import { AppError, invalidArgument } from "../lib/errors.ts";
import { asObject, optional } from "../lib/json.ts";
import type { Reference } from "../oci/reference.ts";
import { isErrno } from "../os/errno-error.ts";
import { parseRequirements, type Requirement } from "./requirement.ts";
import { scopesOf } from "./scope.ts";
import { parseStrictObject, refuseOthers } from "./strict-json.ts";

export interface PolicyFiles {
  /** It has to be there; empty is none. */
  readonly named: string;
  /** Where one is looked for else; the first that is there. */
  readonly usual: readonly string[];
}

/** What is asked of one image, and by which part of which file. */
export interface Rule {
  readonly file: string;
  readonly scope: string;
  readonly requirements: readonly Requirement[];
}

const maxFileBytes = 1 << 20;
const maxScopes = 10_000;

/**
 * What the policy asks of images with this name (undefined: without any, which only its default is for), as the files are
 * now. Undefined where there is no policy. One that cannot be read or understood is an error, since nobody knows what it
 * asks.
 */
export function findRule(files: PolicyFiles, reference: Reference | undefined): Rule | undefined {
  const file = findPolicyFile(files);
  if (file === undefined) return undefined;
  try {
    return { file, ...selectRule(parsePolicy(readFile(file)), reference) };
  } catch (cause) {
    throw new AppError(`signature policy ${file}`, {
      kind: "failed-precondition",
      reason: "SignatureValidationFailed",
      cause,
    });
  }
}

/** The file that holds now; undefined is none. */
export function findPolicyFile(files: PolicyFiles): string | undefined {
  return files.named === "" ? files.usual.find(isThere) : files.named;
}

/** A link that leads nowhere is there too: somebody wants a policy. */
function isThere(path: string): boolean {
  try {
    lstatSync(path);
    return true;
  } catch (err) {
    return !isErrno(err, "ENOENT");
  }
}

function readFile(path: string): Uint8Array {
  const status = statSync(path);
  if (!status.isFile() || status.size > maxFileBytes) {
    throw invalidArgument(`no file of at most ${maxFileBytes} bytes`);
  }
  return readFileSync(path);
}

interface Policy {
  readonly fallback: readonly Requirement[];
  /** Of the transport `docker`: the others are not where images come from here. */
  readonly scopes: ReadonlyMap<string, readonly Requirement[]>;
}

export function parsePolicy(bytes: Uint8Array): Policy {
  const document = parseStrictObject(bytes, "policy", { maxBytes: maxFileBytes });
  refuseOthers(document, "policy", ["default", "transports"]);
  const transports = optional(document["transports"], "transports", asObject) ?? {};
  const parsed = new Map(
    Object.entries(transports).map(([name, value]) => [name, parseScopes(value, name)]),
  );
  return {
    fallback: parseRequirements(document["default"], "default"),
    scopes: parsed.get("docker") ?? new Map(),
  };
}

function parseScopes(value: unknown, transport: string): Policy["scopes"] {
  const scopes = Object.entries(asObject(value, transport));
  if (scopes.length > maxScopes) throw invalidArgument(`${transport}: over ${maxScopes} scopes`);
  return new Map(
    scopes.map(([scope, list]) => {
      return [
        scope,
        parseRequirements(list, `${transport}[${JSON.stringify(scope.slice(0, 300))}]`),
      ];
    }),
  );
}

function selectRule(
  { fallback, scopes }: Policy,
  reference: Reference | undefined,
): Omit<Rule, "file"> {
  for (const scope of reference === undefined ? [] : scopesOf(reference)) {
    const requirements = scopes.get(scope);
    if (requirements !== undefined) return { scope: scope || "docker", requirements };
  }
  return { scope: "default", requirements: fallback };
}
