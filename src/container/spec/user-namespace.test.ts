import { expect, test } from "bun:test";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { NamespaceMode, UserNamespaceSchema } from "../../gen/runtime/v1/api_pb.ts";
import { kindOf } from "../../lib/errors.ts";
import { checkUserNamespace } from "./user-namespace.ts";

function kindFor(init: MessageInitShape<typeof UserNamespaceSchema>): string | undefined {
  try {
    checkUserNamespace(create(UserNamespaceSchema, init));
    return undefined;
  } catch (err) {
    return kindOf(err);
  }
}

test("checkUserNamespace() takes the node's, refuses wrong requests, and has no other yet", () => {
  const good = { hostId: 100_000, containerId: 0, length: 65_536 };
  const uids = [good];
  const { POD, NODE, CONTAINER, TARGET } = NamespaceMode;
  expect(checkUserNamespace(undefined)).toBeUndefined();
  expect(kindFor({ mode: NODE })).toBeUndefined();
  expect(kindFor({ mode: POD, uids, gids: uids })).toBe("unimplemented");
  for (const wrong of [
    { mode: CONTAINER, uids, gids: uids },
    { mode: TARGET, uids, gids: uids },
    { mode: POD },
    { mode: POD, uids: [good, good], gids: uids },
    { mode: POD, uids, gids: [{ ...good, containerId: 1 }] },
    { mode: POD, uids: [{ ...good, length: 0 }], gids: uids },
    { mode: POD, uids: [{ ...good, hostId: 4294967295 }], gids: uids },
  ]) {
    expect(kindFor(wrong)).toBe("invalid-argument");
  }
});
