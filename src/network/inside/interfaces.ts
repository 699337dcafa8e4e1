/** What an interface of a pod has received and sent since it was made. */
export interface InterfaceCounters {
  readonly name: string;
  readonly received: Traffic;
  readonly sent: Traffic;
}

export interface Traffic {
  readonly bytes: number;
  readonly packets: number;
  readonly errors: number;
  readonly dropped: number;
}

/** The text of /proc/net/dev (proc(5)): two lines of headings, then `name:` and eight numbers for each direction. */
export function parseInterfaces(text: string): readonly InterfaceCounters[] {
  return text
    .split("\n")
    .slice(2)
    .flatMap((line) => {
      const colon = line.lastIndexOf(":");
      if (colon < 0) return [];
      const numbers = line
        .slice(colon + 1)
        .trim()
        .split(/\s+/)
        .map(Number);
      return [
        {
          name: line.slice(0, colon).trim(),
          received: traffic(numbers, 0),
          sent: traffic(numbers, 8),
        },
      ];
    });
}

function traffic(numbers: readonly number[], first: number): Traffic {
  const [bytes = 0, packets = 0, errors = 0, dropped = 0] = numbers.slice(first);
  return { bytes, packets, errors, dropped };
}
