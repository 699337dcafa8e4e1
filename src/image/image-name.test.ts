import { expect, test } from "bun:test";
import { digestOf } from "../oci/digest.ts";
import { shownImageName } from "./image-name.ts";

const digest = digestOf("manifest");
const id = digestOf("config");
const busybox = {
  repoTags: [
    "quay.io/x/busybox:9",
    "docker.io/library/busybox:1",
    "docker.io/library/busybox:latest",
  ],
  repoDigests: [`docker.io/library/busybox@${digest}`],
};
const untagged = { repoTags: [], repoDigests: busybox.repoDigests };
const imported = { repoTags: [], repoDigests: [] };

for (const [what, image, asked, shown] of [
  ["a short name", busybox, "busybox", "docker.io/library/busybox:latest"],
  ["a short name with a tag", busybox, "busybox:1", "docker.io/library/busybox:1"],
  ["a full name", busybox, "quay.io/x/busybox:9", "quay.io/x/busybox:9"],
  ["a digest", busybox, `busybox@${digest}`, "docker.io/library/busybox:1"],
  ["tag and digest", busybox, `busybox:latest@${digest}`, "docker.io/library/busybox:1"],
  ["an id", busybox, id, "quay.io/x/busybox:9"],
  ["an id without its algorithm", busybox, id.slice(7), "quay.io/x/busybox:9"],
  ["the beginning of an id", busybox, id.slice(7, 19), "quay.io/x/busybox:9"],
  [
    "a tag that the image had and lost",
    untagged,
    "busybox:1",
    `docker.io/library/busybox@${digest}`,
  ],
  ["an id of an image without a tag", untagged, id, `docker.io/library/busybox@${digest}`],
  ["an id of an image without any name", imported, id, id],
  ["a name of an image that has gone", undefined, "busybox", "docker.io/library/busybox:latest"],
  ["an id of an image that has gone", undefined, id, id],
] as const) {
  test(`shownImageName() of ${what}`, () => expect(shownImageName(image, asked)).toBe(shown));
}
