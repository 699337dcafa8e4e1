import { testRuntime } from "../../src/runtime/runtime.suite.ts";
import { OciSuiteNode } from "../harness/oci-node.ts";
import { payloadDir } from "../harness/payload.ts";
import { findRunc } from "../harness/run-spec.ts";

testRuntime("runc, as it is embedded", () => OciSuiteNode.open(findRunc(), true));
testRuntime("runc, as another program", () => OciSuiteNode.open(findRunc(), false));
testRuntime("crun", () => OciSuiteNode.open(`${payloadDir()}/crun/crun`, false));
