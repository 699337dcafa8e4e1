import type * as pb from "../../gen/runtime/v1/api_pb.ts";
import { invalidArgument } from "../../lib/errors.ts";
import type { ContainerUser } from "../container.ts";
import { GroupsPolicy } from "../cri.ts";
import {
  type NameOrId,
  parseImageUser,
  parseNameOrId,
  quote,
  type RequestedUser,
} from "./image-user.ts";
import {
  isMember,
  type PasswdEntry,
  readUserDatabase,
  type UserDatabase,
} from "./user-database.ts";

/** Who the container's first process is, and its home directory for `HOME`. */
export interface ResolvedUser extends ContainerUser {
  readonly home: string;
}

/** Reads the user database of the mounted image and decides who the container runs as. */
export function resolveUser(
  rootfs: string,
  imageUserText: string,
  securityContext: pb.LinuxContainerSecurityContext | undefined,
): ResolvedUser {
  return resolveUserIn(readUserDatabase(rootfs), imageUserText, securityContext);
}

/**
 * The pod's security context wins over the image's USER; a group of the image goes with its user only. Supplementary
 * groups are the primary one, those asked for and, unless the policy is Strict, those that the image's /etc/group gives
 * the user. The primary group is among them, so that it cannot be shaken off with setgid(2).
 */
export function resolveUserIn(
  database: UserDatabase,
  imageUserText: string,
  securityContext: pb.LinuxContainerSecurityContext | undefined,
): ResolvedUser {
  const requested = requestOf(securityContext) ?? parseImageUser(imageUserText);
  const entry = findUser(database, requested.user ?? 0);
  const uid = typeof requested.user === "string" ? entry?.uid : (requested.user ?? 0);
  if (uid === undefined) {
    throw invalidArgument(`no user ${quote(String(requested.user))} in the image's /etc/passwd`);
  }
  const gid = groupId(database, requested.group) ?? entry?.gid ?? 0;
  const memberships =
    securityContext?.supplementalGroupsPolicy === GroupsPolicy.strict
      ? []
      : membershipsOf(database, entry);
  const asked = (securityContext?.supplementalGroups ?? []).map((id) => idOf(id, "group"));
  const groups = new Set([gid, ...asked, ...memberships]);
  return {
    uid,
    gid,
    supplementalGroups: [...groups].sort((a, b) => a - b),
    home: homeOf(entry),
  };
}

/** What the request says, or undefined when it leaves the choice to the image. */
function requestOf(
  context: pb.LinuxContainerSecurityContext | undefined,
): RequestedUser | undefined {
  const uid = context?.runAsUser;
  const name = context?.runAsUsername ?? "";
  if (uid !== undefined && name !== "") {
    throw invalidArgument("both run_as_user and run_as_username are set");
  }
  const gid = context?.runAsGroup;
  if (uid === undefined && name === "") {
    if (gid === undefined) return undefined;
    throw invalidArgument("run_as_group is set without run_as_user or run_as_username");
  }
  return {
    user: uid === undefined ? parseNameOrId(name, "user") : idOf(uid.value, "user"),
    group: gid === undefined ? undefined : idOf(gid.value, "group"),
  };
}

function idOf(value: bigint, what: "user" | "group"): number {
  if (value < 0n || value >= 0xffff_ffffn) {
    throw invalidArgument(`${what} id ${value} is not between 0 and 4294967294`);
  }
  return Number(value);
}

function findUser(database: UserDatabase, user: NameOrId): PasswdEntry | undefined {
  return database.users.find((entry) =>
    typeof user === "string" ? entry.name === user : entry.uid === user,
  );
}

function groupId(database: UserDatabase, group: NameOrId | undefined): number | undefined {
  if (typeof group !== "string") return group;
  const entry = database.groups.find((candidate) => candidate.name === group);
  if (entry === undefined) {
    throw invalidArgument(`no group ${quote(group)} in the image's /etc/group`);
  }
  return entry.gid;
}

/** setgroups(2) takes no more than this. */
const maxGroups = 65_536;

function membershipsOf(database: UserDatabase, user: PasswdEntry | undefined): readonly number[] {
  if (user === undefined) return [];
  return database.groups
    .filter((group) => isMember(group, user.name))
    .slice(0, maxGroups)
    .map((group) => group.gid);
}

/** `/` unless the image names an absolute directory without control characters. */
function homeOf(user: PasswdEntry | undefined): string {
  const home = user?.home ?? "";
  return home.startsWith("/") && !/\p{Cc}/u.test(home) ? home : "/";
}
