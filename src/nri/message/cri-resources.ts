import type { MessageInitShape } from "@bufbuild/protobuf";
import type { LinuxResourcesSchema } from "../../gen/nri/v1alpha1/api_pb.ts";
import type { LinuxContainerResources } from "../../gen/runtime/v1/api_pb.ts";
import { compact } from "./compact.ts";

/** CRI's limits as plugins see them: 0 is not said. */
export function fromCriResources(
  resources: LinuxContainerResources,
): MessageInitShape<typeof LinuxResourcesSchema> {
  const said = (value: bigint) => (value === 0n ? undefined : { value });
  return {
    memory: compact({
      limit: said(resources.memoryLimitInBytes),
      swap: said(resources.memorySwapLimitInBytes),
    }),
    cpu: compact({
      shares: said(resources.cpuShares),
      quota: said(resources.cpuQuota),
      period: said(resources.cpuPeriod),
      cpus: resources.cpusetCpus,
      mems: resources.cpusetMems,
    }),
    hugepageLimits: resources.hugepageLimits.map(({ pageSize, limit }) => ({ pageSize, limit })),
    unified: resources.unified,
  };
}
