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
  const cells = rows.map((row) => row.map((cell) => plain(cell === "" ? "-" : cell)));
  const widths = header.map((title, i) =>
    Math.max(title.length, ...cells.map((row) => Bun.stringWidth(row[i] ?? ""))),
  );
  const line = (row: readonly string[]) =>
    row.map((cell, i) => (i === row.length - 1 ? cell : pad(cell, widths[i] ?? 0))).join("   ");
  out.write(`${out.paint("bold", line(header))}\n`);
  for (const row of cells) out.write(`${line(row)}\n`);
}

function pad(text: string, width: number): string {
  return text + " ".repeat(Math.max(0, width - Bun.stringWidth(text)));
}
