import { expect, test } from "bun:test";
import { kindOf } from "../lib/errors.ts";
import { hostUser, rootOf, toHostId } from "./pod-ids.ts";

const ids = { uids: { hostId: 1000, length: 10 }, gids: { hostId: 2000, length: 20 } };

test("ids of a pod are the node's from the beginning of its range on, and end with it", () => {
  expect(toHostId(ids.uids, 0)).toBe(1000);
  expect(toHostId(ids.uids, 9)).toBe(1009);
  expect(toHostId(ids.uids, 10)).toBeUndefined();
  expect(rootOf(ids)).toEqual({ uid: 1000, gid: 2000 });
  expect(hostUser(ids, { uid: 3, gid: 13 })).toEqual({ uid: 1003, gid: 2013 });
  try {
    hostUser(ids, { uid: 13, gid: 3 });
    expect.unreachable();
  } catch (err) {
    expect(kindOf(err)).toBe("invalid-argument");
  }
});
