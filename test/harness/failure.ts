import { ConnectError } from "@connectrpc/connect";

/** What a call is refused with. */
export async function failure(call: Promise<unknown>): Promise<ConnectError> {
  try {
    await call;
  } catch (err) {
    return ConnectError.from(err);
  }
  throw new Error("the call has succeeded");
}
