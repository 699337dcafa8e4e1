import type { Brand } from "../../lib/brand.ts";
import type { Context } from "../../lib/context.ts";
import { AppError, describe, kindOf } from "../../lib/errors.ts";
import { type Digest, digestOf } from "../../oci/digest.ts";
import { parseReference, type Reference } from "../../oci/reference.ts";
import { maxSignatures } from "../../signature/attached.ts";
import { findRule, type PolicyFiles, type Rule } from "../../signature/policy.ts";
import type { Requirement, SigstoreSigned } from "../../signature/requirement.ts";
import type { OpenVerifier, VerifySignature } from "../../signature/verifier.ts";
import type { FoundImage } from "../found-image.ts";
import { type SignatureDocument, type SignatureSource, signaturesIn } from "./source.ts";

/** An image that the node's policy lets in by the names it has. Only this file makes one, and only such a one is stored. */
export type AdmittedImage = Brand<
  FoundImage & { readonly signatures: readonly AcceptedSignatures[] },
  "Admitted"
>;

/** What has made the policy accept the image, and which of its manifests it is of. */
export interface AcceptedSignatures {
  readonly subject: Digest;
  readonly document: SignatureDocument;
}

/** What verifies signatures is loaded when a policy asks for one. */
export type LoadVerifier = () => Promise<OpenVerifier>;

export interface SignatureDeps {
  readonly policyFiles: PolicyFiles;
  readonly loadVerifier: LoadVerifier;
}

/**
 * Asks the policy, as it is now, about every name that the image would get. What counts is the digest that the name has led to:
 * a signature of the index, or of the manifest in it that is for this node, is one of what will run. Signatures are looked for
 * in the sources, in order; only the last one has to respond.
 */
export async function admitImage(
  ctx: Context,
  deps: SignatureDeps,
  found: FoundImage,
  sources: readonly SignatureSource[],
): Promise<AdmittedImage> {
  return { ...found, signatures: await checkPolicy(ctx, deps, found, sources) } as AdmittedImage;
}

/** What the policy looks at: names and the documents that they led to. */
type Named = Pick<FoundImage, "repoTags" | "repoDigests" | "manifests">;

/**
 * The signatures that make the policy accept all names. Throws failed-precondition with the reason
 * SignatureValidationFailed for what it refuses, and `unavailable` where nobody could be asked for a signature.
 */
export async function checkPolicy(
  ctx: Context,
  { policyFiles, loadVerifier }: SignatureDeps,
  found: Named,
  sources: readonly SignatureSource[],
): Promise<readonly AcceptedSignatures[]> {
  const signatures = new Signatures(found.manifests, sources);
  for (const reference of namesOf(found)) {
    const rule = findRule(policyFiles, reference);
    for (const requirement of rule?.requirements ?? []) {
      const problem = await problemOf(ctx, requirement, { loadVerifier, signatures, reference });
      if (problem !== undefined && rule !== undefined) throw refusal(found, rule, problem);
    }
  }
  return signatures.accepted;
}

/** An image of the store that comes again, to be repaired: nobody is asked, so it gets no name. */
export function admitAgain(found: Omit<FoundImage, "repoTags" | "repoDigests">): AdmittedImage {
  const nameless: FoundImage = { ...found, repoTags: [], repoDigests: [] };
  return { ...nameless, signatures: [] as readonly AcceptedSignatures[] } as AdmittedImage;
}

/** Whether the policy, as it is now, would have nobody admit the image without a signature. */
export function asksForSignature(
  { policyFiles }: Pick<SignatureDeps, "policyFiles">,
  image: Pick<FoundImage, "repoTags" | "repoDigests">,
): boolean {
  return namesOf(image)
    .flatMap((reference) => findRule(policyFiles, reference)?.requirements ?? [])
    .some(({ type }) => type === "sigstoreSigned");
}

/** As it is asked for: by tag, or else by digest. An image that gets no name is its own case. */
function namesOf({
  repoTags,
  repoDigests,
}: Pick<FoundImage, "repoTags" | "repoDigests">): readonly (Reference | undefined)[] {
  const names = repoTags.length > 0 ? repoTags : repoDigests;
  return names.length > 0 ? names.map(parseReference) : [undefined];
}

interface Subject {
  readonly loadVerifier: LoadVerifier;
  readonly signatures: Signatures;
  readonly reference: Reference | undefined;
}

async function problemOf(
  ctx: Context,
  requirement: Requirement,
  subject: Subject,
): Promise<string | undefined> {
  switch (requirement.type) {
    case "insecureAcceptAnything":
      return undefined;
    case "reject":
      return "it is to be rejected";
    case "unsupported":
      return `${requirement.what}: not supported, so nothing fulfils it`;
    case "sigstoreSigned":
      return await unsignedBecause(ctx, requirement, subject);
  }
}

const shownProblems = 3;

async function unsignedBecause(
  ctx: Context,
  requirement: SigstoreSigned,
  { loadVerifier, signatures, reference }: Subject,
): Promise<string | undefined> {
  if (signatures.images.length === 0) return "it came without the manifest that may be signed";
  let verify: VerifySignature;
  try {
    verify = (await loadVerifier())(requirement);
  } catch (err) {
    return describe(err);
  }
  const problems = new Set<string>();
  for await (const { image, document, signature } of signatures.all(ctx)) {
    const problem = verify(signature, { ...image, reference });
    if (problem !== undefined) problems.add(problem);
    else {
      signatures.accept({ subject: image.digest, document });
      return undefined;
    }
  }
  if (problems.size === 0) return "it has no signature";
  return [...problems].slice(0, shownProblems).join("; ");
}

/** What may be signatures of one image, each looked for once. */
class Signatures {
  /** Outermost first. */
  readonly images: readonly { readonly digest: Digest; readonly manifest: Uint8Array }[];
  readonly #sources: readonly SignatureSource[];
  readonly #accepted: AcceptedSignatures[] = [];
  readonly #found = new Map<string, Promise<readonly SignatureDocument[]>>();

  constructor(manifests: readonly Uint8Array[], sources: readonly SignatureSource[]) {
    this.images = manifests.map((manifest) => ({ digest: digestOf(manifest), manifest }));
    this.#sources = sources;
  }

  get accepted(): readonly AcceptedSignatures[] {
    return [...this.#accepted];
  }

  /** What fulfils several requirements, or serves several names, is kept once. */
  accept({ subject, document }: AcceptedSignatures): void {
    const isKnown = this.#accepted.some(
      (one) => one.subject === subject && one.document === document,
    );
    if (!isKnown) this.#accepted.push({ subject, document });
  }

  async *all(ctx: Context) {
    for (const i of this.#sources.keys()) {
      for (const image of this.images) {
        const documents = await this.#find(ctx, i, image.digest);
        const found = documents.flatMap((document) =>
          signaturesIn(document).map((signature) => ({ image, document, signature })),
        );
        yield* found.slice(0, maxSignatures);
      }
    }
  }

  #find(ctx: Context, i: number, digest: Digest): Promise<readonly SignatureDocument[]> {
    const key = `${i} ${digest}`;
    const finding = this.#found.get(key) ?? this.#ask(ctx, i, digest);
    this.#found.set(key, finding);
    return finding;
  }

  async #ask(ctx: Context, i: number, digest: Digest): Promise<readonly SignatureDocument[]> {
    try {
      return (await this.#sources[i]?.find(ctx, digest)) ?? [];
    } catch (cause) {
      ctx.signal.throwIfAborted();
      if (i < this.#sources.length - 1) {
        ctx.log.warn("signature lookup failed", { digest, err: describe(cause) });
        return [];
      }
      throw lookupFailure(digest, cause);
    }
  }
}

/** A source that cannot be reached may respond later; any other failure means that there is no signature. */
function lookupFailure(digest: Digest, cause: unknown): Error {
  const message = `look for signatures of ${digest}`;
  if (kindOf(cause) === "unavailable") return new Error(message, { cause });
  return new AppError(message, {
    kind: "failed-precondition",
    reason: "SignatureValidationFailed",
    cause,
  });
}

function refusal({ manifests }: Named, { file, scope }: Rule, problem: string): AppError {
  const [outermost] = manifests;
  const digest = outermost === undefined ? "image" : digestOf(outermost);
  return new AppError(`${digest} is refused by ${file} (${scope}): ${problem}`, {
    kind: "failed-precondition",
    reason: "SignatureValidationFailed",
  });
}
