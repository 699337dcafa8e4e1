import { expect, test } from "bun:test";
import { digestOf } from "../../oci/digest.ts";
import { LayerSlots } from "./layer-slots.ts";

const never = new AbortController().signal;
const layer = (sizeBytes: number) => ({
  mediaType: "",
  digest: digestOf(""),
  sizeBytes,
  platform: undefined,
});

/** How many of these come in at once. */
async function entered(slots: LayerSlots, count: number, sizeBytes: number): Promise<number> {
  let inside = 0;
  for (let i = 0; i < count; i++) {
    slots.enter(layer(sizeBytes), never).then(
      () => inside++,
      () => {},
    );
  }
  await Bun.sleep(0);
  return inside;
}

test("LayerSlots lets in four small layers for each large one, and neither waits for the other", async () => {
  const slots = new LayerSlots(2);
  expect(await entered(slots, 10, 1 << 20)).toBe(2);
  expect(await entered(slots, 10, 1000)).toBe(8);
});
