import { readFileSync } from "node:fs";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type * as pb from "../../gen/runtime/v1/api_pb.ts";
import { UsageError } from "../failure.ts";

const maxBytes = 1 << 20;

/**
 * As docker reads it: `NAME=VALUE` a line, the value as it is, quotes too; `NAME` for the value it has here, if it has
 * one; blanks in front, empty lines and those that begin with # count for nothing.
 */
export function readEnvFile(
  file: string,
  variables: Readonly<Record<string, string | undefined>>,
): readonly MessageInitShape<typeof pb.KeyValueSchema>[] {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (cause) {
    throw Object.assign(new UsageError(`--env-file ${file}: cannot be read`), { cause });
  }
  if (bytes.byteLength > maxBytes) throw new UsageError(`--env-file ${file}: over 1 MiB`);
  const text = bytes.toString("utf8").replace(/^\ufeff/, "");
  return text.split(/\r?\n/).flatMap((line, i) => {
    const entry = line.trimStart();
    if (entry === "" || entry.startsWith("#")) return [];
    const equals = entry.indexOf("=");
    const key = equals < 0 ? entry : entry.slice(0, equals);
    if (key === "" || /\s/.test(key)) {
      throw new UsageError(`--env-file ${file}: line ${i + 1}: not NAME=VALUE`);
    }
    const value = equals < 0 ? variables[key] : entry.slice(equals + 1);
    return value === undefined ? [] : [{ key, value: Buffer.from(value) }];
  });
}
