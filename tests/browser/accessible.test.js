//! Accessible to everybody: axe-core finds nothing in any state of the page, in both languages, light and dark.

import assert from "node:assert/strict";
import { createRequire } from "node:module";

import { scenario } from "./scenario.js";

const { source } = createRequire(import.meta.url)("axe-core");

for (const locale of ["en-US", "zh-CN"]) {
  scenario(`axe-core finds nothing in any state of the page (${locale})`, { locale }, async ({ browser, visitor, page }) => {
    const check = async (state) => {
      for (const colorScheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme });
        assert.deepEqual(await violations(page), [], `${state}, ${colorScheme}`);
        await browser.picture(`${state}-${locale}-${colorScheme}`);
      }
    };
    await visitor.arrive();
    await check("start");
    await visitor.write();
    await check("pair");
    await visitor.at("judge-left").click();
    await visitor.at("consent").waitFor();
    await check("consent");
    await visitor.consent();
    await check("rated");
    await visitor.at("color-toggle").click();
    await page.locator("button.token").first().click();
    await page.locator("#token-panel .alternative").first().waitFor();
    await check("token");
    await page.keyboard.press("Escape");
    for (const panel of ["settings", "ratings", "help"]) {
      await visitor.open(panel);
      await check(panel);
      await visitor.shut(panel);
    }
    await visitor.mode("single");
    await visitor.write();
    await check("single");
    await visitor.at("edit").click();
    await check("edit");
    await visitor.at("edit-cancel").click();
    await visitor.begin(" ");
    await visitor.trouble();
    await check("error");
  });
}

/** What axe-core has to say, in short; a color that is on its way to another is none. */
async function violations(page) {
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
