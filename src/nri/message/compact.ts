type Defined<Fields> = { [Name in keyof Fields]?: Exclude<Fields[Name], undefined> } & {
  [Name in keyof Fields as undefined extends Fields[Name] ? never : Name]: Fields[Name];
};

/** The object without the properties that are undefined. */
export function compact<Fields extends object>(fields: Fields): Defined<Fields> {
  return Object.fromEntries(
    Object.entries(fields).filter(([, value]) => value !== undefined),
  ) as Defined<Fields>;
}
