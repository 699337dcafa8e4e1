import { describe } from "../lib/errors.ts";
import { parseReference } from "../oci/reference.ts";
import { findRule } from "../signature/policy.ts";
import type { Requirement } from "../signature/requirement.ts";
import type { Config } from "./config/config.ts";
import { policyFilesOf } from "./policy-files.ts";

/** What a daemon with this configuration would ask of an image of that name, or of a registry's, in one line. */
export function explainPolicy(name: string, config: Pick<Config, "images">): string {
  const reference = parseReference(name.includes("/") ? name : `${name}/any`);
  try {
    const rule = findRule(policyFilesOf(config), reference);
    if (rule === undefined) return "none: every image is let in";
    return `${rule.file} (${rule.scope}): ${rule.requirements.map(word).join(" and ")}`;
  } catch (err) {
    return `lets nothing in: ${describe(err)}`;
  }
}

function word(requirement: Requirement): string {
  switch (requirement.type) {
    case "insecureAcceptAnything":
    case "reject":
      return requirement.type;
    case "unsupported":
      return `reject (${requirement.what}: not supported)`;
    case "sigstoreSigned":
      return `${requirement.type} (${requirement.trust.kind}, ${requirement.identity.type})`;
  }
}
