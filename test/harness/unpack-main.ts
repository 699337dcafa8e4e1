import { runUnpack } from "../../src/snapshot/child/unpack-role.ts";
import { nativeLibraries } from "./native-libraries.ts";

/** The role alone, for tests that run from source. */
process.exit(await runUnpack(process.argv.slice(2), nativeLibraries()));
