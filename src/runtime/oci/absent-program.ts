import { notFound } from "../../lib/errors.ts";
import { unknownFeatures } from "../features.ts";
import type { OciProgram } from "./program.ts";

/**
 * In the place of a program that containers were made with and that is not configured any more: they go on, end and are
 * removed; its own state of them stays behind.
 */
export const absentProgram: OciProgram = {
  name: "",
  path: "",
  features: unknownFeatures,
  env: {},
  isEmbeddedRunc: false,
  losesZeroSwap: false,
  joinsNamespaces: true,
  directRoot: undefined,
  createArgv: refuse,
  restoreArgv: refuse,
  execArgv: refuse,
  start: async () => refuse(),
  update: async () => refuse(),
  checkpoint: async () => refuse(),
  delete: async () => {},
  interrupt: async () => {},
  state: async () => undefined,
};

function refuse(): never {
  throw notFound("its runtime handler is not configured any more");
}
