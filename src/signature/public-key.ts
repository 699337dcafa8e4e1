import { constants, createPublicKey, type KeyObject, verify } from "node:crypto";
import { failedPrecondition } from "../lib/errors.ts";
import { nameOf, pemBlocks, readMaterial } from "./material.ts";
import type { Material } from "./requirement.ts";

/** ECDSA, Ed25519 or RSA; PEM. Where there are several in a file, each counts. */
export function readPublicKeys(material: Material): readonly KeyObject[] {
  const blocks = pemBlocks(readMaterial(material).toString("latin1"), "PUBLIC KEY");
  if (blocks.length === 0) throw failedPrecondition(`${nameOf(material)}: no public key in PEM`);
  return blocks.map((pem) => parseKey(pem, nameOf(material)));
}

function parseKey(pem: string, name: string): KeyObject {
  let key: KeyObject;
  try {
    key = createPublicKey(pem);
  } catch (cause) {
    throw failedPrecondition(`${name}: not a public key`, cause);
  }
  if (["ec", "ed25519", "rsa"].includes(key.asymmetricKeyType ?? "")) return key;
  throw failedPrecondition(`${name}: a key that is neither ECDSA nor Ed25519 nor RSA`);
}

/** Longer curves come with longer digests from newer tools, and with SHA-256 from older ones. */
const digests = ["sha256", "sha384", "sha512"] as const;

/** Whether the key has signed these bytes, in any of the ways in which sigstore's tools sign. */
export function isSignedBy(key: KeyObject, bytes: Uint8Array, signature: Uint8Array): boolean {
  try {
    if (key.asymmetricKeyType === "ed25519") return verify(null, bytes, key, signature);
    if (key.asymmetricKeyType === "ec") {
      return digests.some((digest) => verify(digest, bytes, key, signature));
    }
    return paddings.some((padding) =>
      digests.some((digest) => verify(digest, bytes, { key, ...padding }, signature)),
    );
  } catch {
    // Bytes that are no signature at all.
    return false;
  }
}

const paddings = [
  { padding: constants.RSA_PKCS1_PADDING },
  { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_AUTO },
];
