import { checkPolicy, type SignatureDeps } from "../image/signatures/admit.ts";
import { registrySignatures } from "../image/signatures/registry-signatures.ts";
import type { Context } from "../lib/context.ts";
import { AppError } from "../lib/errors.ts";
import type { KeyedMutex } from "../lib/keyed-mutex.ts";
import { type Digest, digestOf } from "../oci/digest.ts";
import { parseReference, type Reference, referenceName, repoDigest } from "../oci/reference.ts";
import { openRepository, type RegistryOptions } from "../registry/client.ts";
import type { Credentials } from "../registry/credentials.ts";
import { checkProfileDocument, parseProfileManifest } from "../seccomp/artifact.ts";
import { maxProfileBytes } from "../seccomp/profile.ts";
import { findRule } from "../signature/policy.ts";
import type { ProfileStore } from "./profile-store.ts";

export interface PullProfileDeps {
  readonly profiles: ProfileStore;
  readonly registry: RegistryOptions;
  readonly signatures: SignatureDeps;
  /** Held while the profile of one manifest is pulled. */
  readonly pulls: KeyedMutex<Digest>;
}

/**
 * Pulls a seccomp profile by its canonical reference, `registry/repository@digest` (CRI PullSecurityProfile). Returns
 * whether it was here already and nobody was asked: so it is unless the signature policy asks something of the reference
 * that it has not been asked before.
 *
 * Throws invalid-argument and failed-precondition with the reason SecurityProfileInvalid for a request or an artifact
 * that stays wrong, failed-precondition with SignatureValidationFailed for what the policy refuses, and the registry's own
 * errors otherwise, which may pass. A profile that was here before stays as it was.
 */
export async function pullProfile(
  ctx: Context,
  deps: PullProfileDeps,
  ref: string,
  auth: Credentials | undefined,
): Promise<{ readonly cached: boolean }> {
  const { reference, digest } = parseProfileReference(ref);
  using _pull = await deps.pulls.lock(digest, ctx.signal);
  const requirements = findRule(deps.signatures.policyFiles, reference)?.requirements ?? [];
  const asksForSignature = requirements.some(({ type }) => type === "sigstoreSigned");
  const named = { repoTags: [], repoDigests: [repoDigest(reference, digest)] };
  if (!asksForSignature) {
    await checkPolicy(ctx, deps.signatures, { ...named, manifests: [] }, []);
  }
  const admittedBy = asksForSignature ? digestOf(JSON.stringify(requirements)) : "";

  const known = deps.profiles.findByManifest(digest);
  const isAdmitted = known?.names.some(
    (name) => name.ref === ref && name.admittedBy === admittedBy,
  );
  if (known !== undefined && (!asksForSignature || isAdmitted)) {
    deps.profiles.addName(known, { ref, admittedBy });
    return { cached: true };
  }
  try {
    const repository = await openRepository(ctx, deps.registry, reference, auth);
    const manifest = (await repository.fetchManifest(ctx, digest)).bytes;
    const layer = parseProfileManifest(manifest, `manifest ${digest}`);
    const sources = [registrySignatures(() => repository)];
    await checkPolicy(ctx, deps.signatures, { ...named, manifests: [manifest] }, sources);
    const bytes = await repository.fetchBlob(ctx, layer, maxProfileBytes);
    checkProfileDocument(bytes, `profile ${layer.digest}`);
    deps.profiles.put(bytes, digest, { ref, admittedBy });
    return { cached: false };
  } catch (cause) {
    ctx.signal.throwIfAborted();
    throw new Error(`pull security profile ${ref}`, { cause });
  }
}

/** A profile has a whole name: registry, repository and digest, with nothing left to a default. */
function parseProfileReference(ref: string): {
  readonly reference: Reference;
  readonly digest: Digest;
} {
  const reference = parseReference(ref);
  const isWhole =
    ref.startsWith(`${referenceName(reference)}@`) ||
    ref.startsWith(`${referenceName(reference)}:`);
  if (reference.digest !== undefined && isWhole) return { reference, digest: reference.digest };
  throw new AppError(`${ref}: not registry/repository@sha256:...`, {
    kind: "invalid-argument",
    reason: "SecurityProfileInvalid",
  });
}
