/** Something in the payload that has a version of its own. */
export interface Part {
  /** As `crib version` shows them. */
  readonly versions: Readonly<Record<string, string>>;
  readonly files: readonly PayloadFile[];
  /** A file with the licences of what is inside. */
  readonly notices?: string;
}

export type PayloadFile =
  | {
      /** Where it goes, below the payload's directory. */
      readonly path: string;
      /** Where it is now. */
      readonly source: string;
      readonly mode: "0555" | "0444";
      /** Offsets that begin what changes between builds, or what stays: compression starts anew there. */
      readonly seams?: readonly number[];
    }
  | { readonly path: string; readonly link: string };
