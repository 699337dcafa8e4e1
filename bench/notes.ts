/** What is known of rows of RESULTS.md whose aim is missed: where the time is, what was tried, what it would take. */
export const notes: Readonly<Record<string, string>> = {};
