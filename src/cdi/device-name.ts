import { invalidArgument } from "../lib/errors.ts";

/** `vendor.example/class=name` in its parts. */
export interface DeviceName {
  /** `vendor.example/class` */
  readonly kind: string;
  readonly name: string;
}

const kindPattern =
  /^[A-Za-z]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?\/[A-Za-z]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?$/;
const namePattern = /^[A-Za-z0-9]([A-Za-z0-9_.:-]{0,251}[A-Za-z0-9])?$/;

/** A fully qualified device name (CDI specification, "Fully Qualified Device Name"). */
export function parseDeviceName(text: string): DeviceName {
  const [kind = "", name = "", ...rest] = text.split("=");
  if (rest.length === 0 && kindPattern.test(kind) && namePattern.test(name)) return { kind, name };
  throw invalidArgument(`CDI device ${JSON.stringify(text.slice(0, 200))}: not vendor/class=name`);
}

export function parseKind(text: string, what: string): string {
  if (kindPattern.test(text)) return text;
  throw invalidArgument(`${what}: not vendor/class`);
}

export function parseShortName(text: string, what: string): string {
  if (namePattern.test(text)) return text;
  throw invalidArgument(`${what}: not a device name`);
}
