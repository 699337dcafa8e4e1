import { existsSync } from "node:fs";
import { failedPrecondition, invalidArgument } from "../lib/errors.ts";
import type { CgroupDriver } from "./driver.ts";
import type { CgroupHost } from "./host.ts";

/** Where a container's cgroup is. */
export interface ContainerCgroup {
  /** For `linux.cgroupsPath` of the OCI spec: a path, or `slice:prefix:name` for systemd. */
  readonly ociPath: string;
  /** Below the root of every hierarchy; begins with a slash. */
  readonly relative: string;
}

export const defaultParent = { cgroupfs: "/crib", systemd: "system.slice" } as const;
const maxPathLength = 2048;
const name = /^[A-Za-z0-9_@:\\.-]{1,255}$/;
const sliceName = /^([A-Za-z0-9_@:\\.]+(-[A-Za-z0-9_@:\\.]+)*)\.slice$/;

/**
 * `parent` is a pod's cgroup as a client names it, "" for none: a path (`/kubepods/burstable/pod1`), a slice (`kubepods-pod1.slice`) or
 * the path of a slice. A parent from which a container could get out of its pod's cgroup is refused (CVE-2025-47291).
 */
export function containerCgroup(options: {
  readonly driver: CgroupDriver;
  readonly parent: string;
  readonly id: string;
}): ContainerCgroup {
  const { driver, id } = options;
  if (!/^[A-Za-z0-9_-]{1,128}$/.test(id)) throw invalidArgument("cgroup: not a container id");
  const parent = options.parent === "" ? defaultParent[driver] : options.parent;
  if (driver === "systemd") {
    const slice = sliceOf(parent);
    return { ociPath: `${slice}:crib:${id}`, relative: `${expandSlice(slice)}/crib-${id}.scope` };
  }
  // A slice by its bare name is where systemd has put it; a path is taken as it is, whatever its parts are called.
  const path = isBareSlice(parent) ? expandSlice(checkSlice(parent)) : checkPath(parent);
  return { ociPath: `${path}/${id}`, relative: `${path}/${id}` };
}

/**
 * The cgroup that an `ociPath` means which somebody else chose. It must not be there yet: what is in a container's
 * cgroup is killed and removed with the container.
 */
export function newCgroup(
  host: CgroupHost,
  driver: CgroupDriver,
  ociPath: string,
): ContainerCgroup {
  const relative = driver === "systemd" ? scopePath(ociPath) : checkPath(ociPath);
  const taken = host.hierarchies.find((root) => existsSync(`${root}${relative}`));
  if (taken !== undefined) throw failedPrecondition(`cgroup ${shown(relative)} is there already`);
  return { ociPath, relative };
}

/** `slice:prefix:name` as runc and crun understand it. */
function scopePath(ociPath: string): string {
  const [slice = "", prefix = "", scope = "", ...more] = ociPath.split(":");
  if (more.length > 0 || !name.test(`${prefix}-${scope}`) || prefix === "" || scope === "") {
    throw invalidArgument(`cgroup path ${shown(ociPath)} is not slice:prefix:name`);
  }
  return `${expandSlice(checkSlice(slice))}/${prefix}-${scope}.scope`;
}

/** Where systemd puts a slice: `a-b.slice` is inside `a.slice` (systemd.slice(5)). */
export function expandSlice(slice: string): string {
  const stem = slice.slice(0, -".slice".length);
  if (stem === "-") return "";
  const parts = stem.split("-");
  return parts.map((_, i) => `/${parts.slice(0, i + 1).join("-")}.slice`).join("");
}

/** The last part of a slice's path, or the slice itself. */
function sliceOf(parent: string): string {
  const path = checkPath(parent);
  const slice = path.slice(path.lastIndexOf("/") + 1);
  if (!slice.endsWith(".slice")) {
    throw failedPrecondition(
      `cgroup parent ${shown(parent)} is no slice, but crib uses systemd: set cgroup.driver to cgroupfs, or the client to systemd`,
    );
  }
  checkSlice(slice);
  if (path !== `/${slice}` && path !== expandSlice(slice)) {
    throw invalidArgument(`cgroup parent ${shown(parent)} is not where systemd has that slice`);
  }
  return slice;
}

function isBareSlice(parent: string): boolean {
  return parent.endsWith(".slice") && !parent.includes("/");
}

function checkSlice(slice: string): string {
  if (!sliceName.test(slice)) throw invalidArgument(`cgroup parent ${shown(slice)} is no slice`);
  return slice;
}

/** With a slash in front and none at the end. */
function checkPath(parent: string): string {
  const parts = parent.replace(/^\//, "").replace(/\/$/, "").split("/");
  const isPlain = parts.every((part) => name.test(part) && part !== "." && part !== "..");
  if (!isPlain || parent.length > maxPathLength) {
    throw invalidArgument(`cgroup parent ${shown(parent)} is not a valid path`);
  }
  return `/${parts.join("/")}`;
}

function shown(text: string): string {
  return JSON.stringify(text.slice(0, 200));
}
