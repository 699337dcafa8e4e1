/** The other side speaks no TLS that we do; it may be HTTP. */
export const noTls = "EPROTO";

const clock = "or this node's clock is wrong";

/** What people can do something about, by the code that OpenSSL or the runtime has for it. */
const words: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: `its certificate has expired, ${clock}`,
  CERT_NOT_YET_VALID: `its certificate is not valid yet, ${clock}`,
  ERR_TLS_CERT_ALTNAME_INVALID: "its certificate is for another host",
  [noTls]: "no TLS handshake: it speaks plain HTTP, an old TLS, or wants a client certificate",
};

/** Codes of certificates that nobody vouches for, of broken ones, and of those that were revoked. */
const untrusted =
  /^(?:SELF_SIGNED_CERT_IN_CHAIN|DEPTH_ZERO_SELF_SIGNED_CERT|UNABLE_TO_\w+|(?:ERR_TLS_)?CERT_\w+|INVALID_(?:CA|PURPOSE)|PATH_LENGTH_EXCEEDED|HOSTNAME_MISMATCH)$/;

/** Why the other side was not believed, in words; undefined for any other failure of a connection. Trying again changes nothing. */
export function tlsFailure(code: string): string | undefined {
  const known = words[code];
  if (known !== undefined) return `${known} (${code})`;
  return untrusted.test(code)
    ? `its certificate is from nobody whom this node trusts (${code})`
    : undefined;
}
