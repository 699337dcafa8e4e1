declare const brand: unique symbol;

/**
 * A value that only the parser of its type makes, so that holding one proves that it was checked. A branded type may be
 * branded again: its values are of both types.
 */
export type Brand<T, Name extends string> = T & {
  readonly [brand]: { readonly [Key in Name]: true };
};
