import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { type TempDir, tempDir } from "../../../test/harness/temp-dir.ts";
import { CpuRate } from "./cpu-rate.ts";
import { OpenCgroups } from "./open-cgroups.ts";
import { parseNumber, parsePressure } from "./values.ts";

const cgroup = "/kubepods/pod1/c1";
let temp: TempDir;

beforeEach(() => {
  temp = tempDir();
});
afterEach(() => temp[Symbol.dispose]());

function write(files: Readonly<Record<string, string>>): void {
  for (const [path, text] of Object.entries(files)) {
    const [hierarchy = "", name = ""] = path.split("/");
    const file = `${temp.path}/${hierarchy}${cgroup}/${name}`;
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  }
}

function version1() {
  const controllers = ["cpu", "cpuacct", "memory", "blkio", "pids", "hugetlb"];
  return {
    roots: new Map(controllers.map((name) => [name, `${temp.path}/${name}`])),
    unified: undefined as string | undefined,
  };
}

function version2() {
  const unified = `${temp.path}/unified`;
  const controllers = ["cpu", "memory", "io", "pids"];
  return { roots: new Map(controllers.map((name) => [name, unified])), unified };
}

const psi = (some: number, full: number) =>
  `some avg10=1.50 avg60=0.25 avg300=0.00 total=${some}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=${full}\n`;
const line = (totalNs: bigint, avg10 = 0, avg60 = 0) => ({ totalNs, avg10, avg60, avg300: 0 });

const memoryV1 = [
  "cache 111",
  "total_cache 4096",
  "total_rss 8192",
  "total_mapped_file 2048",
  "total_swap 512",
  "pgfault 20",
  "pgmajfault 1",
  "total_pgfault 25",
  "total_pgmajfault 2",
  "total_inactive_file 1000",
  "hierarchical_memory_limit 33554432",
  "hierarchical_memsw_limit 33554432",
].join("\n");

describe("version 1", () => {
  beforeEach(() => {
    write({
      "cpuacct/cpuacct.usage": "18446744073709551\n",
      "cpuacct/cpuacct.usage_user": "5000000000\n",
      "cpuacct/cpuacct.usage_sys": "3000000000\n",
      "cpu/cpu.stat": "nr_periods 10\nnr_throttled 3\nthrottled_time 2500000000\n",
      "memory/memory.usage_in_bytes": "16384\n",
      "memory/memory.limit_in_bytes": "67108864\n",
      "memory/memory.memsw.limit_in_bytes": "9223372036854771712\n",
      "memory/memory.max_usage_in_bytes": "20000\n",
      "memory/memory.failcnt": "7\n",
      "memory/memory.kmem.usage_in_bytes": "300\n",
      "memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
      "memory/memory.stat": `${memoryV1}\n`,
      "blkio/blkio.throttle.io_service_bytes_recursive":
        "8:0 Read 100\n8:0 Write 200\n8:0 Total 300\nTotal 300\n",
      "blkio/blkio.throttle.io_serviced_recursive": "8:0 Read 1\n8:0 Write 2\n8:0 Total 3\n",
      "pids/pids.current": "4\n",
      "pids/pids.max": "max\n",
      "pids/cgroup.procs": "12\n0\n14\n",
    });
  });

  test("usage, in full precision", () => {
    using cgroups = new OpenCgroups(version1());
    expect(cgroups.read(cgroup)).toEqual({
      cpu: { usageNs: 18446744073709551n, pressure: undefined },
      nanoCores: undefined,
      memory: {
        usageBytes: 16384,
        workingSetBytes: 15384,
        availableBytes: 67108864 - 15384,
        rssBytes: 8192,
        pageFaults: 25,
        majorPageFaults: 2,
        pressure: undefined,
      },
      swap: { usageBytes: 512, availableBytes: undefined },
      ioPressure: undefined,
    });
  });

  test("what is left is left of its own limit, not of one above it", () => {
    const read = (limit: string, together: string) => {
      write({
        "memory/memory.limit_in_bytes": limit,
        "memory/memory.memsw.limit_in_bytes": together,
      });
      using cgroups = new OpenCgroups(version1());
      const { memory, swap } = cgroups.read(cgroup);
      return [memory?.availableBytes, swap?.availableBytes];
    };
    const unlimited = "9223372036854771712\n";
    expect(read(unlimited, unlimited)).toEqual([undefined, undefined]);
    expect(read("20000\n", "21000\n")).toEqual([20000 - 15384, 1000 - 512]);
    expect(read("20000\n", "20000\n")).toEqual([20000 - 15384, 0]);
  });

  test("details", () => {
    using cgroups = new OpenCgroups(version1());
    expect(cgroups.readDetails(cgroup)).toMatchObject({
      cpu: {
        userNs: 5_000_000_000n,
        systemNs: 3_000_000_000n,
        periods: 10,
        throttledPeriods: 3,
        throttledNs: 2_500_000_000n,
      },
      memory: {
        cacheBytes: 4096,
        mappedFileBytes: 2048,
        kernelBytes: 300,
        swapBytes: 512,
        peakBytes: 20000,
        limitHits: 7,
        oomKills: 2,
        ownPageFaults: 20,
        ownMajorPageFaults: 1,
      },
      disks: [{ major: 8, minor: 0, readBytes: 100, writtenBytes: 200, reads: 1, writes: 2 }],
      tasks: { current: 4, max: undefined },
    });
  });

  test("processes, those of cgroups inside too", () => {
    using cgroups = new OpenCgroups(version1());
    expect(cgroups.readProcesses(cgroup)).toEqual([12, 14]);
    mkdirSync(`${temp.path}/pids${cgroup}/init.scope`);
    writeFileSync(`${temp.path}/pids${cgroup}/init.scope/cgroup.procs`, "15\n");
    expect(cgroups.readProcesses(cgroup)).toEqual([12, 14, 15]);
  });

  test("pressure from the version 2 hierarchy beside it", () => {
    write({
      "unified/cpu.pressure": psi(3, 1),
      "unified/memory.pressure": psi(0, 0),
      "unified/io.pressure": psi(9, 9),
    });
    using cgroups = new OpenCgroups({ ...version1(), unified: `${temp.path}/unified` });
    const { cpu, memory, ioPressure } = cgroups.read(cgroup);
    expect(cpu).toMatchObject({ usageNs: 18446744073709551n });
    expect(cpu?.pressure).toEqual({ some: line(3000n, 1.5, 0.25), full: line(1000n) });
    expect(memory?.pressure?.some.totalNs).toBe(0n);
    expect(ioPressure?.full.totalNs).toBe(9000n);
  });
});

describe("version 2", () => {
  beforeEach(() => {
    write({
      "unified/cpu.stat":
        "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\nnr_periods 2\nnr_throttled 1\nthrottled_usec 40\n",
      "unified/memory.current": "9000\n",
      "unified/memory.max": "max\n",
      "unified/memory.peak": "9500\n",
      "unified/memory.stat":
        "anon 3000\nfile 5000\nkernel 700\nfile_mapped 100\ninactive_file 10000\npgfault 8\npgmajfault 0\n",
      "unified/memory.events": "low 0\nhigh 0\nmax 5\noom 1\noom_kill 1\n",
      "unified/memory.swap.current": "64\n",
      "unified/memory.swap.max": "1064\n",
      "unified/cpu.pressure": psi(7, 0),
      "unified/io.stat": "254:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n7:0 \n",
      "unified/pids.current": "1\n",
      "unified/pids.max": "100\n",
    });
  });

  test("usage; a working set is never negative", () => {
    using cgroups = new OpenCgroups(version2());
    expect(cgroups.read(cgroup)).toMatchObject({
      cpu: { usageNs: 1_500_000n },
      memory: { usageBytes: 9000, workingSetBytes: 0, availableBytes: undefined, rssBytes: 3000 },
      swap: { usageBytes: 64, availableBytes: 1000 },
    });
  });

  test("details", () => {
    using cgroups = new OpenCgroups(version2());
    const { cpu, memory, disks, hugePages, tasks } = cgroups.readDetails(cgroup);
    expect(cpu.throttledNs).toBe(40_000n);
    expect(memory).toMatchObject({ kernelBytes: 700, peakBytes: 9500, limitHits: 5, oomKills: 1 });
    expect(memory.ownPageFaults).toBeUndefined();
    expect(disks[0]).toEqual({
      ...{ major: 254, minor: 0 },
      ...{ readBytes: 10, writtenBytes: 20, reads: 1, writes: 2 },
    });
    expect(hugePages).toEqual([]);
    expect(tasks).toEqual({ current: 1, max: 100 });
  });
});

describe("descriptors", () => {
  const openFiles = () => readdirSync("/proc/self/fd").length;

  test("are kept open, see changes, and are closed when the cgroup is forgotten", () => {
    write({ "unified/cpu.stat": "usage_usec 1\n", "unified/memory.current": "5\n" });
    const before = openFiles();
    using cgroups = new OpenCgroups(version2());
    cgroups.read(cgroup);
    const kept = openFiles();
    expect(kept).toBeGreaterThan(before);
    write({ "unified/memory.current": "123456\n" });
    expect(cgroups.read(cgroup).memory?.usageBytes).toBe(123456);
    expect(openFiles()).toBe(kept);
    cgroups.forget(cgroup);
    cgroups.forget(cgroup);
    expect(openFiles()).toBe(before);
  });

  test("are bounded, and further cgroups are read all the same", () => {
    write({ "unified/cpu.stat": "usage_usec 1\n", "unified/memory.current": "5\n" });
    const before = openFiles();
    using cgroups = new OpenCgroups(version2(), { maxOpenFiles: 1 });
    expect(cgroups.read(cgroup).memory?.usageBytes).toBe(5);
    expect(cgroups.read(cgroup).cpu?.usageNs).toBe(1000n);
    expect(openFiles()).toBe(before + 1);
  });

  test("a cgroup that is not there has no figures", () => {
    using cgroups = new OpenCgroups(version1());
    expect(cgroups.read(cgroup)).toEqual({
      ...{ cpu: undefined, nanoCores: undefined, memory: undefined },
      ...{ swap: undefined, ioPressure: undefined },
    });
    rmSync(temp.path, { recursive: true });
    expect(cgroups.readDetails(cgroup).disks).toEqual([]);
    expect(cgroups.readProcesses(cgroup)).toEqual([]);
  });

  test("a path that leads out of the hierarchy is refused", () => {
    using cgroups = new OpenCgroups(version1());
    expect(() => cgroups.read("/../../etc")).toThrow("not a cgroup");
  });
});

test("CPU rates are between readings at least a second apart", () => {
  const rate = new CpuRate();
  const second = 1_000_000_000n;
  expect(rate.next(0n, 0n)).toBeUndefined();
  expect(rate.next(400n, second / 2n)).toBeUndefined();
  expect(rate.next(second / 2n, 2n * second)).toBe(second / 4n);
  expect(rate.next(second, 2n * second + 1n)).toBe(second / 4n); // too soon: the last one again
  expect(rate.next(5n, 4n * second)).toBeUndefined(); // another cgroup under the same name
});

test("numbers that mean no limit are none", () => {
  const texts = ["max\n", "9223372036854771712\n", "", "abc", "5\n"];
  expect(texts.map(parseNumber)).toEqual([undefined, undefined, undefined, undefined, 5]);
});

test("pressure without a line for full, and what is no pressure", () => {
  expect(parsePressure("some avg10=0.00 avg60=0.00 avg300=0.00 total=5\n")).toEqual({
    some: line(5000n),
    full: line(0n),
  });
  expect(parsePressure("")).toBeUndefined();
  expect(parsePressure("some avg10=x")).toBeUndefined();
});
