//! Ratings: every way to give one, by mouse and by keyboard, and that none is lost.

import assert from "node:assert/strict";

import { scenario } from "./scenario.js";
import { rows } from "./visitor.js";

const PAIR = [
  ["judge-left", { pair: "left" }],
  ["judge-right", { pair: "right" }],
  ["judge-tie", { pair: "tie" }],
  ["judge-both-bad", { pair: "both_bad" }],
];
const SINGLE = [
  ["thumb-up", { thumbs: "up" }],
  ["thumb-down", { thumbs: "down" }],
  ...[1, 2, 3, 4, 5].map((value) => [`star-${value}`, { stars: value }]),
];
/** Keys that stand for the verdicts above, in their order. */
const PAIR_KEYS = ["1", "2", "=", "x"];
const SINGLE_KEYS = ["+", "-", "1", "2", "3", "4", "5"];

scenario("every verdict becomes a rating that holds what was shown", {}, async ({ browser, visitor }) => {
  await visitor.arrive();
  const shown = [];
  for (const [button] of PAIR) {
    await visitor.rate(button);
    shown.push(await visitor.texts());
  }
  await browser.picture("rated-pair");
  await visitor.mode("single");
  for (const [button] of SINGLE) {
    await visitor.rate(button);
    shown.push(await visitor.texts());
  }
  await browser.picture("rated-single");
  const ratings = await visitor.ratings();
  assert.deepEqual(ratings.map((rating) => rating.verdict), [...PAIR, ...SINGLE].map(([, verdict]) => verdict));
  ratings.forEach((rating, place) => check(rating, shown[place]));
  assert.equal(new Set(ratings.map((rating) => rating.rater)).size, 1);
  assert.equal(new Set(ratings.map((rating) => rating.id)).size, ratings.length);
  assert.match(await visitor.at("session-count").innerText(), /\b11\b/);
});

/** What every rating holds, whatever its verdict. */
function check(rating, texts) {
  assert.equal(rating.version, 1);
  assert.deepEqual(rating.samples.map((sample) => sample.text.trim()), texts);
  assert.ok(rating.prompt.token_ids.length > 0);
  assert.ok(rating.seconds >= 0 && rating.consent !== "" && rating.backend !== "");
  for (const sample of rating.samples) {
    const tokens = sample.token_ids.length;
    assert.ok(tokens > 0);
    assert.equal(sample.logprobs_drawn.length, tokens);
    assert.equal(sample.logprobs_full.length, tokens);
    assert.ok(["stop", "length"].includes(sample.end_reason));
  }
}

scenario("an edit, reasons, a remark and a report stand in the rating", {}, async ({ browser, visitor }) => {
  await visitor.arrive();
  await visitor.mode("single");
  await visitor.write();
  await visitor.at("edit").click();
  await browser.picture("edit");
  await visitor.at("edit-text").fill("What it should have said.");
  await visitor.at("edit-save").click();
  await visitor.consent();
  await visitor.at("reason-clear").click();
  await visitor.at("reason-wrong").click();
  await visitor.at("reason-clear").click();
  await visitor.at("remark").fill("write to someone@example.org");
  await visitor.at("report-0").click();
  const [rating, ...more] = await visitor.ratings();
  assert.deepEqual(rating.verdict, { edit: "What it should have said." });
  assert.deepEqual(rating.reasons, ["wrong"]);
  assert.deepEqual(rating.reported, [0]);
  assert.ok(rating.remark.startsWith("write to ") && !rating.remark.includes("example.org"), rating.remark);
  assert.deepEqual(more, []);
  assert.ok((await visitor.at("preview").innerText()).includes(rating.id), "the preview is what leaves the page");
});

scenario("a report needs no verdict", {}, async ({ visitor }) => {
  await visitor.arrive();
  await visitor.write();
  await visitor.at("report-1").click();
  await visitor.at("skip").click();
  await visitor.consent();
  const [rating] = await visitor.ratings();
  assert.deepEqual([rating.verdict, rating.reported], ["report", [1]]);
});

scenario("without consent nothing is kept", {}, async ({ browser, visitor, page }) => {
  await visitor.arrive();
  await visitor.write();
  await visitor.at("judge-left").click();
  await visitor.at("consent").waitFor();
  await browser.picture("consent");
  await visitor.at("consent-no").click();
  await visitor.at("consent").waitFor({ state: "hidden" });
  assert.equal(await page.locator('[aria-pressed="true"]#judge-left').count(), 0);
  assert.match(await countOf(visitor), /\b0\b/);
});

scenario("the last rating can be taken back, and texts can be skipped", {}, async ({ visitor }) => {
  await visitor.arrive();
  await visitor.rate("judge-left");
  await visitor.rate("judge-right");
  const texts = await visitor.texts();
  await visitor.at("undo").click();
  assert.deepEqual(await visitor.texts(), texts, "its texts are shown again");
  await visitor.at("judge-tie").click();
  await visitor.write();
  await visitor.at("skip").click();
  const verdicts = (await visitor.ratings()).map((rating) => rating.verdict.pair);
  assert.deepEqual(verdicts, ["left", "tie"]);
});

scenario("one round is one rating, changed by a second verdict", {}, async ({ visitor }) => {
  await visitor.arrive();
  await visitor.rate("judge-left");
  await visitor.at("judge-right").click();
  const ratings = await visitor.ratings();
  assert.deepEqual(ratings.map((rating) => rating.verdict.pair), ["right"]);
});

scenario("ratings are there after a reload, and after a crash right after they were made", {}, async ({ browser, visitor }) => {
  await visitor.arrive();
  await visitor.rate("judge-left");
  await visitor.reload();
  assert.equal((await visitor.ratings()).length, 1);
  await visitor.rate("judge-right");
  await browser.crash();
  await visitor.comeBack();
  const verdicts = (await visitor.ratings()).map((rating) => rating.verdict.pair);
  assert.deepEqual(verdicts, ["left", "right"]);
});

scenario("a visit needs no mouse", {}, async ({ visitor, page }) => {
  const { keyboard } = page;
  await visitor.arrive();
  await visitor.tabTo("prompt");
  await keyboard.press("ControlOrMeta+A");
  await keyboard.type("Once");
  await visitor.tabTo("write");
  await keyboard.press("Enter");
  await visitor.written();
  await visitor.tabTo("judge-left");
  await keyboard.press("Enter");
  await visitor.at("consent").waitFor();
  await visitor.tabTo("consent-yes");
  await keyboard.press("Enter");
  await visitor.at("consent").waitFor({ state: "hidden" });
  await page.locator('#judge-left[aria-pressed="true"]').waitFor();
  await visitor.tabTo("mode-single");
  await keyboard.press("Space");
  await visitor.tabTo("ratings-toggle");
  await keyboard.press("Enter");
  await visitor.at("ratings").waitFor();
  await visitor.tabTo("export-ratings");
  const [download] = await Promise.all([page.waitForEvent("download"), keyboard.press("Enter")]);
  assert.equal(download.suggestedFilename(), "kudos-ratings.jsonl");
  await keyboard.press("Escape");
  await visitor.at("ratings").waitFor({ state: "hidden" });
});

scenario("single keys write, rate, skip and undo", {}, async ({ visitor, page }) => {
  const press = (key) => page.keyboard.press(key);
  await visitor.arrive();
  const round = async (key) => {
    await page.evaluate(() => document.activeElement.blur());
    await press("w");
    await visitor.written();
    await press(key);
    await visitor.agreeUntil(page.locator('#rating button[aria-pressed="true"]').first());
  };
  await visitor.at("prompt").fill("Once");
  for (const key of PAIR_KEYS) {
    await round(key);
  }
  await visitor.mode("single");
  for (const key of SINGLE_KEYS) {
    await round(key);
  }
  await press("u");
  const verdicts = (await visitor.ratings()).map((rating) => rating.verdict);
  assert.deepEqual(verdicts, [...PAIR, ...SINGLE].slice(0, -1).map(([, verdict]) => verdict));
});

scenario("left and right are a coin that the record tells", {}, async ({ visitor }) => {
  await visitor.arrive();
  await visitor.set({ seed: 7, length: 4 });
  const left = new Set();
  for (let round = 0; round < 40 && left.size < 2; round += 1) {
    await visitor.rate("judge-tie");
    const [, ...samples] = [undefined, ...(await visitor.ratings()).at(-1).samples];
    assert.deepEqual(samples.map((sample) => sample.seed).sort(), [7, 8]);
    left.add(samples[0].seed);
    await visitor.shut("ratings");
  }
  assert.equal(left.size, 2, "in 40 rounds each of the two stood on the left");
});

scenario("all ratings can be deleted, and brought back", {}, async ({ visitor }) => {
  await visitor.arrive();
  await visitor.rate("judge-left");
  const rater = (await visitor.ratings())[0].rater;
  await visitor.at("ratings-delete").click();
  assert.match(await countOf(visitor), /\b0\b/);
  await visitor.at("undo").click();
  assert.equal((await visitor.ratings()).length, 1);
  await visitor.at("rater-reset").click();
  await visitor.shut("ratings");
  await visitor.rate("judge-right");
  const raters = (await visitor.ratings()).map((rating) => rating.rater);
  assert.equal(raters[0], rater);
  assert.notEqual(raters[1], rater, "whoever rates after the reset is somebody else");
});

scenario("ratings leave the page in all five shapes", {}, async ({ visitor }) => {
  await visitor.arrive();
  await visitor.rate("judge-left");
  await visitor.mode("single");
  await visitor.rate("star-5");
  await visitor.write();
  await visitor.at("edit").click();
  await visitor.at("edit-text").fill("Better.");
  await visitor.at("edit-save").click();
  for (const [shape, columns, count] of [
    ["ratings", ["id", "policy", "samples", "verdict"], 3],
    ["preference", ["prompt", "chosen", "rejected"], 2],
    ["unpaired", ["prompt", "completion", "label"], 1],
    ["scalar", ["prompt", "completion", "reward"], 1],
    ["sft", ["prompt", "completion"], 1],
  ]) {
    const { name, text } = await visitor.exported(shape);
    assert.equal(name, `kudos-${shape}.jsonl`);
    const found = rows(text);
    assert.equal(found.length, count, shape);
    assert.ok(found.every((row) => columns.every((column) => column in row)), `${shape}: ${text}`);
  }
});

/** What the panel says of the number of ratings. */
async function countOf(visitor) {
  await visitor.open("ratings");
  return visitor.at("session-count").innerText();
}
