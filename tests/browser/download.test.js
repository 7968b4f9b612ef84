//! The policy on its way: broken, damaged, wrong, the visitor's own.

import assert from "node:assert/strict";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { scenario } from "./scenario.js";
import { CATALOG_FILE, TINY_FILE, serveTinyPolicy, tinyBundle } from "./tiny.js";

const MEBIBYTE = 1024 * 1024;
/** What Chromium itself says of a connection that broke or an answer that is an error. */
const BROKEN = /net::ERR_|Failed to load resource/;

scenario("a broken download goes on where it stopped", { mayComplain: [BROKEN] }, async ({ server, visitor, page }) => {
  await serveTinyPolicy(server, {}, await tinyBundle(3 * MEBIBYTE));
  await breakOnceKept({ server, page, pieces: 1 });
  await visitor.ready();
  const [first, second, ...more] = server.asked(TINY_FILE);
  assert.equal(first.range, undefined);
  assert.match(second.range, /^bytes=\d+-$/);
  assert.ok(begin(second) > 0 && begin(second) <= first.bytes, `${second.range} after ${first.bytes} bytes`);
  assert.equal(second.status, 206);
  assert.deepEqual(more, []);
});

scenario("what came before a reload is not fetched twice", { mayComplain: [BROKEN] }, async ({ server, visitor, page }) => {
  await serveTinyPolicy(server, {}, await tinyBundle(3 * MEBIBYTE));
  await breakOnceKept({ server, page, pieces: 2, then: () => server.spoil(TINY_FILE, { refuse: true }, 20) });
  assert.match(await visitor.trouble(), /connection broke/);
  server.heal();
  const before = server.asked(TINY_FILE).length;
  await visitor.reload();
  const [after, ...more] = server.asked(TINY_FILE).slice(before);
  // What the browser held in its hands when the connection broke may be lost, but no piece that was kept.
  assert.ok(begin(after) > 0 && begin(after) % MEBIBYTE === 0, `it goes on from byte ${begin(after)}`);
  assert.deepEqual(more, []);
  await visitor.reload();
  assert.equal(server.asked(TINY_FILE).length, before + 1, "and in the end nothing is fetched at all");
});

scenario("a damaged copy heals itself", { mayComplain: [BROKEN] }, async ({ server, visitor, page }) => {
  await visitor.arrive();
  const before = server.asked(TINY_FILE).length;
  const damaged = await page.evaluate(async () => {
    const cache = await caches.open("kudos-bundles");
    const pieces = (await cache.keys()).filter((request) => request.url.includes("/kudos-bundles/"));
    for (const piece of pieces) {
      const bytes = new Uint8Array(await (await cache.match(piece)).arrayBuffer());
      bytes[bytes.length >> 1] ^= 1;
      await cache.put(piece, new Response(bytes));
    }
    return pieces.length;
  });
  assert.ok(damaged > 0, "there was a copy to damage");
  await visitor.reload();
  assert.equal(server.asked(TINY_FILE).length, before + 1);
  await visitor.reload();
  assert.equal(server.asked(TINY_FILE).length, before + 1, "the healed copy is kept");
});

scenario("bytes of another hash are refused with a remedy", {}, async ({ server, visitor, page }) => {
  const right = await tinyBundle();
  const wrong = Buffer.from(right);
  wrong[wrong.length - 1] ^= 1;
  server.put(TINY_FILE, wrong);
  await page.goto(server.url);
  assert.match(await visitor.trouble(), /hash differs/);
  assert.equal(await page.locator("#write:enabled").count(), 0, "nothing can be written with it");
  assert.equal(server.asked(TINY_FILE).length, 2, "it was fetched anew once");
  server.put(TINY_FILE, right);
  await visitor.at("retry").click();
  await visitor.ready();
  assert.equal(await visitor.at("error").isVisible(), false);
});

for (const [what, file, fault, sentence] of [
  ["a list of policies that does not come", CATALOG_FILE, { refuse: true }, /list of policies cannot be reached/],
  ["a list of policies that is an error", CATALOG_FILE, { status: 500 }, /answers 500 to the question/],
  ["a policy that is not there", TINY_FILE, { status: 404 }, /answers 404 in place of the policy/],
  ["a policy whose host goes away", TINY_FILE, { refuse: true }, /connection broke/],
]) {
  scenario(`${what} is a sentence, and trying again helps`, { mayComplain: [BROKEN] }, async ({ server, visitor, page }) => {
    server.spoil(file, fault, 20);
    await page.goto(server.url);
    assert.match(await visitor.trouble(), sentence);
    server.heal();
    await visitor.at("retry").click();
    await visitor.ready();
  });
}

scenario("progress is told in bytes while a policy comes", {}, async ({ server, visitor, page }) => {
  let send;
  server.spoil(TINY_FILE, { wait: new Promise((done) => (send = done)) });
  await page.goto(server.url);
  await visitor.at("progress").waitFor();
  assert.match(await visitor.at("status").innerText(), /\d.* of .*\d/);
  send();
  await visitor.ready();
  assert.equal(await visitor.at("progress").isVisible(), false);
});

scenario("a visitor writes with a policy from their own disk", {}, async ({ server, visitor, page }) => {
  server.put(CATALOG_FILE, JSON.stringify({ policies: [] }));
  await page.goto(server.url);
  assert.match(await visitor.trouble(), /Open one of your own/);
  await visitor.open("settings");
  await visitor.at("own-bundle").setInputFiles(fileURLToPath(new URL("./server.js", import.meta.url)));
  await page.getByText("This file is no policy").waitFor();
  await visitor.at("own-bundle").setInputFiles(fileURLToPath(new URL("./tiny.kudos", import.meta.url)));
  await visitor.shut("settings");
  await visitor.ready();
  await visitor.rate("judge-left");
  assert.equal(server.asked(TINY_FILE).length, 0);
  const [rating] = await visitor.ratings();
  assert.match(rating.policy.sha256, /^[0-9a-f]{64}$/);
});

/** Opens the page and breaks its download when so many pieces are kept and a part of the next one was sent. */
async function breakOnceKept({ server, page, pieces, then = () => undefined }) {
  let breakOff;
  const until = new Promise((done) => (breakOff = done));
  server.spoil(TINY_FILE, { cut: pieces * MEBIBYTE + 100_000, until });
  then();
  await page.goto(server.url);
  const kept = () =>
    page.evaluate(async () => {
      const requests = await (await caches.open("kudos-bundles")).keys();
      // The list of policies is kept there too, a JSON file.
      return requests.filter(({ url }) => url.includes("/kudos-bundles/") && !url.endsWith(".json")).length;
    });
  // Not `waitForFunction`, to which any promise is true.
  while ((await kept()) < pieces) await setTimeout(20);
  breakOff();
}

/** The first byte that a request asked for. */
function begin(request) {
  return Number(/^bytes=(\d+)-/.exec(request.range)[1]);
}
