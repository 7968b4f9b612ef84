//! The page in the browsers that are no Chromium: Firefox, and WebKit, the nearest thing to Safari on Linux.
//!
//! Chromium goes through every state; here one visit shows that nothing which a visit needs is Chromium's alone.

import assert from "node:assert/strict";
import test from "node:test";

import { openFirefox } from "./firefox.js";
import { PageServer } from "./server.js";
import { restAtEachLook, STOP_MS, stopAfterTwoTokens } from "./stop.js";
import { named } from "./surroundings.js";
import { serveTinyPolicy } from "./tiny.js";
import { rows } from "./visitor.js";
import { openWebkit } from "./webkit.js";

const BROWSERS = [
  ["Firefox", openFirefox, named("KUDOS_FIREFOX")],
  ["WebKit", openWebkit, named("KUDOS_WEBKIT")],
];
/** The value of the variables above that leaves a browser out. */
const LEFT_OUT = "none";
const TIMEOUT_MS = 300_000;
/** The width of a small phone. */
const NARROW_PX = 320;

for (const [name, open, program] of BROWSERS.filter(([, , program]) => program !== LEFT_OUT)) {
  const visit = (law, show) => {
    test(`${name}: ${law}`, { timeout: TIMEOUT_MS }, async (context) => {
      const server = await PageServer.start(named("KUDOS_SITE"));
      await serveTinyPolicy(server);
      const browser = await open(program);
      try {
        await show({ server, browser, note: (text) => context.diagnostic(text) });
        assert.deepEqual(await browser.channel.complaints(), [], "nothing is wrong on the console");
      } catch (error) {
        await browser.picture(`failed-${name}`).catch(() => undefined);
        throw error;
      } finally {
        await browser.close();
        await server.close().catch(() => undefined);
      }
    });
  };

  visit("a visitor writes, rates in every way, and finds the ratings again without a network", async ({ server, browser, note }) => {
    await arrive(server, browser);
    note(`the policy can write after ${Math.round(await browser.run(() => performance.now()))} ms`);
    await browser.fill("#prompt", "Once there was");
    await browser.click("#write");
    await browser.click("#judge-left:enabled");
    await browser.click("#consent-yes");
    await browser.wait('#judge-left[aria-pressed="true"]');
    await browser.picture(`${name}-pair`);
    await browser.click("#mode-single");
    for (const button of ["thumb-up", "star-4"]) {
      await rate(browser, button);
    }
    await writeAnew(browser);
    await browser.click("#edit:enabled");
    await browser.fill("#edit-text", "Better.");
    await browser.click("#edit-save");
    await browser.wait('#edit[aria-pressed="true"]');
    await browser.click("#color-toggle");
    await browser.click(".completion button.token");
    await browser.wait("#token-panel .alternative:enabled");
    await browser.picture(`${name}-token`);
    await browser.run(() => navigator.serviceWorker.ready.then(() => true));
    await server.close();
    await arrive(server, browser);
    await rate(browser, "thumb-down");
    const ratings = await exported(browser);
    const verdicts = ratings.map(({ verdict }) => verdict);
    assert.deepEqual(verdicts, [{ pair: "left" }, { thumbs: "up" }, { stars: 4 }, { edit: "Better." }, { thumbs: "down" }]);
    assert.ok(ratings.every(({ backend }) => backend.startsWith("flex")));
    await browser.picture(`${name}-ratings`);
  });

  visit("the page is narrow and speaks Chinese where that is wanted", async ({ server, browser }) => {
    await arrive(server, browser);
    for (const language of ["en", "zh"]) {
      await browser.click(`#locale-${language}`);
      await browser.wait(`html[lang^="${language}"]`);
      const width = await browser.run(widthWhenNarrow, NARROW_PX);
      await browser.picture(`${name}-narrow-${language}`);
      await browser.run(() => document.querySelector("iframe").remove());
      assert.ok(width <= NARROW_PX, `${language}: ${width} pixels`);
    }
    assert.match(await browser.run(() => document.querySelector("#write").innerText), /\p{Script=Han}/u);
  });

  visit("Stop works at once", async ({ server, browser, note }) => {
    const loader = await server.read("engine-cpu_loader.js");
    server.put("engine-cpu_loader.js", `(${restAtEachLook})();\n${loader}`);
    await arrive(server, browser);
    await browser.click("#mode-single");
    await browser.click("#settings-toggle");
    await browser.fill("#length", "100");
    await browser.fill("#seed", "1");
    await browser.click("#settings-toggle");
    await browser.fill("#prompt", "Once");
    const stopped = browser.run(stopAfterTwoTokens);
    await browser.run(() => document.querySelector("#write").click());
    const { milliseconds } = await stopped;
    note(`stopped after ${milliseconds.toFixed(1)} ms`);
    assert.ok(milliseconds <= STOP_MS, `it took ${milliseconds} ms`);
  });
}

/** Opens the page and waits until it can write. */
async function arrive(server, browser) {
  await browser.goto(server.url);
  await browser.wait("#write:enabled");
}

/** Writes one text and waits until it can be rated, which the one before could as well. */
async function writeAnew(browser) {
  await browser.fill("#prompt", "Once");
  await browser.click("#write");
  await browser.wait('#rating:not(:has([aria-pressed="true"])) #thumb-up:enabled');
}

async function rate(browser, button) {
  await writeAnew(browser);
  await browser.click(`#${button}:enabled`);
  await browser.wait(`#${button}[aria-pressed="true"]`);
}

/** The records in the file that the page hands over. */
async function exported(browser) {
  await browser.click("#ratings-toggle");
  await browser.wait("#export-ratings:enabled");
  const text = await browser.run(() => {
    const { createObjectURL } = URL;
    return new Promise((done) => {
      URL.createObjectURL = (blob) => {
        done(blob.text());
        return createObjectURL.call(URL, blob);
      };
      document.querySelector("#export-ratings").click();
    });
  });
  return rows(text);
}

/** In the page: how wide it is in a frame of this width, where windows cannot be as narrow. */
function widthWhenNarrow(width) {
  const frame = document.createElement("iframe");
  Object.assign(frame.style, { position: "fixed", top: 0, left: 0, border: 0, background: "canvas" });
  Object.assign(frame, { width, height: 640, src: location.href });
  document.body.append(frame);
  return new Promise((done) => {
    const look = () => {
      const page = frame.contentDocument;
      if (page?.querySelector("#write:enabled")) {
        done(page.documentElement.scrollWidth);
      } else {
        setTimeout(look, 20);
      }
    };
    look();
  });
}
