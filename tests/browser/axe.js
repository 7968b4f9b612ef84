//! What axe-core finds on the page as it stands there.

import { createRequire } from "node:module";

const { source } = createRequire(import.meta.url)("axe-core");

/** What axe-core has to say, in short; a color that is on its way to another is none. */
export async function violations(page) {
  await page.evaluate(async () => {
    const running = () => document.getAnimations().filter(({ playState }) => playState === "running");
    // One that a new state cancels rejects: it is over too.
    while (running().length > 0) await Promise.allSettled(running().map(({ finished }) => finished));
  });
  await page.evaluate(source);
  const found = await page.evaluate(() => window.axe.run());
  return found.violations.map(({ id, help, nodes }) => ({
    id,
    help,
    nodes: nodes.map((node) => `${node.html} ${node.failureSummary}`),
  }));
}
