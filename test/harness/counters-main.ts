import { runCounters } from "../../src/network/inside/counters-role.ts";

/** The role alone, for tests that run from source. */
process.exit(runCounters([]));
