/** What the administrator lets plugins do, and which must be there; all of it off by default. */
export interface ValidatorConfig {
  readonly enable: boolean;
  readonly rejectOciHookAdjustment: boolean;
  readonly rejectRuntimeDefaultSeccompAdjustment: boolean;
  readonly rejectUnconfinedSeccompAdjustment: boolean;
  readonly rejectCustomSeccompAdjustment: boolean;
  readonly rejectNamespaceAdjustment: boolean;
  readonly rejectSysctlAdjustment: boolean;
  /** Names without index: no container is created while one of them is missing. */
  readonly requiredPlugins: readonly string[];
  /** Annotation of a pod with which it can do without the required plugins; empty for none. */
  readonly tolerateMissingPluginsAnnotation: string;
}

export interface NriConfig {
  /** Installed plugins: programs called `NN-name`, and `NN-name.conf` or `name.conf`. */
  readonly pluginPath: string;
  readonly pluginConfigPath: string;
  readonly registrationTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly defaultValidator: ValidatorConfig;
}
