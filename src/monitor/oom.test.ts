import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { isOomKill, readOomKilled } from "./oom.ts";

const id = "4bfd02e1cda6".padEnd(64, "0");
const kill = (path: string) =>
  `6,801,3680965302,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/kubepods,task_memcg=${path},task=sh,pid=10389,uid=0\n`;

test("isOomKill() finds the cgroup, and one below it, and no other", () => {
  expect(isOomKill(kill(`/kubepods.slice/crib-${id}.scope`), `crib-${id}.scope`)).toBe(true);
  expect(isOomKill(kill(`/kubepods/${id}/child`), id)).toBe(true);
  expect(isOomKill(kill(`/kubepods/${id}0`), id)).toBe(false);
  expect(isOomKill(kill("/kubepods"), id)).toBe(false);
  const group = `6,9,1,-;Tasks in /kubepods/${id} are going to be killed due to memory.oom.group set\n`;
  expect(isOomKill(group, id)).toBe(true);
});

test("isOomKill() believes no process that writes such a line into the kernel's log by its name", () => {
  const forged = `6,802,1,-;oom-kill:constraint=CONSTRAINT_MEMCG,task_memcg=/kubepods/other,task=${id},pid=1,uid=0\n`;
  expect(isOomKill(forged, id)).toBe(false);
});

test("readOomKilled() believes the count while the cgroup is there, and a log that cannot be read never", () => {
  const dir = mkdtempSync(`${tmpdir()}/crib-oom-`);
  try {
    const file = `${dir}/memory.events`;
    writeFileSync(`${dir}/log`, kill(`/${dir.split("/").at(-1)}`));
    writeFileSync(file, "oom 1\noom_kill 0\n");
    expect(readOomKilled([file], `${dir}/log`)).toBe(false);
    writeFileSync(file, "oom_kill 2\n");
    expect(readOomKilled([file])).toBe(true);
    rmSync(file);
    expect(readOomKilled([file], `${dir}/none`)).toBe(false);
    expect(readOomKilled([file], `${dir}/log`)).toBe(true);
    expect(readOomKilled([], `${dir}/log`)).toBe(false);
  } finally {
    rmSync(dir, { recursive: true });
  }
});
