import { afterAll, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import type { RuntimeSpec } from "../../oci/runtime-spec.ts";
import { unknownFeatures } from "../../runtime/features.ts";
import { placeNetDevices } from "./net-devices.ts";

const dir = mkdtempSync(`${tmpdir()}/crib-net-devices-`);
afterAll(() => rmSync(dir, { recursive: true }));

const runc = { name: "runc", features: { ...unknownFeatures, netDevices: true } };
const pod = { netns: "/run/ns", netDevicesPath: `${dir}/record` };
const wanting = (...names: readonly string[]) => {
  const netDevices = Object.fromEntries(names.map((name) => [name, { name: `${name}-in` }]));
  return { linux: { netDevices } } as unknown as RuntimeSpec;
};

test("placeNetDevices() refuses what cannot be moved, and leaves a spec without any as it is", () => {
  const none = { linux: {} } as unknown as RuntimeSpec;
  expect(placeNetDevices(none, { ...pod, netns: undefined }, runc)).toBe(none);
  const refused = (environment: typeof pod, handler = runc, name = "lo") =>
    expect(() => placeNetDevices(wanting(name), environment, handler)).toThrow();
  refused({ ...pod, netns: undefined as never });
  refused(pod, { name: "old", features: unknownFeatures });
  refused(pod, runc, "no-such-one");
  expect(existsSync(pod.netDevicesPath)).toBe(false);
});

test("placeNetDevices() moves an interface once for a pod", () => {
  const spec = placeNetDevices(wanting("lo"), pod, runc);
  expect(spec.linux.netDevices).toEqual({ lo: { name: "lo-in" } });
  // It is still there, as nobody has moved it: it moves when it comes back.
  expect(placeNetDevices(wanting("lo"), pod, runc)).toEqual(spec);
  const gone = { ...pod, netDevicesPath: `${dir}/gone` };
  writeFileSync(gone.netDevicesPath, '["eth99"]');
  expect(placeNetDevices(wanting("eth99"), gone, runc).linux).toEqual({} as never);
  expect(placeNetDevices(wanting("eth99", "lo"), gone, runc).linux.netDevices).toEqual({
    lo: { name: "lo-in" },
  });
});
