import type { ServiceImpl } from "@connectrpc/connect";
import * as pb from "../gen/runtime/v1/api_pb.ts";
import { AppError } from "../lib/errors.ts";
import { parseDigest } from "../oci/digest.ts";
import { contextOf } from "./call/interceptor.ts";
import type { CriDeps } from "./deps.ts";
import { checkMessage } from "./request/check-message.ts";
import { toCredentials } from "./request/credentials.ts";
import { checkHandler, referenceOf } from "./request/image-spec.ts";

type Methods = Pick<
  ServiceImpl<typeof pb.ImageService>,
  "pullSecurityProfile" | "listSecurityProfiles" | "removeSecurityProfile"
>;

/** Seccomp profiles that come from registries (KEP-6061). */
export function profileMethods({ profiles, node }: Pick<CriDeps, "profiles" | "node">): Methods {
  return {
    async pullSecurityProfile(request, handler) {
      checkMessage(pb.PullSecurityProfileRequestSchema, request);
      if (request.profileKind !== pb.SecurityProfileKind.Seccomp) {
        throw new AppError(`profile_kind ${request.profileKind}: only Seccomp is supported`, {
          kind: "invalid-argument",
          reason: "SecurityProfileInvalid",
        });
      }
      const ref = referenceOf(request.image);
      checkHandler(request.image, node);
      return await profiles.pull(contextOf(handler), ref, toCredentials(request.auth));
    },

    listSecurityProfiles() {
      return {
        profiles: profiles.list().map(({ digest, names, sizeBytes }) => ({
          digest,
          refs: names.map(({ ref }) => ref),
          size: BigInt(sizeBytes),
        })),
      };
    },

    /** "Must not return an error if the profile has already been removed" (CRI RemoveSecurityProfile). */
    removeSecurityProfile({ digest }) {
      profiles.remove(parseDigest(digest));
      return {};
    },
  };
}
