import { closeSync, constants, openSync } from "node:fs";
import { join } from "node:path";
import type { RecipeFiles } from "./recipe-recorder.ts";

/** The descriptors of a layer's recipe, open until they are disposed or the process ends. */
export type OpenRecipe = RecipeFiles & Disposable;

export function openNewRecipe(directory: string): OpenRecipe {
  return open(directory, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL);
}

export function openRecipe(directory: string): OpenRecipe {
  return open(directory, constants.O_RDONLY);
}

function open(directory: string, flags: number): OpenRecipe {
  const recipe = openSync(join(directory, "recipe"), flags, 0o600);
  const replaced = openSync(join(directory, "replaced"), flags, 0o600);
  return {
    recipe,
    replaced,
    [Symbol.dispose]: () => {
      closeSync(recipe);
      closeSync(replaced);
    },
  };
}
