//! The collector asks: policies that meet, one policy with two settings, texts that are only shown, nothing at all.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { after, before } from "node:test";
import { promisify } from "node:util";

import { violations } from "./axe.js";
import { Collector } from "./collector.js";
import { makeRivals } from "./rivals.js";
import { scenario } from "./scenario.js";
import { named } from "./surroundings.js";
import { servePolicies } from "./tiny.js";

const run = promisify(execFile);
const BROKEN = /net::ERR_|Failed to load resource/;
const SAMPLING = {
  temperature: 1,
  top_k: 0,
  top_p: 1,
  min_p: 0,
  repetition_penalty: 1,
  max_completion_length: 8,
};
/** Settings of the second arm. */
const OTHER = { ...SAMPLING, temperature: 0.5, top_k: 20 };

let rivals;
before(async () => (rivals = await makeRivals()));
after(() => rivals.remove());

/** Makes the host offer the three policies and a collector; what they are called in ratings. */
async function serve(server) {
  const [tiny, rival, stranger] = await Promise.all(rivals.files.map((file) => readFile(file)));
  const bundles = { "tiny.kudos": tiny, "rival.kudos": rival, "stranger.kudos": stranger };
  const entries = servePolicies(server, bundles, { collector: Collector.ADDRESS });
  return entries.map(({ sha256, manifest }) => ({ name: manifest.name, sha256, adapter: null }));
}

/** A query of these arms: policy and settings each. */
function query(arms, changes = {}) {
  return {
    id: timedUuid(),
    reason: "random",
    task: "dialogue",
    prompt: {
      messages: [
        { role: "system", content: "dialogue" },
        { role: "user", content: "Who was 123456789?" },
      ],
      text: "",
      token_ids: [],
    },
    arms: arms.map(([policy, sampling]) => ({ policy, sampling })),
    ...changes,
  };
}

/** A UUID of version 7, as far as its form goes. */
function timedUuid() {
  return randomUUID().replace(/^(.{14})4/, "$17");
}

/** What the posted ratings of this query say, once there are so many. */
async function posted({ server, visitor }, count) {
  await visitor.open("ratings");
  await visitor.at("send-now").click();
  await server.collector.until(() => server.collector.received.size === count);
  await visitor.shut("ratings");
  return [...server.collector.received.values()].at(-1);
}

/** Both arms stand in the rating, in the order shown, each with its settings and its policy. */
function checkArms(rating, { id, reason, arms, prompt }, texts) {
  assert.deepEqual(rating.query, { id, reason });
  assert.deepEqual(rating.prompt.messages, prompt.messages, "what the collector sent is not masked");
  assert.deepEqual(rating.samples.map((sample) => sample.text.trim()), texts);
  const shown = rating.samples.map(({ sampling }, place) => [place === 1 ? (rating.rival ?? rating.policy) : rating.policy, sampling]);
  const asked = arms.map(({ policy, sampling }) => [policy, sampling]);
  const order = JSON.stringify(shown[0]) === JSON.stringify(asked[0]) ? asked : asked.toReversed();
  assert.deepEqual(shown, order);
  const [left, right] = rating.samples.map((sample) => sample.seed);
  assert.notEqual(left, right);
  return order === asked;
}

scenario("policies that meet are rated blind, in both orders, and the trainer recomputes what each wrote", {}, async ({ server, browser, visitor, page }) => {
  const [tiny, rival] = await serve(server);
  const { collector } = server;
  await visitor.arrive();
  await visitor.task("dialogue");
  const inOrder = new Set();
  let count = 0;
  while (inOrder.size < 2 && count < 40) {
    const asked = query([[tiny, SAMPLING], [rival, OTHER]]);
    collector.queries.push(asked);
    await visitor.ask();
    const shown = await page.locator("#completions, #rating").allInnerTexts();
    assert.ok(shown.every((part) => !/tiny|rival|random/i.test(part)), "nobody is named before the verdict");
    assert.match(shown[0], /Who was 123456789\?/);
    if (count === 0) {
      await browser.picture("asked-pair");
      assert.deepEqual(await violations(page), []);
    }
    await visitor.judge("judge-right");
    assert.match(await visitor.at("written-by").innerText(), /(tiny|rival) \(left\) and .* \(right\)/i);
    const texts = await visitor.texts();
    count += 1;
    const rating = await posted({ server, visitor }, count);
    inOrder.add(checkArms(rating, asked, texts));
    assert.ok(rating.rival !== undefined && rating.rival.sha256 !== rating.policy.sha256);
  }
  await browser.picture("asked-rated");
  assert.equal(inOrder.size, 2, "each of the two stood on the left");
  assert.equal(server.asked("policies/rival.kudos").length, 1, "it is fetched once");
  const [{ rater }] = collector.received.values();
  assert.deepEqual(collector.askers[0], { asked: { task: "dialogue" }, rater: `Rater ${rater}` });
  await imported(visitor, count);
});

scenario("one policy with two settings, then a text that is only shown, then nothing", {}, async ({ server, browser, visitor, page }) => {
  const [tiny, rival] = await serve(server);
  const { collector } = server;
  await visitor.arrive();
  const settings = query([[rival, SAMPLING], [rival, OTHER]], { reason: "coverage" });
  collector.queries.push(settings);
  await visitor.ask();
  await visitor.judge("judge-tie");
  const first = await posted({ server, visitor }, 1);
  checkArms(first, settings, await visitor.texts());
  assert.deepEqual([first.rival, first.policy.sha256], [undefined, rival.sha256]);

  const { policy, samples, prompt } = first;
  const gold = query([[policy, samples[0].sampling], [policy, samples[1].sampling]], { reason: "gold", prompt, samples });
  collector.queries.push(gold);
  await visitor.at("next-query").click();
  await visitor.written();
  await visitor.judge("judge-left");
  const second = await posted({ server, visitor }, 2);
  checkArms(second, gold, await visitor.texts());
  const bySeed = (list) => list.toSorted((left, right) => left.seed - right.seed);
  assert.deepEqual(bySeed(second.samples), bySeed(samples), "what was shown is what was sent");

  const one = query([[tiny, SAMPLING]], { task: "sentences", prompt: { messages: [], text: "Once", token_ids: [] } });
  collector.queries.push(one);
  await visitor.ask();
  assert.match(await page.locator(".given").innerText(), /Once/);
  await visitor.judge("star-4");
  assert.deepEqual((await posted({ server, visitor }, 3)).query, { id: one.id, reason: "random" });

  await visitor.at("ask").click();
  await noted(visitor, /^There is nothing to ask at the moment/);
  await browser.picture("asked-nothing");
  assert.deepEqual(await violations(page), []);
  await visitor.rate("judge-left");
  const own = (await visitor.ratings()).at(-1);
  assert.deepEqual([own.query, own.rival, own.policy.sha256], [undefined, undefined, tiny.sha256]);
  await imported(visitor, 4);
});

scenario("a question whose policy does not come, or reads other tokens, is skipped with a sentence", { mayComplain: [BROKEN] }, async ({ server, browser, visitor, page }) => {
  const [tiny, rival, stranger] = await serve(server);
  const { collector } = server;
  await visitor.arrive();
  server.spoil("policies/rival.kudos", { status: 404 });
  collector.queries.push(query([[tiny, SAMPLING], [rival, SAMPLING]]));
  await visitor.at("ask").click();
  await noted(visitor, /a policy for it could not be loaded/);
  await browser.picture("asked-skipped");
  assert.deepEqual(await violations(page), []);
  collector.queries.push(query([[stranger, SAMPLING], [tiny, SAMPLING]]));
  await visitor.at("ask").click();
  await noted(visitor, /read the prompt differently/);
  assert.equal(await visitor.at("error").isVisible(), false, "nothing is wrong");
  collector.queries.push(query([[rival, SAMPLING], [tiny, SAMPLING]]));
  await visitor.ask();
  await visitor.at("skip").click();
  await visitor.rate("judge-left");
  const [rating, ...more] = await visitor.ratings();
  assert.deepEqual([rating.query, more], [undefined, []]);
});

scenario("a query needs no mouse, survives an undo, and is forgotten by a reload", {}, async ({ server, visitor, page }) => {
  const [tiny, rival] = await serve(server);
  const asked = query([[rival, SAMPLING], [tiny, SAMPLING]]);
  server.collector.queries.push(asked, query([[tiny, SAMPLING]]));
  await visitor.arrive();
  await visitor.tabTo("ask");
  await page.keyboard.press("Enter");
  await visitor.written();
  await page.keyboard.press("1");
  await visitor.agreeUntil(page.locator('#judge-left[aria-pressed="true"]'));
  await visitor.at("undo").click();
  await visitor.judge("judge-right");
  const [rating] = await visitor.ratings();
  assert.deepEqual([rating.query.id, rating.verdict], [asked.id, { pair: "right" }]);
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press("q");
  await page.locator("#thumb-up:enabled").waitFor();
  await visitor.reload();
  assert.equal(await page.locator(".completion").count(), 0);
  assert.equal((await visitor.ratings()).length, 1);
});

/** Waits until this is said of the question. */
function noted(visitor, sentence) {
  return visitor.at("query-note").filter({ hasText: sentence }).waitFor();
}

/** The trainer accepts all that the page exports, and recomputes what each policy wrote. */
async function imported(visitor, count) {
  const { text } = await visitor.exported("ratings");
  const file = path.join(rivals.folder, `${randomUUID()}.jsonl`);
  await writeFile(file, text);
  const [tiny, rival] = rivals.files;
  const bundles = ["--bundle", tiny, "--bundle", rival];
  const { stdout } = await run(named("KUDOS_TRAINER"), ["feedback", "import", "--json", ...bundles, "--output", `${file}.out`, file]);
  const report = JSON.parse(stdout);
  assert.deepEqual([report.accepted, report.verified, report.refusals], [count, count, []]);
}
