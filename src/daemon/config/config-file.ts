import { invalidArgument } from "../../lib/errors.ts";
import type { FileConfig } from "./config-schema.ts";
import { buildConfig, checkGiven, dotted, type Given } from "./given.ts";
import { readToml, TomlError, type TomlStatement } from "./toml.ts";

const maxFileBytes = 64 << 10;

/** Reads the text of one configuration file. What is wrong is said with the file's name, line and key. */
export function readConfigText(source: string, fileName: string): readonly Given[] {
  if (Buffer.byteLength(source) > maxFileBytes) {
    throw invalidArgument(`${fileName}: over ${maxFileBytes} bytes`);
  }
  return statementsOf(source, fileName).map(({ keyPath, line, value }) =>
    checkGiven({ keyPath, value, origin: `${fileName}:${line}` }),
  );
}

function statementsOf(source: string, fileName: string): readonly TomlStatement[] {
  try {
    return readToml(source);
  } catch (err) {
    if (!(err instanceof TomlError)) throw err;
    const [, key] = /^\s*([^=#]+?)\s*=/.exec(source.split("\n")[err.line - 1] ?? "") ?? [];
    const where = key === undefined ? "" : `${key.slice(0, 100)}: `;
    throw invalidArgument(`${fileName}:${err.line}:${err.column}: ${where}${err.message}`);
  }
}

/** The configuration that one file by itself is. */
export function parseConfig(source: string, fileName: string): FileConfig {
  const given = readConfigText(source, fileName);
  return buildConfig(new Map(given.map((entry) => [dotted(entry.keyPath), entry])));
}
