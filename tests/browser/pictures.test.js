//! A policy with eyes, taught by the trainer: pictures drawn and chosen in the page, rated, and checked by the trainer.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { violations } from "./axe.js";
import { scenario } from "./scenario.js";
import { named } from "./surroundings.js";
import { servePolicies } from "./tiny.js";
import { rows } from "./visitor.js";

const run = promisify(execFile);
const TINY = fileURLToPath(new URL("tiny.kudos", import.meta.url));
const EMOJIS = fileURLToPath(new URL("../../data/emoji_sheet_32_q256.png", import.meta.url));
const SIZE = 16;
const CARD = `name = "seeing"
summary = "It names pictures, badly."
tasks = ["captions"]
license = "MIT OR Apache-2.0"
recipe = "a test"

[sampling]
max_completion_length = 12

[prompts]
captions = ["?"]
`;

/** A folder with a bundle of a policy that looks, and the trainer at work in it. */
async function workshop() {
  const folder = await mkdtemp(path.join(os.tmpdir(), "kudos-pictures-"));
  const trainer = async (...args) => (await run(named("KUDOS_TRAINER"), args, { cwd: folder })).stdout;
  await writeFile(path.join(folder, "eyes.toml"), `stage = "sft"\n[data]\ntasks = ["captions"]\n[vision]\nimage_size = ${SIZE}\nwidth = 4\n`);
  await writeFile(path.join(folder, "card.toml"), CARD);
  await trainer("sft", "--config", "eyes.toml", "--model", TINY, "--steps", "3", "--seed", "1", "--device", "flex", "--output-dir", "eyes");
  await trainer("export", "--model", "eyes/model", "--card", "card.toml", "--output", "seeing.kudos");
  return { folder, trainer, bundle: await readFile(path.join(folder, "seeing.kudos")) };
}

/** The color at a place of the canvas that `selector` finds, from 0 to 1 on both sides. */
function colorAt(page, selector, x, y) {
  const read = (canvas, [x, y]) => {
    const place = [Math.floor(x * canvas.width), Math.floor(y * canvas.height)];
    return [...canvas.getContext("2d").getImageData(...place, 1, 1).data];
  };
  return page.locator(selector).evaluate(read, [x, y]);
}

/** Draws a line with the mouse, from 0 to 1 on both sides. */
async function draw(page, from, to) {
  const canvas = page.locator("#picture");
  await canvas.scrollIntoViewIfNeeded();
  const { x, y, width, height } = await canvas.boundingBox();
  const place = ([right, down]) => [x + right * width, y + down * height];
  await page.mouse.move(...place(from));
  await page.mouse.down();
  await page.mouse.move(...place(to), { steps: 5 });
  await page.mouse.up();
}

scenario("a visitor draws or chooses a picture, rates what is said of it, and the trainer looks at it again", {}, async ({ server, visitor, page }) => {
  const { folder, trainer, bundle } = await workshop();
  try {
    servePolicies(server, { "seeing.kudos": bundle });
    await visitor.arrive();
    const white = [255, 255, 255, 255];
    assert.deepEqual(await colorAt(page, "#picture", 0.5, 0.5), white);
    await visitor.begin("?");
    assert.match(await visitor.trouble(), /nothing to look at/);
    assert.deepEqual(await violations(page), []);

    await page.locator("#color-2").click();
    await draw(page, [0.2, 0.5], [0.8, 0.5]);
    const [red, green] = await colorAt(page, "#picture", 0.5, 0.5);
    assert.ok(red > 200 && green < 100, "a red line");
    assert.deepEqual(await colorAt(page, "#picture", 0.5, 0.9), white);
    await visitor.write("?");
    assert.deepEqual(await colorAt(page, ".given canvas", 0.5, 0.5), await colorAt(page, "#picture", 0.5, 0.5));
    await visitor.at("picture-clear").click();
    assert.deepEqual(await colorAt(page, "#picture", 0.5, 0.5), white);
    assert.notDeepEqual(await colorAt(page, ".given canvas", 0.5, 0.5), white, "what was looked at stays");
    await visitor.judge("judge-left");
    await visitor.at("color-toggle").click();
    await page.locator(".completion .token").first().click();
    await page.locator("#token-panel .alternative").first().waitFor();

    await visitor.at("picture-file").setInputFiles({ name: "words.png", mimeType: "image/png", buffer: Buffer.from("no picture") });
    assert.match(await visitor.trouble(), /cannot read this file as a picture/);
    await visitor.at("picture-file").setInputFiles(EMOJIS);
    await page.waitForFunction(() => document.getElementById("error").hidden);
    await visitor.write("?");
    await visitor.judge("judge-right");
    assert.deepEqual(await violations(page), []);

    const { text } = await visitor.exported("ratings");
    const pictures = rows(text).map(({ prompt }) => prompt.picture);
    assert.deepEqual(pictures.map(({ size, pixels }) => [size, pixels.length]), [[SIZE, 6 * SIZE * SIZE], [SIZE, 6 * SIZE * SIZE]]);
    assert.notEqual(pictures[0].pixels, pictures[1].pixels);
    await writeFile(path.join(folder, "export.jsonl"), text);
    const report = JSON.parse(await trainer("feedback", "import", "export.jsonl", "--bundle", "seeing.kudos", "--json"));
    assert.deepEqual(report.refusals, []);
    assert.equal(report.verified, 2, "with the pictures, all is computed again");
    await writeFile(path.join(folder, "exchanged.jsonl"), text.replace(pictures[0].pixels, pictures[1].pixels));
    const exchanged = JSON.parse(await trainer("feedback", "import", "exchanged.jsonl", "--bundle", "seeing.kudos", "--output", "other.jsonl", "--json"));
    assert.deepEqual(exchanged.refusals.map(({ cause }) => cause), ["logprobs"]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
