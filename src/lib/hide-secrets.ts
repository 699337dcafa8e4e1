const hidden = "***";

const words =
  "password|passwd|passphrase|secret|token|credential|api_?key|private_?key|access_?key";
const named = new RegExp(
  `((?:${words})[\\w-]*\\\\?["']?\\s*[=:]\\s*)(\\\\?"[^"]*"|'[^']*'|[^\\s,&]+)`,
  "gi",
);

/**
 * Takes out of a text, or of each of a list, what is likely to be secret: user names and passwords in URLs, what follows a
 * word for a secret, and what authorizes HTTP requests.
 */
export function hideSecrets(value: unknown): unknown {
  if (Array.isArray(value)) return value.map((entry) => hideSecrets(entry));
  return typeof value === "string" ? hideSecretsIn(value) : value;
}

/** The same of one text. */
export function hideSecretsIn(text: string): string {
  return text
    .replace(/(\/\/)[^/@\s"']+@/g, `$1${hidden}@`)
    .replace(
      /((?:proxy-)?authorization\\?["']?\s*[=:]\s*\\?["']?)[^\s"',;]+(?:\s+[^\s"',;]+)?/gi,
      `$1${hidden}`,
    )
    .replace(/\b(bearer|basic)(\s+)(?=[^\s"']*[\d=+/])[\w.~+/=-]{6,}/gi, `$1$2${hidden}`)
    .replace(named, `$1${hidden}`);
}
