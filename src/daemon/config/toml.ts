import { type AST, getStaticTOMLValue, ParseError, parseTOML } from "toml-eslint-parser";

/** One assignment, or the header of a table (`value` is undefined), with the line of its key. */
export interface TomlStatement {
  readonly keyPath: readonly string[];
  readonly line: number;
  readonly value: unknown;
}

/** The text is no TOML. Lines and columns count from 1. */
export class TomlError extends Error {
  override readonly name = "TomlError";
  readonly line: number;
  readonly column: number;

  constructor(
    message: string,
    options: { readonly line: number; readonly column: number; readonly cause: unknown },
  ) {
    super(message, { cause: options.cause });
    this.line = options.line;
    this.column = options.column;
  }
}

/** All statements of a TOML text in their order; inline tables are taken apart. Throws `TomlError`. */
export function readToml(source: string): readonly TomlStatement[] {
  try {
    return parseTOML(source).body[0].body.flatMap((node) =>
      node.type === "TOMLTable" ? statementsOfTable(node) : statementsOf(node, []),
    );
  } catch (err) {
    if (!(err instanceof ParseError)) throw err;
    const { lineNumber: line, column } = err;
    throw new TomlError(err.message, { line, column: column + 1, cause: err });
  }
}

function statementsOfTable(table: AST.TOMLTable): readonly TomlStatement[] {
  const keyPath = namesOf(table.key);
  const header = { keyPath, line: table.key.loc.start.line };
  // An array of tables: no setting is one.
  if (table.kind === "array") return [{ ...header, value: [] }];
  return [
    { ...header, value: undefined },
    ...table.body.flatMap((entry) => statementsOf(entry, keyPath)),
  ];
}

function statementsOf(
  entry: AST.TOMLKeyValue,
  within: readonly string[],
): readonly TomlStatement[] {
  const keyPath = [...within, ...namesOf(entry.key)];
  const { line } = entry.key.loc.start;
  if (entry.value.type !== "TOMLInlineTable") {
    return [{ keyPath, line, value: getStaticTOMLValue(entry.value) }];
  }
  const header = { keyPath, line, value: undefined };
  return [header, ...entry.value.body.flatMap((inner) => statementsOf(inner, keyPath))];
}

function namesOf(key: AST.TOMLKey): readonly string[] {
  return key.keys.map((part) => (part.type === "TOMLBare" ? part.name : part.value));
}
