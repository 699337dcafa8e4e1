import { describe, expect, test } from "bun:test";
import * as pb from "../../gen/runtime/v1/api_pb.ts";
import { makeRunConfigs, type RunRequest, runLabel, runLogDirectory } from "./run-config.ts";
import { parseCpus, parseEnv, parseMemory, parsePorts, parseUser } from "./run-options.ts";
import { parseSecurity } from "./security-options.ts";

describe("options of crib run", () => {
  test("parsePorts()", () => {
    expect(parsePorts("8080:80")).toMatchObject([
      { hostPort: 8080, containerPort: 80, hostIp: "" },
    ]);
    expect(parsePorts("[::1]:53:53/udp")).toMatchObject([
      { hostIp: "::1", protocol: pb.Protocol.UDP },
    ]);
    expect(parsePorts("8000-8001:80-81")).toMatchObject([
      { hostPort: 8000, containerPort: 80 },
      { hostPort: 8001, containerPort: 81 },
    ]);
    for (const text of [
      ...["80", "0:80", "80:65536", "x:80:80", "80:80/icmp", "80:80:80"],
      ...["8000-8001:80", "81-80:81-80", "1-65535:1-65535"],
    ]) {
      expect(() => parsePorts(text)).toThrow("--publish");
    }
  });

  test("parseEnv()", () => {
    expect(parseEnv("A=b=c", {})).toEqual([{ key: "A", value: Buffer.from("b=c") }]);
    expect(parseEnv("A", { A: "here" })).toEqual([{ key: "A", value: Buffer.from("here") }]);
    // As docker: what is not set here is not set there.
    expect(parseEnv("A", {})).toEqual([]);
    expect(() => parseEnv("=x", {})).toThrow("not NAME=VALUE");
  });

  test("parseMemory() and parseCpus()", () => {
    expect([parseMemory("64m"), parseMemory("1GiB"), parseMemory("6291456")]).toEqual([
      64n << 20n,
      1n << 30n,
      6n << 20n,
    ]);
    expect([parseCpus("0.5"), parseCpus("2")]).toEqual([50_000n, 200_000n]);
    for (const text of ["", "0", "-1", "1x", "999999999999999t", "6143k", "1"]) {
      expect(() => parseMemory(text)).toThrow("--memory");
    }
    for (const text of ["", "0", "1e3", "0.001"]) expect(() => parseCpus(text)).toThrow("--cpus");
  });

  test("parseUser()", () => {
    expect(parseUser("1000:5")).toEqual({
      runAsUser: { value: 1000n },
      runAsGroup: { value: 5n },
    });
    expect(parseUser("www-data")).toEqual({ runAsUsername: "www-data" });
    expect(() => parseUser("a:b")).toThrow("--user");
  });
});

const request: RunRequest = {
  image: "docker.io/library/Alpine_Linux:3@sha256:00",
  args: ["uname"],
  entrypoint: undefined,
  name: undefined,
  namespace: "default",
  stdin: "none",
  tty: false,
  network: { kind: "pod" },
  pid: "own",
  hostIpc: false,
  privileged: false,
  hostname: undefined,
  readOnly: false,
  capabilities: { add: [], drop: [] },
  devices: [],
  workingDir: undefined,
  envs: [],
  mounts: [],
  ports: [],
  labels: {},
  annotations: {},
  user: {},
  groups: [],
  cdiDevices: [],
  dns: undefined,
  sysctls: {},
  security: parseSecurity([]),
  stopSignal: pb.Signal.RUNTIME_DEFAULT,
  stopSeconds: undefined,
  resources: {},
};

describe("makeRunConfigs()", () => {
  test("invents a valid name, and confines what is not privileged", () => {
    const { sandbox, container } = makeRunConfigs(request);
    expect(sandbox.metadata?.name).toMatch(/^alpine-linux-[0-9a-f]{6}$/);
    expect(sandbox.logDirectory).toBe(runLogDirectory(sandbox.labels[runLabel]) ?? "");
    expect(container.linux?.securityContext?.readonlyPaths).toContain("/proc/sys");
    const { container: free } = makeRunConfigs({ ...request, privileged: true });
    expect(free.linux?.securityContext?.maskedPaths).toEqual([]);
  });

  test("makes the same attempt of the same pod of a name, and logs of its own", () => {
    const [one, two] = [1, 2].map(() => makeRunConfigs({ ...request, name: "web" }).sandbox);
    expect(one?.metadata).toEqual(two?.metadata);
    expect(one?.logDirectory).not.toBe(two?.logDirectory);
    const other = makeRunConfigs({ ...request, name: "web", namespace: "other" }).sandbox;
    expect(other.metadata?.uid).not.toBe(one?.metadata?.uid);
  });

  test("takes an entrypoint as docker does: one program, or nothing of the image's", () => {
    const commandOf = (entrypoint: string | undefined, args: readonly string[]) => {
      const { container } = makeRunConfigs({ ...request, entrypoint, args });
      return [container.command, container.args];
    };
    expect(commandOf(undefined, ["a"])).toEqual([[], ["a"]]);
    expect(commandOf("/bin/x", ["a"])).toEqual([["/bin/x"], ["a"]]);
    expect(commandOf("", ["a", "b"])).toEqual([["a", "b"], []]);
    expect(() => commandOf("", [])).toThrow("a command has to follow");
  });

  test("refuses a name that is none", () => {
    for (const name of ["", "A", "-a", "a/b", "a".repeat(64)]) {
      expect(() => makeRunConfigs({ ...request, name })).toThrow("--name");
    }
  });
});

test("runLogDirectory() names no other directory, whatever the label", () => {
  for (const run of [undefined, "", "..", "../../etc", "demo"]) {
    expect(runLogDirectory(run)).toBeUndefined();
  }
});
