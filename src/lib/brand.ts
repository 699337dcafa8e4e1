declare const brand: unique symbol;

/** A value that only the parser of its type makes, so that holding one proves that it was checked. */
export type Brand<T, Name extends string> = T & { readonly [brand]: Name };
