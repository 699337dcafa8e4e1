/** Where crib's files and those that it shares with others are on a node, unless its configuration says otherwise. */
export const nodePaths = {
  /** `root`: survives reboots. */
  root: "/var/lib/crib",
  /** `state`: a reboot empties it. */
  state: "/run/crib",
  configDir: "/etc/crib",
  config: "/etc/crib/config.toml",
  /** The daemon's own log, where no journal takes it. */
  daemonLog: "/var/log/crib.log",
  /** A directory of logs for each pod of `crib run`. */
  podLogs: "/var/log/crib",
  cniConfigs: "/etc/cni/net.d",
} as const;
