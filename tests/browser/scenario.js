//! One test: a host of its own, a browser of its own, a visitor in it, and the laws that hold for every visit.

import assert from "node:assert/strict";
import test from "node:test";

import { Browser } from "./driver.js";
import { PageServer } from "./server.js";
import { named } from "./surroundings.js";
import { serveTinyPolicy } from "./tiny.js";
import { Visitor } from "./visitor.js";

/** No visit takes longer, also on a slow and busy machine with WebGPU in software. */
const TIMEOUT_MS = 600_000;

/** A visit that may not go wrong: whatever is said on the console fails it. */
const NO_COMPLAINT = [];

/**
 * A test named after the law that `visit({ server, browser, visitor, page, note, law })` shows; `note(text)` prints a line beside
 * its result, and `law(name, show)` is a test within the visit, where getting there takes long. Options are those of `Browser.open`, besides `mayComplain`: patterns of console errors that belong to the scenario, such
 * as those of a broken connection.
 */
export function scenario(law, { mayComplain = NO_COMPLAINT, ...options }, visit) {
  test(law, { timeout: TIMEOUT_MS }, async (context) => {
    const server = await PageServer.start(named("KUDOS_SITE"));
    await serveTinyPolicy(server);
    const browser = await Browser.open(options);
    try {
      const visitor = new Visitor(browser, server);
      const note = (text) => context.diagnostic(text);
      const law = (name, show) => context.test(name, show);
      await visit({ server, browser, visitor, page: browser.page, note, law });
      const unexpected = (text) => !mayComplain.some((pattern) => pattern.test(text));
      assert.deepEqual(browser.complaints.filter(unexpected), [], "the console is clean");
      assert.deepEqual(browser.strangers, [], "no other host is asked");
    } catch (error) {
      await browser.picture(`failed-${law.replaceAll(/[^a-z0-9]+/gi, "-")}`).catch(() => undefined);
      const said = browser.complaints.map((complaint) => `\n  console: ${complaint}`);
      error.message += said.join("");
      throw error;
    } finally {
      await browser.close();
      await server.close();
    }
  });
}
