import { runNamespaces } from "../../src/network/namespaces-role.ts";

/** The role alone, for tests that run from source. */
process.exit(runNamespaces([]));
