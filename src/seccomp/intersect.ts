import { stringifyExact } from "../lib/json.ts";
import type { SpecSeccomp, SpecSyscallArg, SpecSyscallRule } from "../oci/runtime-spec.ts";
import {
  comparisonsOf,
  complementOf,
  intersectValues,
  isEverything,
  type ValueSet,
  valuesOf,
} from "./value-set.ts";

/** What is done about a call. */
interface Action {
  readonly action: string;
  readonly errnoRet: number | undefined;
}

/** The calls whose arguments are in these sets, by index; an argument without a set may be anything. */
type Condition = ReadonlyMap<number, ValueSet>;

/** Calls of one name that are treated alike. */
interface Cell {
  readonly when: Condition;
  readonly treatment: Action;
}

/** Most restrictive first, as the kernel orders them (seccomp(2)). */
const byRestriction = [
  "SCMP_ACT_KILL_PROCESS",
  "SCMP_ACT_KILL_THREAD",
  "SCMP_ACT_TRAP",
  "SCMP_ACT_ERRNO",
  "SCMP_ACT_NOTIFY",
  "SCMP_ACT_TRACE",
  "SCMP_ACT_LOG",
  "SCMP_ACT_ALLOW",
];
const otherNames: Readonly<Record<string, string>> = { SCMP_ACT_KILL: "SCMP_ACT_KILL_THREAD" };

/** Pieces that calls of one name may be cut into, and those of all names: what goes beyond is refused as a whole. */
const maxCells = 1000;
const maxWork = 100_000;
const EPERM = 1;
const anything: Condition = new Map();

export interface Intersection {
  readonly profile: SpecSeccomp;
  /** Calls whose rules compare too much to be intersected: they get the most restrictive action of both profiles. */
  readonly simplified: readonly string[];
}

/**
 * The profile that permits a call exactly if both profiles do, its arguments included. Where both have the same action,
 * the error number is the base's. Architectures are those of both; the native one is in every profile.
 *
 * Of several rules of one profile that a call fulfils, the most restrictive holds; rules with the default action are
 * left out, as runc does.
 */
export function intersectProfiles(
  base: SpecSeccomp,
  other: SpecSeccomp,
  nativeArch: string,
): Intersection {
  const budget = new Budget();
  const [ofBase, ofOther] = [new Rules(base, budget), new Rules(other, budget)];
  const standard = moreRestrictive(ofBase.standard, ofOther.standard);
  const rules = new Map<string, { rule: Omit<SpecSyscallRule, "names">; names: string[] }>();
  const simplified: string[] = [];
  for (const name of new Set([...ofBase.names, ...ofOther.names])) {
    for (const rule of rulesFor(name)) {
      const key = stringifyExact(rule);
      const known = rules.get(key);
      if (known === undefined) rules.set(key, { rule, names: [name] });
      else known.names.push(name);
    }
  }
  return {
    profile: {
      defaultAction: standard.action,
      ...(standard.errnoRet === undefined ? {} : { defaultErrnoRet: standard.errnoRet }),
      architectures: commonArchitectures(base, other, nativeArch),
      flags: commonFlags(base, other),
      syscalls: [...rules.values()].map(({ rule, names }) => ({ names, ...rule })),
    },
    simplified,
  };

  function rulesFor(name: string): readonly Omit<SpecSyscallRule, "names">[] {
    try {
      const cells = intersectCells(budget, ofBase.cellsOf(name), ofOther.cellsOf(name));
      return cells
        .filter(({ treatment }) => !isSame(treatment, standard))
        .flatMap((cell) => toRules(budget, cell));
    } catch (err) {
      if (!(err instanceof TooManyCells)) throw err;
      simplified.push(name);
      const strictest = [standard, ...ofBase.actionsOf(name), ...ofOther.actionsOf(name)].reduce(
        moreRestrictive,
      );
      return isSame(strictest, standard) ? [] : [toRule(strictest, [])];
    }
  }
}

/** The rules of one profile by the names of calls. */
class Rules {
  /** For calls that no rule is about. */
  readonly standard: Action;
  readonly #byName = new Map<string, SpecSyscallRule[]>();
  readonly #budget: Budget;

  constructor({ defaultAction, defaultErrnoRet, syscalls }: SpecSeccomp, budget: Budget) {
    this.#budget = budget;
    this.standard = toAction(defaultAction, defaultErrnoRet);
    for (const rule of syscalls) {
      if (isSame(toAction(rule.action, rule.errnoRet), this.standard)) continue;
      for (const name of rule.names) {
        const known = this.#byName.get(name);
        if (known === undefined) this.#byName.set(name, [rule]);
        else known.push(rule);
      }
    }
  }

  get names(): Iterable<string> {
    return this.#byName.keys();
  }

  actionsOf(name: string): readonly Action[] {
    return (this.#byName.get(name) ?? []).map((rule) => toAction(rule.action, rule.errnoRet));
  }

  /** All calls of that name, each in one cell. */
  cellsOf(name: string): readonly Cell[] {
    const rules = (this.#byName.get(name) ?? [])
      .map((rule) => ({ rule, treatment: toAction(rule.action, rule.errnoRet) }))
      .sort((a, b) => rankOf(a.treatment) - rankOf(b.treatment));
    const cells: Cell[] = [];
    let left: readonly Condition[] = [anything];
    for (const { rule, treatment } of rules) {
      for (const when of conditionsOf(rule.args ?? [])) {
        cells.push(
          ...left
            .flatMap((one) => intersect(this.#budget, one, when))
            .map((one) => ({ when: one, treatment })),
        );
        left = left.flatMap((one) => subtract(this.#budget, one, when));
        this.#budget.spend(cells.length + left.length);
      }
    }
    return [...cells, ...left.map((when) => ({ when, treatment: this.standard }))];
  }
}

/** One of them has to hold. Comparisons of the same argument are alternatives to runc, as libseccomp takes one of each. */
function conditionsOf(args: readonly SpecSyscallArg[]): readonly Condition[] {
  const isAlternatives = new Set(args.map(({ index }) => index)).size < args.length;
  const groups = isAlternatives ? args.map((arg) => [arg]) : [args];
  return groups.flatMap((group) =>
    group.reduce<readonly Condition[]>(
      (conditions, arg) =>
        conditions.flatMap((condition) =>
          valuesOf(arg).map((set) => new Map([...condition, [arg.index, set]])),
        ),
      [anything],
    ),
  );
}

function intersectCells(
  budget: Budget,
  some: readonly Cell[],
  others: readonly Cell[],
): readonly Cell[] {
  const cells: Cell[] = [];
  for (const a of some) {
    for (const b of others) {
      const treatment = moreRestrictive(a.treatment, b.treatment);
      for (const when of intersect(budget, a.when, b.when)) cells.push({ when, treatment });
      budget.spend(cells.length);
    }
  }
  return cells;
}

function intersect(budget: Budget, a: Condition, b: Condition): readonly Condition[] {
  let found: readonly Condition[] = [a];
  for (const [index, set] of b) {
    found = found.flatMap((one) => {
      const own = one.get(index);
      const sets = own === undefined ? [set] : intersectValues(own, set);
      return sets.map((common) => new Map([...one, [index, common]]));
    });
    budget.spend(found.length);
  }
  return found;
}

/** What fulfils `a` and not `b`: the first arguments as `b` has them, the next one another. */
function subtract(budget: Budget, a: Condition, b: Condition): readonly Condition[] {
  const left: Condition[] = [];
  let prefix: readonly Condition[] = [a];
  for (const [index, set] of b) {
    const others = complementOf(set).map((other): Condition => new Map([[index, other]]));
    left.push(...prefix.flatMap((one) => others.flatMap((other) => intersect(budget, one, other))));
    prefix = prefix.flatMap((one) => intersect(budget, one, new Map([[index, set]])));
    budget.spend(left.length + prefix.length);
  }
  return left;
}

/** A rule has one comparison of each argument: a set that needs several becomes several rules. */
function toRules(
  budget: Budget,
  { when, treatment }: Cell,
): readonly Omit<SpecSyscallRule, "names">[] {
  const args = [...when].filter(([, set]) => !isEverything(set)).sort(([a], [b]) => a - b);
  const lists = args.reduce<readonly (readonly SpecSyscallArg[])[]>(
    (all, [index, set]) => {
      const comparisons = comparisonsOf(set).map((comparison) => ({ index, ...comparison }));
      budget.spend(all.length * comparisons.length);
      return all.flatMap((list) => comparisons.map((comparison) => [...list, comparison]));
    },
    [[]],
  );
  return lists.map((list) => toRule(treatment, list));
}

function toRule(
  { action, errnoRet }: Action,
  args: readonly SpecSyscallArg[],
): Omit<SpecSyscallRule, "names"> {
  return {
    action,
    ...(errnoRet === undefined ? {} : { errnoRet }),
    ...(args.length === 0 ? {} : { args }),
  };
}

function toAction(name: string, errnoRet: number | undefined): Action {
  const hasNumber = name === "SCMP_ACT_ERRNO" || name === "SCMP_ACT_TRACE";
  return {
    action: otherNames[name] ?? name,
    errnoRet: hasNumber ? (errnoRet ?? EPERM) : undefined,
  };
}

/** Of two alike the first. */
function moreRestrictive(a: Action, b: Action): Action {
  return rankOf(b) < rankOf(a) ? b : a;
}

function rankOf({ action }: Action): number {
  return byRestriction.indexOf(action);
}

function isSame(a: Action, b: Action): boolean {
  return a.action === b.action && a.errnoRet === b.errnoRet;
}

function commonArchitectures(
  base: SpecSeccomp,
  other: SpecSeccomp,
  native: string,
): readonly string[] {
  const others = new Set([...(other.architectures ?? []), native]);
  return [...new Set([...(base.architectures ?? []), native])].filter((one) => others.has(one));
}

const allowsSpeculation = "SECCOMP_FILTER_FLAG_SPEC_ALLOW";

/** What loosens is there if both have it, what logs if one has it. Without any, runc takes the first. */
function commonFlags(base: SpecSeccomp, other: SpecSeccomp): readonly string[] {
  const [ofBase, ofOther] = [flagsOf(base), flagsOf(other)];
  const isSafe = (flag: string) => flag !== allowsSpeculation || ofOther.includes(flag);
  const added = ofOther.filter((flag) => flag === "SECCOMP_FILTER_FLAG_LOG");
  return [...new Set([...ofBase.filter(isSafe), ...added])];
}

function flagsOf({ flags }: SpecSeccomp): readonly string[] {
  return flags ?? [allowsSpeculation];
}

class TooManyCells extends Error {}

/** Bounds the time that a profile can take: a piece costs some microseconds. */
class Budget {
  #left = maxWork;

  /** Throws TooManyCells when there are too many now, or were in all. */
  spend(count: number): void {
    this.#left--;
    if (count > maxCells || this.#left < 0) throw new TooManyCells();
  }
}
