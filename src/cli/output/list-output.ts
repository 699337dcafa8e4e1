import { type DescMessage, type MessageShape, toJson } from "@bufbuild/protobuf";
import type { Output } from "./output.ts";
import { writeTable } from "./table.ts";

export interface ListForm {
  readonly output: string | undefined;
  readonly quiet: boolean;
}

/** `-o json`: the proto's own JSON, with every field, so that scripts can rely on it. */
export function writeJson<D extends DescMessage>(
  out: Output,
  schema: D,
  message: MessageShape<D>,
): void {
  out.write(`${JSON.stringify(protoJson(schema, message), null, 2)}\n`);
}

export function protoJson<D extends DescMessage>(schema: D, message: MessageShape<D>) {
  return toJson(schema, message, { alwaysEmitImplicit: true });
}

/** Whether `-o json` was asked for. */
export function wantsJson(output: string | undefined): boolean {
  return output === "json";
}

/** Writes one list in the form that was asked for. */
export function writeList<D extends DescMessage>(
  out: Output,
  form: ListForm,
  list: {
    readonly schema: D;
    readonly message: MessageShape<D>;
    readonly ids: readonly string[];
    readonly header: readonly string[];
    readonly rows: readonly (readonly string[])[];
  },
): void {
  if (wantsJson(form.output)) writeJson(out, list.schema, list.message);
  else if (form.quiet) out.write(list.ids.map((id) => `${id}\n`).join(""));
  else writeTable(out, list.header, list.rows);
}
