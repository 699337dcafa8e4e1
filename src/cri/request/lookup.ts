import { invalidArgument, notFound } from "../../lib/errors.ts";

export interface Findable<T> {
  find(id: string): T | undefined;
}

const idOrPrefix = /^[0-9a-f]{1,64}$/;

/**
 * The object that an id of a request names, or undefined. Ids come from outside: what does not look like one never
 * reaches the domain.
 */
export function findById<T>(from: Findable<T>, what: string, id: string): T | undefined {
  if (id === "") throw invalidArgument(`${what} id is missing`);
  return idOrPrefix.test(id) ? from.find(id) : undefined;
}

/** Like `findById` for calls that need the object. The kubelet looks for the id in the message. */
export function getById<T>(from: Findable<T>, what: string, id: string): T {
  const found = findById(from, what, id);
  if (found === undefined) throw notFound(`${what} ${JSON.stringify(id.slice(0, 100))} not found`);
  return found;
}
