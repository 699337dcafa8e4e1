import { type AppError, invalidArgument } from "../../lib/errors.ts";

const maxNameLength = 1024;
// What containerd and CRI-O take.
const maxLabelBytes = 4096;

/** Names are kept, compared and shown; nothing makes a path of them. */
export function checkName(field: string, name: string): void {
  if (name === "") throw invalidArgument(`${field} is missing`);
  if (name.length > maxNameLength)
    throw invalidArgument(`${field}: over ${maxNameLength} characters`);
  if (/\p{Cc}/u.test(name)) throw fail(field, name, "a control character");
}

export function checkLabels(labels: Readonly<Record<string, string>>): void {
  for (const [key, value] of Object.entries(labels)) {
    if (Buffer.byteLength(key) + Buffer.byteLength(value) > maxLabelBytes) {
      throw fail("config.labels", key, `key and value over ${maxLabelBytes} bytes`);
    }
  }
}

/** What is wrong with a field, with the beginning of its value. */
export function fail(field: string, value: string, wrong: string): AppError {
  return invalidArgument(`${field} ${JSON.stringify(value.slice(0, 100))}: ${wrong}`);
}
