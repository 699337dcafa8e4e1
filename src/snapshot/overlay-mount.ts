import { isErrno } from "../os/errno-error.ts";
import { openFile } from "../os/file/inode.ts";
import { MS_RDONLY, mount } from "../os/mount/mount.ts";

export interface OverlayLayers {
  /** Highest first, at least one. */
  readonly lower: readonly string[];
  /** Absent for a view, which nobody can write to. */
  readonly writable: { readonly upper: string; readonly work: string } | undefined;
  readonly readOnly: boolean;
}

const maxOptionBytes = 4095;

/**
 * Mounts an overlay in the mount namespace of the calling thread. Redirects and metadata-only copies are off: the
 * attributes that steer them must mean nothing, wherever they come from. Where the kernel knows neither, there is nothing to turn off.
 */
export function mountOverlay(target: string, layers: OverlayLayers): void {
  const flags = layers.readOnly ? MS_RDONLY : 0;
  using lower = new LowerDirectories(layers.lower);
  const options = [
    `lowerdir=${lower.option}`,
    ...(layers.writable === undefined
      ? []
      : [`upperdir=${layers.writable.upper}`, `workdir=${layers.writable.work}`]),
  ];
  try {
    mount(
      "overlay",
      target,
      "overlay",
      flags,
      [...options, "redirect_dir=off,metacopy=off"].join(),
    );
  } catch (err) {
    if (!isErrno(err, "EINVAL")) throw err;
    mount("overlay", target, "overlay", flags, options.join());
  }
}

/** The value of `lowerdir`. mount(2) takes one page of options: many layers are named by descriptors, which is short. */
class LowerDirectories implements Disposable {
  readonly option: string;
  readonly #open = new DisposableStack();

  constructor(paths: readonly string[]) {
    const named = paths.join(":");
    this.option = named.length < maxOptionBytes / 2 ? named : this.#byDescriptor(paths);
  }

  #byDescriptor(paths: readonly string[]): string {
    return paths
      .map((path) => {
        const directory = openFile(Buffer.from(path), { directory: true });
        return `/proc/self/fd/${this.#open.use(directory).fd}`;
      })
      .join(":");
  }

  [Symbol.dispose](): void {
    this.#open.dispose();
  }
}
