import { expect, test } from "bun:test";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { NamespaceMode, UserNamespaceSchema } from "../../gen/runtime/v1/api_pb.ts";
import { kindOf } from "../../lib/errors.ts";
import { checkSameUserNamespace, podIdsOf } from "./user-namespace.ts";

type Init = MessageInitShape<typeof UserNamespaceSchema>;
const options = (init: Init) => create(UserNamespaceSchema, init);
const { POD, NODE, CONTAINER, TARGET } = NamespaceMode;
const good = { hostId: 100_000, containerId: 0, length: 65_536 };
const uids = [good];

function kindFor(act: () => unknown): string | undefined {
  try {
    act();
    return undefined;
  } catch (err) {
    return kindOf(err);
  }
}

test("podIdsOf() reads one range of each kind, and none for the node's namespace", () => {
  expect(podIdsOf(undefined)).toBeUndefined();
  expect(podIdsOf(options({ mode: NODE }))).toBeUndefined();
  const gids = [{ ...good, hostId: 4_294_901_759 }];
  expect(podIdsOf(options({ mode: POD, uids, gids }))).toEqual({
    uids: { hostId: 100_000, length: 65_536 },
    gids: { hostId: 4_294_901_759, length: 65_536 },
  });
});

test.each<[string, Init]>([
  ["mode CONTAINER", { mode: CONTAINER, uids, gids: uids }],
  ["mode TARGET", { mode: TARGET, uids, gids: uids }],
  ["mode NODE with mappings", { mode: NODE, uids, gids: uids }],
  ["no mapping", { mode: POD }],
  ["two mappings", { mode: POD, uids: [good, good], gids: uids }],
  ["gid 0 unmapped", { mode: POD, uids, gids: [{ ...good, containerId: 1 }] }],
  ["no ids", { mode: POD, uids: [{ ...good, length: 0 }], gids: uids }],
  ["the node's root", { mode: POD, uids, gids: [{ ...good, hostId: 0 }] }],
  ["wrapping around", { mode: POD, uids: [{ ...good, hostId: 4_294_967_295 }], gids: uids }],
  ["the id that is none", { mode: POD, uids: [{ ...good, hostId: 4_294_901_760 }], gids: uids }],
])("podIdsOf() refuses %s", (_, init) => {
  expect(kindFor(() => podIdsOf(options(init)))).toBe("invalid-argument");
});

test("checkSameUserNamespace() takes the pod's own or nothing", () => {
  const own = options({ mode: POD, uids, gids: uids });
  const pod = podIdsOf(own);
  const other = options({ mode: POD, uids, gids: [{ ...good, hostId: 1000 }] });
  expect(kindFor(() => checkSameUserNamespace(undefined, pod))).toBeUndefined();
  expect(kindFor(() => checkSameUserNamespace(own, pod))).toBeUndefined();
  expect(kindFor(() => checkSameUserNamespace(options({ mode: NODE }), undefined))).toBeUndefined();
  expect(kindFor(() => checkSameUserNamespace(other, pod))).toBe("invalid-argument");
  expect(kindFor(() => checkSameUserNamespace(own, undefined))).toBe("invalid-argument");
  expect(kindFor(() => checkSameUserNamespace(options({ mode: NODE }), pod))).toBe(
    "invalid-argument",
  );
});
