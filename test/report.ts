/** What a test report says, added up over all of them. */
export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

/** Adds the cases of a JUnit report, or one plain step that passed (1) or failed (0). Answers this report's own counts. */
export function addReport(totals: Counts, report: string | 0 | 1): Counts {
  const own = typeof report === "string" ? countCases(report) : plain(report);
  totals.passed += own.passed;
  totals.failed += own.failed;
  totals.skipped += own.skipped;
  return own;
}

function plain(passed: 0 | 1): Counts {
  return { passed, failed: 1 - passed, skipped: 0 };
}

/** Counts `<testcase>` elements by what they hold; a case without a child element has passed. */
function countCases(xml: string): Counts {
  const counts: Counts = { passed: 0, failed: 0, skipped: 0 };
  for (const [, attributes = "", body = ""] of xml.matchAll(
    /<testcase\b([^>]*?)(?:\/>|>([\s\S]*?)<\/testcase>)/g,
  )) {
    if (/<(failure|error)\b/.test(body) || /status="failed"/.test(attributes)) counts.failed++;
    else if (/<skipped\b/.test(body) || /status="skipped"/.test(attributes)) counts.skipped++;
    else counts.passed++;
  }
  return counts;
}
