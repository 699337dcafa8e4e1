import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const source = join(import.meta.dir, "..");

interface LogEvent {
  readonly name: string;
  readonly levels: ReadonlySet<string>;
  readonly fields: ReadonlySet<string>;
  readonly folders: ReadonlySet<string>;
}

/** All that the source logs, by name: `log.warn("name", { field, ... })`. */
function logEvents(): readonly LogEvent[] {
  const events = new Map<string, Record<"levels" | "fields" | "folders", Set<string>>>();
  for (const file of new Bun.Glob("**/*.ts").scanSync(source)) {
    if (file.endsWith(".test.ts") || file.startsWith("gen/")) continue;
    const text = readFileSync(join(source, file), "utf8");
    for (const match of text.matchAll(/\blog(\.[a-z]+|\[[^;()]*\])\(\s*"([^"]+)"(,\s*\{)?/gi)) {
      const [all, level = "", name = "", object] = match;
      const event = events.get(name) ?? {
        levels: new Set(),
        fields: new Set(),
        folders: new Set(),
      };
      events.set(name, event);
      for (const one of level.startsWith(".") ? [level.slice(1)] : ["debug", "info", "error"]) {
        event.levels.add(one);
      }
      event.folders.add(file.slice(0, file.indexOf("/")));
      if (object === undefined) continue;
      for (const key of keysAt(text, match.index + all.length)) event.fields.add(key);
    }
  }
  return [...events]
    .map(([name, sets]) => ({ name, ...sets }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** The keys of the object literal whose inside begins at `start`, also of literals that are spread into it. */
function keysAt(text: string, start: number): readonly string[] {
  const keys: string[] = [];
  let depth = 1;
  let isKey = true;
  for (let at = start; depth > 0 && at < text.length; at++) {
    const rest = text.slice(at, at + 80);
    const word = /^[a-z_][a-z_0-9]*/i.exec(rest)?.[0];
    if (isKey && word !== undefined) {
      if (/^\s*[:,}]/.test(rest.slice(word.length))) keys.push(word);
      isKey = false;
      at += word.length - 1;
    } else if (rest.startsWith('"')) {
      at = text.indexOf('"', at + 1);
    } else if ("{([".includes(rest[0] ?? "")) {
      depth++;
      isKey = rest[0] === "{" && depth > 1 && /\.\.\.\([^;]*$/.test(text.slice(start, at));
    } else if ("})]".includes(rest[0] ?? "")) {
      depth--;
      isKey = false;
    } else if (rest.startsWith(",") && depth === 1) {
      isKey = true;
    } else if (!/\s/.test(rest[0] ?? "")) {
      isKey = false;
    }
  }
  return keys;
}

/** docs/log-events.md */
function logReference(): string {
  const rows = logEvents().map(({ name, levels, fields, folders }) => {
    const list = (set: ReadonlySet<string>) => [...set].sort().join(", ");
    const keys = [...fields].sort().map((key) => `\`${key}\``);
    return `| ${name} | ${list(levels)} | ${keys.join(" ")} | ${list(folders)} |`;
  });
  return `# Log events

The daemon, its monitors and its other child processes log to standard error, one line an event: JSON where
\`log.format\` is \`json\`, else \`time LEVEL event key="value"\`. The name of an event is stable from one version to the next
(\`msg\` in JSON): alerts and searches can rely on it, [CHANGELOG.md](../CHANGELOG.md) names those that change.

The level says what an event means. **info**: something has changed as it was asked for. **warn**: something unusual was
handled. **error**: a call, a command or the daemon failed. **debug**: a step, for whoever looks for a fault
(\`log.level = "debug"\`, also by \`crib config reload\` without a restart).

In every line \`sandbox\`, \`container\`, \`image\` and \`digest\` say what it is about; in lines of a call \`rpc\` is its name. \`err\` is why
something failed, \`cleanup_err\` why something could not be removed afterwards, \`duration_ms\` how long it took. A call that
changes nothing is logged at debug; one that fails by its client's mistake (NotFound, InvalidArgument and their like)
as what it would have been; repeated failures are left out after a while, and \`left_out\` counts them.

| event | level | fields of its own | logged by \`src/\` |
| --- | --- | --- | --- |
${rows.join("\n")}
`;
}

test("an event has a name that says what happened, and no values in it", () => {
  const names = logEvents().map(({ name }) => name);
  expect(names.length).toBeGreaterThan(100);
  for (const name of names) {
    expect(name).toMatch(/^[A-Za-z][\w, -]*$/);
    expect(name.split(" ").length).toBeGreaterThan(
      name === "serving" || name === "stopping" ? 0 : 1,
    );
  }
});

test("docs/log-events.md is what the source logs (UPDATE_DOCS=1 writes it)", () => {
  const file = join(source, "../docs/log-events.md");
  const text = logReference();
  if (Bun.env["UPDATE_DOCS"] === "1") writeFileSync(file, text);
  expect(readFileSync(file, "utf8")).toBe(text);
});
