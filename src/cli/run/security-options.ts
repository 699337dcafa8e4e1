import { existsSync } from "node:fs";
import { constants } from "node:os";
import { resolve } from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import * as pb from "../../gen/runtime/v1/api_pb.ts";
import { notFound } from "../../lib/errors.ts";
import { UsageError } from "../failure.ts";

export interface RunSecurity {
  readonly noNewPrivs: boolean;
  readonly seccomp: MessageInitShape<typeof pb.SecurityProfileSchema>;
  readonly apparmor: MessageInitShape<typeof pb.SecurityProfileSchema> | undefined;
  /** What a kubelet hides of /proc and /sys is shown. */
  readonly showsSystemPaths: boolean;
}

const { RuntimeDefault, Unconfined, Localhost } = pb.SecurityProfile_ProfileType;

/** Docker's --security-opt: `NAME=VALUE` or, as it had it once, `NAME:VALUE`. */
export function parseSecurity(texts: readonly string[]): RunSecurity {
  const chosen = {
    noNewPrivs: false,
    seccomp: { profileType: RuntimeDefault } as RunSecurity["seccomp"],
    apparmor: undefined as RunSecurity["apparmor"],
    showsSystemPaths: false,
  };
  for (const text of texts) {
    const [, name = "", value] = /^([a-z-]+)(?:[=:](.*))?$/.exec(text) ?? [];
    switch (name) {
      case "no-new-privileges":
        if (value !== undefined && value !== "true" && value !== "false") throw fail(text);
        chosen.noNewPrivs = value !== "false";
        break;
      case "seccomp":
        chosen.seccomp = parseSeccomp(text, value);
        break;
      case "apparmor":
        if (value === undefined || value === "") throw fail(text);
        chosen.apparmor =
          value === "unconfined"
            ? { profileType: Unconfined }
            : { profileType: Localhost, localhostRef: value };
        break;
      case "systempaths":
        if (value !== "unconfined") throw fail(text);
        chosen.showsSystemPaths = true;
        break;
      default:
        throw fail(text);
    }
  }
  return chosen;
}

function parseSeccomp(text: string, value: string | undefined): RunSecurity["seccomp"] {
  if (value === undefined || value === "") throw fail(text);
  if (value === "unconfined") return { profileType: Unconfined };
  if (value === "builtin") return { profileType: RuntimeDefault };
  const localhostRef = resolve(value);
  if (!existsSync(localhostRef)) throw notFound(`--security-opt ${text}: no file ${localhostRef}`);
  return { profileType: Localhost, localhostRef };
}

function fail(text: string): UsageError {
  return new UsageError(
    `--security-opt ${text}: not no-new-privileges, seccomp=unconfined|builtin|FILE, apparmor=unconfined|NAME or systempaths=unconfined`,
  );
}

/** Docker's names are any case, with or without SIG, or a number. */
export function parseStopSignal(text: string | undefined): pb.Signal {
  if (text === undefined) return pb.Signal.RUNTIME_DEFAULT;
  const name = signalName(text);
  const signal = name === undefined ? undefined : byName[name];
  if (signal === undefined) throw new UsageError(`--stop-signal ${text}: no signal`);
  return signal;
}

const byName = pb.Signal as Readonly<Record<string, pb.Signal | undefined>>;

function signalName(text: string): string | undefined {
  if (!/^\d{1,2}$/.test(text))
    return `SIG${text.toUpperCase().replace(/^SIG/, "").replace("+", "PLUS").replace("-", "MINUS")}`;
  return Object.entries(constants.signals).find(([, number]) => number === Number(text))?.[0];
}
