import type * as pb from "../../gen/runtime/v1/api_pb.ts";
import { invalidArgument } from "../../lib/errors.ts";
import type { PullCredentials } from "../deps.ts";

/** CRI AuthConfig with its `auth`, base64 of `user:password`, taken apart. Undefined when it says nothing. Messages never show it. */
export function toCredentials(auth: pb.AuthConfig | undefined): PullCredentials | undefined {
  if (auth === undefined) return undefined;
  const { username, password } =
    auth.auth === "" || auth.username !== "" ? auth : decodeAuth(auth.auth);
  const { identityToken, registryToken, serverAddress } = auth;
  if (username + password + identityToken + registryToken === "") return undefined;
  return { username, password, identityToken, registryToken, serverAddress };
}

function decodeAuth(auth: string): { readonly username: string; readonly password: string } {
  // Docker's config.json may have padding NULs after the password.
  const text = Buffer.from(auth, "base64").toString("utf8").replace(/\0+$/, "");
  const colon = text.indexOf(":");
  if (colon < 0) throw invalidArgument("auth.auth is not base64 of user:password");
  return { username: text.slice(0, colon), password: text.slice(colon + 1) };
}
