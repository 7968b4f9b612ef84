//! Looking inside: tokens by probability, what else could have stood there, going on from it.

import assert from "node:assert/strict";

import { scenario } from "./scenario.js";
import { CATALOG_FILE } from "./tiny.js";

scenario("a token shows what else could have stood there, and the text goes on from it", {}, async ({ browser, visitor, page }) => {
  await visitor.arrive();
  await visitor.mode("single");
  await visitor.set({ length: 8, seed: 2, temperature: 1, "top-k": 4 });
  await visitor.write("Once");
  await visitor.at("color-toggle").click();
  const tokens = page.locator(".completion button.token");
  await tokens.first().waitFor();
  assert.equal(await tokens.count(), await visitor.tokens(), "every token is a button");
  const before = await tokens.allInnerTexts();
  await tokens.nth(2).click();
  const alternatives = page.locator("#token-panel .alternative");
  await alternatives.first().waitFor();
  await browser.picture("token-panel");
  assert.match(await visitor.at("token-panel").innerText(), /Full softmax[\s\S]*nats[\s\S]*Drawn from/);
  const offered = page.locator("#token-panel .alternative:enabled");
  const words = await offered.evaluateAll((buttons) => buttons.map((button) => button.textContent));
  assert.ok(words.length > 1, "there is another token to go on with");
  await offered.nth(1).click();
  await visitor.written();
  const [text] = await visitor.texts();
  const fixed = before.slice(0, 2).join("").trim();
  assert.ok(text.startsWith(fixed) || (await page.getByText(fixed).count()) > 0, `${text} begins with ${fixed}`);
  await visitor.judge("thumb-up");
  const [rating] = await visitor.ratings();
  assert.ok(rating.prompt.token_ids.length > 3, "the fixed beginning belongs to the prompt");
  assert.ok(rating.prompt.text.includes(before.slice(0, 2).join("").trim()));
});

scenario("the tokens can be looked at by keyboard", {}, async ({ visitor, page }) => {
  await visitor.arrive();
  await visitor.mode("single");
  await visitor.set({ length: 8, seed: 2 });
  await visitor.write("Once");
  await visitor.tabTo("color-toggle");
  await page.keyboard.press("Enter");
  const first = page.locator(".completion button.token").first();
  await first.focus();
  const spoken = await first.evaluate((button) => button.getAttribute("aria-label") ?? button.textContent);
  assert.match(spoken, /\d/, "its name says how likely it was");
  await page.keyboard.press("Enter");
  await visitor.at("token-panel").waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.closest("#token-panel") !== null), true);
  await page.keyboard.press("Escape");
  await visitor.at("token-panel").waitFor({ state: "hidden" });
});

scenario("the policies that ship talk first, and write facts, which are drawn as a graph", {}, async ({ server, browser, visitor, page }) => {
  server.restore(CATALOG_FILE);
  await visitor.arrive();
  const names = await page.locator("#policy option").allInnerTexts();
  assert.equal(names[0], "talk");
  await visitor.mode("single");
  await visitor.write("Good morning!");
  assert.match((await visitor.texts())[0], /\w/);
  await browser.picture("talk");
  await visitor.at("policy").selectOption({ label: "base" });
  await visitor.ready();
  await visitor.task("triples");
  await visitor.mode("single");
  await visitor.set({ temperature: 0 });
  await visitor.at("write").click();
  await visitor.written();
  await page.locator("#graph text").first().waitFor();
  await browser.picture("graph");
});
