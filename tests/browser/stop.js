//! Stop: how soon it works, and that nothing comes after.

import assert from "node:assert/strict";

/** How soon Stop must have its effect. */
export const STOP_MS = 100;

/**
 * Makes the CPU engine rest at each look at its mail, as a slow device would: otherwise the few tokens that fit the tiny policy's
 * context may all be written before a frame shows the first.
 */
export async function slowDown(page) {
  const worker = page.workers().find((each) => each.url().includes("engine-cpu"));
  await worker.evaluate(restAtEachLook);
}

/** In a worker of an engine: its look at its mail, a message to itself, comes late. */
export function restAtEachLook() {
  const { postMessage } = MessagePort.prototype;
  MessagePort.prototype.postMessage = function later(...parts) {
    setTimeout(() => postMessage.apply(this, parts), 30);
  };
}

/** Begins a long text, presses Stop after its first tokens, and checks that none follows. */
export async function stopInTheMidst(visitor, note) {
  const { page } = visitor;
  await visitor.mode("single");
  await visitor.open("settings");
  const longest = await visitor.at("length").getAttribute("max");
  await visitor.set({ length: Number(longest) - 16, seed: 1, temperature: 1, "top-k": 0, "top-p": 1 });
  const stopped = page.evaluate(stopAfterTwoTokens);
  await visitor.begin("Once");
  const { milliseconds, tokens } = await stopped;
  note(`stopped after ${milliseconds.toFixed(1)} ms`);
  assert.ok(milliseconds <= STOP_MS, `it took ${milliseconds} ms`);
  // The engine answers in order: once it has answered this, nothing of the text is on its way any more.
  await visitor.at("color-toggle").click();
  await page.locator(".completion .token").first().click();
  await page.locator("#token-panel .alternative").first().waitFor();
  assert.equal(await visitor.tokens(), tokens, "no token came after");
  await page.keyboard.press("Escape");
  await visitor.judge("thumb-up");
  const [sample] = (await visitor.ratings()).at(-1).samples;
  assert.equal(sample.end_reason, "interrupted");
  assert.equal(sample.token_ids.length, tokens);
}

/** In the page: presses Stop when two tokens stand there; the time until the text can be rated, and the tokens then. */
export function stopAfterTwoTokens() {
  const tokens = () => document.querySelectorAll(".completion .token").length;
  return new Promise((done, failed) => {
    let pressed;
    const watch = new MutationObserver(() => {
      if (pressed === undefined && tokens() >= 2) {
        pressed = performance.now();
        const stop = document.querySelector("#stop");
        if (stop === null) failed(new Error("the text ended before it could be stopped"));
        stop?.click();
      } else if (pressed !== undefined && document.querySelector("#thumb-up:enabled")) {
        watch.disconnect();
        done({ milliseconds: performance.now() - pressed, tokens: tokens() });
      }
    });
    watch.observe(document.body, { attributes: true, childList: true, subtree: true });
  });
}
