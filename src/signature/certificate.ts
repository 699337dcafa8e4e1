import { X509Certificate } from "@sigstore/core";
import { failedPrecondition, invalidArgument } from "../lib/errors.ts";
import { nameOf, pemBlocks, readMaterial } from "./material.ts";
import type { Material } from "./requirement.ts";

export function readAuthorities(material: Material): readonly X509Certificate[] {
  const blocks = pemBlocks(readMaterial(material).toString("latin1"), "CERTIFICATE");
  if (blocks.length === 0) throw failedPrecondition(`${nameOf(material)}: no certificate in PEM`);
  try {
    return blocks.map((pem) => X509Certificate.parse(pem));
  } catch (cause) {
    throw failedPrecondition(`${nameOf(material)}: not a certificate`, cause);
  }
}

const maxDepth = 5;
const extendedKeyUsage = "2.5.29.37";
const codeSigning = "1.3.6.1.5.5.7.3.3";

/**
 * Throws unless the first certificate was one for signing code at that time, by way of the others from one of the authorities.
 * (Which certificate logs have seen it is not asked: containers' policies have no keys of such logs.)
 */
export function checkChain(
  [leaf, ...others]: readonly X509Certificate[],
  authorities: readonly X509Certificate[],
  at: Date,
): void {
  if (leaf === undefined) throw invalidArgument("it has no certificate");
  const usages = leaf
    .extension(extendedKeyUsage)
    ?.valueObj.subs[0]?.subs.map((usage) => usage.toOID());
  if (usages?.includes(codeSigning) !== true) {
    throw invalidArgument("its certificate is not one for signing code");
  }
  let certificate = leaf;
  for (let depth = 0; depth < maxDepth; depth++) {
    if (!certificate.validForDate(at)) {
      throw invalidArgument(`its certificate was not valid at ${at.toISOString()}`);
    }
    const isIssuer = (other: X509Certificate) => isIssuedBy(certificate, other, depth);
    if (authorities.some((authority) => authority.validForDate(at) && isIssuer(authority))) return;
    const next = others.find(isIssuer);
    if (next === undefined) break;
    certificate = next;
  }
  throw invalidArgument("its certificate is not from the policy's authority");
}

/** `below`: how many authorities are between the issuer and the signer. */
function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate, below: number): boolean {
  const limit = issuer.extBasicConstraints?.pathLenConstraint;
  return (
    issuer.isCA &&
    (limit === undefined || limit >= BigInt(below)) &&
    issuer.subject.equals(certificate.issuer) &&
    certificate.verify(issuer)
  );
}

export interface CertificateIdentity {
  /** An e-mail address or a URI; the first one where there are several. */
  readonly subject: string | undefined;
  readonly email: string | undefined;
  /** Who has vouched for the subject. */
  readonly issuer: string | undefined;
}

/** Fulcio's extensions: the issuer as a string of DER, or in old certificates as it is. */
const issuerExtension = "1.3.6.1.4.1.57264.1.8";
const oldIssuerExtension = "1.3.6.1.4.1.57264.1.1";

export function identityOf(certificate: X509Certificate): CertificateIdentity {
  const issuer =
    certificate.extension(issuerExtension)?.valueObj.subs[0]?.value ??
    certificate.extension(oldIssuerExtension)?.value;
  return {
    subject: certificate.subjectAltName,
    email: certificate.extSubjectAltName?.rfc822Name,
    issuer: issuer?.toString("utf8"),
  };
}
