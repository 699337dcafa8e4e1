const hidden = "***";

const words =
  "password|passwd|passphrase|secret|token|credential|api_?key|private_?key|access_?key";
/** Strings of JSON, and of JSON in a string of JSON: with the quotes that they have inside. */
const json = String.raw`"(?:[^"\\]|\\.)*"`;
const jsonInJson = String.raw`\\"(?:[^"\\]|\\\\(?:\\.|[^"\\]))*\\"`;
const secret = String.raw`${jsonInJson}|${json}|'(?:[^']|'')*'|[^\s,&]+`;

const named = new RegExp(String.raw`((?:${words})[\w-]{0,64}\\?["']?\s*[=:]\s*)(${secret})`, "gi");
/** An option of a command and the next word. */
const option = new RegExp(
  String.raw`((?<![\w-])--?(?:[\w-]{1,64}-)?(?:${words})[ \t]+)(?!-)(${secret})`,
  "gi",
);
/** Of Docker's config.json. */
const auth = new RegExp(String.raw`(\\?["']auth\\?["']\s*:\s*)(${secret})`, "gi");
const headers = "(?:proxy-)?authorization|x-registry-auth|(?:set-)?cookie";
const header = new RegExp(
  String.raw`((?:${headers})\\?["']?\s*[=:]\s*\\?["']?)[^\s"',;]+(?:\s+[^\s"',;]+)?`,
  "gi",
);

/**
 * Takes out of a text, or of each of a list, what is likely to be secret: user names and passwords in URLs, signatures of
 * URLs, what follows a word for a secret, what authorizes HTTP requests, and private keys.
 */
export function hideSecrets(value: unknown): unknown {
  if (Array.isArray(value)) return value.map((entry) => hideSecrets(entry));
  return typeof value === "string" ? hideSecretsIn(value) : value;
}

/** The same of one text. */
export function hideSecretsIn(text: string): string {
  return text
    .replace(/(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(-----END|$)/gs, `$1${hidden}$2`)
    .replace(/(\/\/)[^/\s"]+@/g, `$1${hidden}@`)
    .replace(/([?&](?:[\w-]{0,64}signature|sig)=)[^\s&"']+/gi, `$1${hidden}`)
    .replace(header, `$1${hidden}`)
    .replace(/\b(bearer|basic)(\s+)(?=[^\s"']*[\d=+/])[\w.~+/=-]{6,}/gi, `$1$2${hidden}`)
    .replace(auth, `$1${hidden}`)
    .replace(option, `$1${hidden}`)
    .replace(named, `$1${hidden}`);
}
