//! A visitor in a browser that Playwright does not drive: the few commands of WebDriver that a visit needs.
//!
//! Source: w3.org/TR/webdriver2. How a command reaches the browser is the channel's business (firefox.js, webkit.js).

import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";

import { named } from "./surroundings.js";

/** How long a visitor waits for anything, on a slow and busy machine. */
const PATIENCE_MS = 60_000;

export class Remote {
  /** `channel` has `send(command, parameters)`, `complaints()` and `close()`. */
  static async open(channel) {
    const remote = new Remote(channel);
    await channel.send("SetTimeouts", { script: 2 * PATIENCE_MS, pageLoad: PATIENCE_MS, implicit: 0 });
    return remote;
  }

  constructor(channel) {
    this.channel = channel;
  }

  /** Opens the address; what a service worker keeps is taken, unlike with WebDriver's own reload. */
  goto(url) {
    return this.channel.send("Navigate", { url });
  }

  /** What the function gives in the page, where it knows nothing but its arguments. */
  run(work, ...args) {
    const script = `return (${work}).apply(null, arguments);`;
    return this.channel.send("ExecuteScript", { script, args });
  }

  /** Waits until something that the selector finds is shown. */
  async wait(selector) {
    const found = await this.run(appeared, selector, PATIENCE_MS);
    if (!found) {
      throw new Error(`${selector} does not appear`);
    }
  }

  async click(selector) {
    await this.channel.send("ElementClick", { element: await this.find(selector) });
  }

  /** Types the text in place of what the field holds. */
  async fill(selector, text) {
    const element = await this.find(selector);
    await this.channel.send("ElementClear", { element });
    await this.channel.send("ElementSendKeys", { element, text });
  }

  /** The page gets this width, as near as the browser's windows can. */
  async resize(width) {
    await this.channel.send("SetWindowRect", { width, height: 800 });
  }

  /** A picture for people to look at, in the folder that the surroundings name. */
  async picture(name) {
    const folder = named("KUDOS_SCREENSHOTS");
    await mkdir(folder, { recursive: true });
    const picture = await this.channel.send("TakeScreenshot", { full: true });
    await writeFile(path.join(folder, `${name}.png`), Buffer.from(picture, "base64"));
  }

  async find(selector) {
    await this.wait(selector);
    const found = await this.channel.send("FindElement", { using: "css selector", value: selector });
    return Object.values(found)[0];
  }

  close() {
    return this.channel.close();
  }
}

/** In the page: whether something that the selector finds is shown within the time. */
function appeared(selector, patience) {
  const end = performance.now() + patience;
  return new Promise((done) => {
    const look = () => {
      const shown = document.querySelector(selector)?.getClientRects().length > 0;
      if (shown || performance.now() > end) {
        done(shown);
      } else {
        setTimeout(look, 20);
      }
    };
    look();
  });
}
