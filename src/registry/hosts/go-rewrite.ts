import { RE2JS } from "re2js";
import type { Rewrite } from "./registry-host.ts";

const maxPatternLength = 512;

/**
 * A rewrite of k3s's registries.yaml, as Go's `regexp.ReplaceAllString` does it: RE2's syntax (`(?i)`, `(?P<name>...)`, no
 * look-ahead, linear time), every occurrence, and a template in which `$1`, `${1}` and `${name}` are groups and `$$` is a
 * dollar. Throws when the pattern is none.
 */
export function compileRewrite(pattern: string, template: string): Rewrite {
  if (pattern.length > maxPatternLength)
    throw new RangeError(`over ${maxPatternLength} characters`);
  const compiled = RE2JS.compile(pattern);
  const groups = new Set(Object.keys(compiled.namedGroups()));
  return {
    rename: (repository) => {
      const matcher = compiled.matcher(repository);
      let renamed = "";
      let end = 0;
      for (let isFirst = true; matcher.find(); isFirst = false) {
        const [from, to] = [matcher.start(), matcher.end()];
        // Go takes no empty match right after another one.
        if (!isFirst && from === to && from === end) continue;
        const groupOf = (name: string): string | null => {
          if (/^\d+$/.test(name)) {
            return Number(name) <= matcher.groupCount() ? matcher.group(Number(name)) : null;
          }
          return groups.has(name) ? matcher.group(name) : null;
        };
        renamed += repository.slice(end, from) + expand(template, groupOf);
        end = to;
      }
      return renamed + repository.slice(end);
    },
  };
}

/** Go's `Regexp.Expand`: an unbraced name is as long as can be; a group that does not exist is empty. */
function expand(template: string, groupOf: (name: string) => string | null): string {
  return template.replace(/\$(?:(\$)|\{(\w+)\}|(\w+))/g, (_, dollar, braced, bare) =>
    dollar === undefined ? (groupOf(braced ?? bare) ?? "") : "$",
  );
}
