//! Accessible to everybody: axe-core finds nothing in any state of the page, in both languages, light and dark.

import assert from "node:assert/strict";

import { violations } from "./axe.js";
import { Collector } from "./collector.js";
import { scenario } from "./scenario.js";
import { serveTinyPolicy } from "./tiny.js";

for (const locale of ["en-US", "zh-CN"]) {
  scenario(`axe-core finds nothing in any state of the page (${locale})`, { locale }, async ({ server, browser, visitor, page }) => {
    await serveTinyPolicy(server, { collector: Collector.ADDRESS });
    const check = async (state) => {
      for (const colorScheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme });
        assert.deepEqual(await violations(page), [], `${state}, ${colorScheme}`);
        await browser.picture(`${state}-${locale}-${colorScheme}`);
      }
    };
    await visitor.arrive();
    await check("start");
    await visitor.at("ask").click();
    await visitor.at("query-note").waitFor();
    await check("asked-nothing");
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
