import { invalidArgument } from "../../lib/errors.ts";
import type { ImageConfig } from "../../oci/image-config.ts";
import { parseId } from "./user-database.ts";

const maxLength = 512;

/** What ImageStatus returns of an image's USER: the kubelet's runAsNonRoot decides on it. */
export type ImageUser = { readonly uid: number } | { readonly username: string };

/**
 * `uid` for digits, else the name; `undefined` where the image names nobody. Digits that are no uid stay a name here,
 * and creating the container fails.
 */
export function imageUser(config: Pick<ImageConfig, "user">): ImageUser | undefined {
  const name = config.user.split(":", 1)[0] ?? "";
  const uid = parseId(name);
  if (uid !== undefined) return { uid };
  return name === "" ? undefined : { username: name };
}

/** Who a container is asked to run as: the parts of `user[:group]`, each a name, an id, or absent. */
export interface RequestedUser {
  readonly user: NameOrId | undefined;
  readonly group: NameOrId | undefined;
}

export type NameOrId = string | number;

/** USER of an image config. */
export function parseImageUser(text: string): RequestedUser {
  const [user = "", group = "", ...rest] = text.split(":");
  if (rest.length > 0) throw invalidArgument(`USER ${quote(text)} of the image is not user:group`);
  return { user: parseNameOrId(user, "user"), group: parseNameOrId(group, "group") };
}

/** Digits are an id and never looked up as a name: the image's passwd does not decide what 0 means. */
export function parseNameOrId(text: string, what: "user" | "group"): NameOrId | undefined {
  if (text === "") return undefined;
  if (text.length > maxLength) throw invalidArgument(`${what} name over ${maxLength} characters`);
  if (!/^[0-9]+$/.test(text)) return text;
  const id = parseId(text);
  if (id === undefined) throw invalidArgument(`${what} id ${text} is over 4294967294`);
  return id;
}

export function quote(text: string): string {
  return JSON.stringify(text.slice(0, 100));
}
