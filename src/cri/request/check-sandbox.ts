import { isIP } from "node:net";
import * as pb from "../../gen/runtime/v1/api_pb.ts";
import { invalidArgument } from "../../lib/errors.ts";
import { checkMessage } from "./check-message.ts";
import { checkLabels, checkName, fail } from "./check-metadata.ts";

const maxPathBytes = 4095;
const maxDnsEntries = 100;
const maxDnsEntryLength = 255;

/** The form of a sandbox's configuration. Returns it, so that what follows has metadata. */
export function checkSandboxConfig(config: pb.PodSandboxConfig | undefined): pb.PodSandboxConfig {
  if (config === undefined) throw invalidArgument("config is missing");
  checkMessage(pb.PodSandboxConfigSchema, config, "config");
  const { metadata } = config;
  if (metadata === undefined) throw invalidArgument("config.metadata is missing");
  checkName("config.metadata.name", metadata.name);
  checkName("config.metadata.namespace", metadata.namespace);
  checkName("config.metadata.uid", metadata.uid);
  checkLabels(config.labels);
  checkLogDirectory(config.logDirectory);
  checkCgroupParent(config.linux?.cgroupParent ?? "");
  if (config.dnsConfig !== undefined) checkDns(config.dnsConfig);
  for (const mapping of config.portMappings) checkPortMapping(mapping);
  const security = config.linux?.securityContext;
  if (security?.runAsGroup !== undefined && security.runAsUser === undefined) {
    throw invalidArgument("run_as_group is set without run_as_user");
  }
  if (security?.namespaceOptions?.cgroupnsOptions !== undefined) {
    throw invalidArgument("namespace_options.cgroupns_options is for containers only");
  }
  return config;
}

function checkLogDirectory(path: string): void {
  if (path === "") return;
  const isPlain = path.startsWith("/") && !path.split("/").includes("..");
  if (!isPlain || Buffer.byteLength(path) > maxPathBytes) {
    throw fail("config.log_directory", path, "not an absolute path");
  }
}

/** A cgroupfs path or the name of a systemd slice; never one that climbs. */
function checkCgroupParent(path: string): void {
  if (path.split("/").includes("..") || Buffer.byteLength(path) > maxPathBytes) {
    throw fail("config.linux.cgroup_parent", path, "not a cgroup path");
  }
}

/** Each entry becomes a word of resolv.conf. */
function checkDns(dns: pb.DNSConfig): void {
  const lists = { servers: dns.servers, searches: dns.searches, options: dns.options };
  for (const [name, entries] of Object.entries(lists)) {
    if (entries.length > maxDnsEntries) {
      throw invalidArgument(`config.dns_config.${name}: more than ${maxDnsEntries} entries`);
    }
    for (const entry of entries) {
      if (!/^[\x21-\x7e]+$/.test(entry) || entry.length > maxDnsEntryLength) {
        throw fail(`config.dns_config.${name}`, entry, "not one printable word");
      }
    }
  }
}

function checkPortMapping({ containerPort, hostPort, hostIp }: pb.PortMapping): void {
  for (const port of [containerPort, hostPort]) {
    if (port < 0 || port > 65_535) throw invalidArgument(`config.port_mappings: port ${port}`);
  }
  if (hostIp !== "" && isIP(hostIp) === 0) {
    throw fail("config.port_mappings.host_ip", hostIp, "not an IP address");
  }
}
