import { describe, expect, test } from "bun:test";
import { idInside, idOutside, parseIdMap } from "./order.ts";
import { type Found, parsePlace, planCopy } from "./plan.ts";

const at = (kind: Found["kind"], path: string, hasParent = true): Found => {
  return { kind, path, hasParent };
};
const [file, directory, link] = [at("file", "/s/f"), at("directory", "/s/d"), at("other", "/s/l")];
const [there, taken] = [at("directory", "/t"), at("file", "/x/t")];
const [absent, nowhere] = [at("absent", "/x/new"), at("absent", "/no/new", false)];

/** What docker's reference of `docker cp` says of each case. */
describe("planCopy()", () => {
  test.each([
    // a file
    ["/s/f", file, "/x/new", absent, { name: "new", directory: "/x" }],
    ["/s/f", file, "/x/t", taken, { name: "t", directory: "/x" }],
    ["/s/f", file, "/t", there, { name: "f", directory: "/t" }],
    ["/s/f", file, "/t/", there, { name: "f", directory: "/t" }],
    ["/s/l", link, "/t", there, { name: "l", directory: "/t" }],
    // a directory
    ["/s/d", directory, "/x/new", absent, { name: "new", directory: "/x" }],
    ["/s/d/.", directory, "/x/new", absent, { name: "new", directory: "/x" }],
    ["/s/d", directory, "/x/new/", absent, { name: "new", directory: "/x" }],
    ["/s/d", directory, "/t", there, { name: "d", directory: "/t" }],
    ["/s/d/", directory, "/t", there, { name: "d", directory: "/t" }],
    ["/s/d/.", directory, "/t", there, { name: ".", directory: "/t" }],
    [".", directory, "/t", there, { name: ".", directory: "/t" }],
    ["..", directory, "/t", there, { name: "d", directory: "/t" }],
  ] as const)("%s to %s", (from, source, to, destination, expected) => {
    const plan = planCopy({ text: from, found: source }, { text: to, found: destination });
    expect(plan).toEqual(expected);
  });

  test.each([
    ["/s/f", file, "/x/new/", absent, "copy to /x/new/: no such directory"],
    ["/s/f", file, "/no/new", nowhere, "no directory /no"],
    ["/s/d", directory, "/no/new", nowhere, "no directory /no"],
    ["/s/d", directory, "/x/t", taken, "a directory cannot replace a file"],
    ["/s/f/", file, "/t", there, "copy from /s/f/: not a directory"],
    ["/s/f", absent, "/t", there, "copy from /s/f: nothing is there"],
  ] as const)("refuses %s to %s", (from, source, to, destination, message) => {
    const attempt = () => planCopy({ text: from, found: source }, { text: to, found: destination });
    expect(attempt).toThrow(message);
  });
});

test("parsePlace() takes a colon for a container's, unless the path begins with a slash or a dot", () => {
  expect(parsePlace("web:/etc/x:y")).toEqual({ kind: "container", key: "web", path: "/etc/x:y" });
  for (const path of ["/a:b", "./a:b", "plain"]) expect(parsePlace(path).kind).toBe("node");
  expect(parsePlace("-")).toEqual({ kind: "stream" });
});

test("ids of a user namespace there and back; those that it does not have are nobody's and root's", () => {
  const ranges = parseIdMap("         0     100000      65536\n");
  expect([idInside(ranges, 100_005), idOutside(ranges, 5)]).toEqual([5, 100_005]);
  expect([idInside(ranges, 5), idOutside(ranges, 70_000)]).toEqual([65_534, 100_000]);
  const node = parseIdMap("0 0 4294967295\n");
  expect([idInside(node, 7), idOutside(node, 7), idInside(undefined, 7)]).toEqual([7, 7, 7]);
});
