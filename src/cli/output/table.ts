import { type Output, plain } from "./output.ts";

/**
 * Columns aligned by spaces. On a terminal with a bold header; piped, the same columns without colours,
 * so that awk finds them. Cells are made printable here; the last column is not padded.
 */
export function writeTable(
  out: Output,
  header: readonly string[],
  rows: readonly (readonly string[])[],
): void {
  const [first = "", ...others] = formatTable(header, rows);
  out.write(`${out.paint("bold", first)}\n${others.map((line) => `${line}\n`).join("")}`);
}

/** The lines of a table, its header first. */
export function formatTable(
  header: readonly string[],
  rows: readonly (readonly string[])[],
): readonly string[] {
  const cells = rows.map((row) => row.map((cell) => plain(cell === "" ? "-" : cell)));
  const widths = header.map((title, i) =>
    Math.max(title.length, ...cells.map((row) => Bun.stringWidth(row[i] ?? ""))),
  );
  const line = (row: readonly string[]) =>
    row.map((cell, i) => (i === row.length - 1 ? cell : pad(cell, widths[i] ?? 0))).join("   ");
  return [header, ...cells].map(line);
}

function pad(text: string, width: number): string {
  return text + " ".repeat(Math.max(0, width - Bun.stringWidth(text)));
}
