import { readLimited } from "../lib/collect.ts";
import { AppError, type ErrorKind } from "../lib/errors.ts";
import { asArray, asObject, asString, parseJson } from "../lib/json.ts";

/** A registry said no, or could not be asked (`status` 0). Messages never hold a query, a password or a token. */
export class RegistryError extends AppError {
  override readonly name: string = "RegistryError";
  readonly status: number;
  /** The specification's error codes: MANIFEST_UNKNOWN, DENIED, ... */
  readonly codes: readonly string[];
  /** What a Retry-After header asked for. */
  readonly retryAfterMs: number | undefined;
  /** Why there is no connection, as the runtime calls it (ECONNREFUSED, EPROTO); undefined where the host responded. */
  readonly connectionCode: string | undefined;

  constructor(
    message: string,
    status: number,
    options: {
      readonly codes?: readonly string[];
      readonly retryAfterMs?: number | undefined;
      readonly connectionCode?: string;
      readonly cause?: unknown;
    } = {},
  ) {
    const kind = kindOfStatus(status);
    super(message, {
      kind,
      ...(kind === "unavailable" ? { reason: "RegistryUnavailable" } : {}),
      ...("cause" in options ? { cause: options.cause } : {}),
    });
    this.status = status;
    this.codes = options.codes ?? [];
    this.retryAfterMs = options.retryAfterMs;
    this.connectionCode = options.connectionCode;
  }

  get isTransient(): boolean {
    return this.kind === "unavailable";
  }
}

/** The other side says nothing any more: another host may be better than waiting again. */
export class StalledError extends RegistryError {
  constructor(message: string) {
    super(message, 0);
  }
}

function kindOfStatus(status: number): ErrorKind {
  if (status === 401) return "unauthenticated";
  if (status === 403) return "permission-denied";
  if (status === 404) return "not-found";
  if (status === 0 || status === 408 || status === 429 || status >= 500) return "unavailable";
  return "failed-precondition";
}

const maxErrorBytes = 16 << 10;
const maxRetryAfterMs = 30_000;
const codePattern = /^[A-Z_]{1,64}$/;

/** Reads what the registry says about a failed request; its free text is not repeated. `note` is ours. */
export async function errorOfResponse(
  step: string,
  response: Response,
  note = "",
): Promise<RegistryError> {
  const codes = await readCodes(response);
  const detail = codes.length === 0 ? "" : ` ${codes.join(", ")}`;
  const message = `${step}: ${response.status}${detail}${note === "" ? "" : ` (${note})`}`;
  return new RegistryError(message, response.status, {
    codes,
    retryAfterMs: retryAfter(response.headers.get("retry-after")),
  });
}

/** Seconds, or a date; never more than half a minute. */
function retryAfter(header: string | null): number | undefined {
  if (header === null || header.length > 64) return undefined;
  const ms = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(ms, 0), maxRetryAfterMs);
}

async function readCodes(response: Response): Promise<readonly string[]> {
  try {
    const body = asObject(
      parseJson(await readLimited(response.body, maxErrorBytes), "error", {
        maxBytes: maxErrorBytes,
      }),
      "error",
    );
    return asArray(body["errors"], "errors")
      .slice(0, 5)
      .map((entry) => asString(asObject(entry, "error")["code"], "code"))
      .filter((code) => codePattern.test(code));
  } catch {
    return [];
  }
}

/** A URL for messages: no user, no query, no fragment, which may be signatures and tokens. */
export function redactUrl(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}`;
}
