//! What a visitor does and sees: the page by its ids, so that scenarios read like visits.

import { readFile } from "node:fs/promises";

import { Gpu } from "./driver.js";
import { CATALOG_FILE } from "./tiny.js";

/** How long a visitor waits for anything, on a slow and busy machine. */
const PATIENCE_MS = 30_000;
/** The same where WebGPU computes in software. */
const PATIENCE_WITH_GPU_MS = 150_000;

/** The panel that each setting stands in, by the beginning of the toggle's id. */
const SETTINGS = ["temperature", "top-k", "top-p", "length", "seed"];

export class Visitor {
  constructor(browser, server) {
    this.browser = browser;
    this.server = server;
    this.takePatience();
  }

  get page() {
    return this.browser.page;
  }

  takePatience() {
    const patience = this.browser.gpu === Gpu.SOFTWARE ? PATIENCE_WITH_GPU_MS : PATIENCE_MS;
    this.page.setDefaultTimeout(patience);
  }

  /** The element of this id. */
  at(id) {
    return this.page.locator(`#${id}`);
  }

  /** Opens the page and waits until it can write. */
  async arrive() {
    await this.page.goto(this.server.url);
    await this.ready();
  }

  /** Loads the page anew and waits until it can write. */
  async reload() {
    await this.page.reload();
    await this.ready();
  }

  /** Comes back after the browser was ended or crashed. */
  async comeBack() {
    await this.browser.start();
    this.takePatience();
    await this.arrive();
  }

  /** The policy is there and can write. */
  async ready() {
    await this.page.locator("#write:enabled").waitFor();
  }

  /** Opens the panel of this name, if it is closed. */
  async open(panel) {
    if (!(await this.at(panel).isVisible())) {
      await this.at(`${panel}-toggle`).click();
      await this.at(panel).waitFor();
    }
  }

  /** Closes the panel of this name, if it is open. */
  async shut(panel) {
    if (await this.at(panel).isVisible()) {
      await this.at(`${panel}-toggle`).click();
      await this.at(panel).waitFor({ state: "hidden" });
    }
  }

  /** Fills the fields of the settings, by their ids. */
  async set(settings) {
    await this.open("settings");
    for (const name of SETTINGS.filter((name) => name in settings)) {
      await this.at(name).fill(String(settings[name]));
    }
    await this.shut("settings");
  }

  /** Chooses what computes: `measured`, `cpu` or `gpu`. */
  async choose(engine) {
    await this.open("settings");
    await this.at(`engine-${engine}`).click();
    await this.shut("settings");
  }

  /** Takes up the task of this name. */
  async task(name) {
    await this.at("task").selectOption(name);
  }

  /** Rates pairs, or single texts. */
  async mode(name) {
    await this.at(`mode-${name}`).click();
  }

  /** Asks for texts and waits until they are written. */
  async write(prompt = "Once there was") {
    await this.begin(prompt);
    await this.written();
  }

  /** Asks for texts. */
  async begin(prompt = "Once there was") {
    await this.at("prompt").fill(prompt);
    await this.at("write").click();
  }

  /** Lets the collector say what to rate, and waits until it stands there. */
  async ask() {
    await this.at("ask").click();
    await this.written();
  }

  /** The texts stand there and can be judged. */
  async written() {
    await this.page.locator("#judge-left:enabled, #thumb-up:enabled").first().waitFor();
  }

  /** The texts shown, in their order. */
  async texts() {
    const texts = await this.page.locator(".completion .text").allInnerTexts();
    return texts.map((text) => text.trim());
  }

  /** Number of tokens shown of the text at `place`. */
  tokens(place = 0) {
    return this.page.locator(`.completion[data-place="${place}"] .token`).count();
  }

  /** Gives the consent that the first rating asks for. */
  async consent() {
    await this.at("consent-yes").click();
    await this.at("consent").waitFor({ state: "hidden" });
  }

  /** Gives the verdict of the button of this id; consents where that is asked. */
  async judge(button) {
    await this.at(button).click();
    await this.agreeUntil(this.page.locator(`#${button}[aria-pressed="true"]`));
  }

  /** Waits until the element is there, and consents if that is asked before. */
  async agreeUntil(element) {
    await element.or(this.at("consent")).first().waitFor();
    if (await this.at("consent").isVisible()) {
      await this.consent();
      await element.waitFor();
    }
  }

  /** Writes one text or a pair, and rates it with the button of this id. */
  async rate(button) {
    await this.write();
    await this.judge(button);
  }

  /** What the button of the export hands over, as text. */
  async exported(shape) {
    await this.open("ratings");
    const [download] = await Promise.all([
      this.page.waitForEvent("download"),
      this.at(`export-${shape}`).click(),
    ]);
    return { name: download.suggestedFilename(), text: await readFile(await download.path(), "utf8") };
  }

  /** The ratings that this browser keeps, as records. */
  async ratings() {
    return rows((await this.exported("ratings")).text);
  }

  /** The service worker has all it needs for a visit without a network. */
  async keptForOffline() {
    await this.page.evaluate(() => navigator.serviceWorker.ready.then(() => undefined));
  }

  /** The network is gone, for the browser and for all it asks. */
  async goOffline() {
    await this.server.close();
    await this.browser.context.setOffline(true);
  }

  /** Moves the focus with Tab until the element of this id has it. */
  async tabTo(id) {
    const places = await this.page.locator("a, button, input, select, textarea, [tabindex]").count();
    for (let step = 0; step <= places; step += 1) {
      if (await this.at(id).evaluate((element) => element === document.activeElement)) {
        return;
      }
      await this.page.keyboard.press("Tab");
    }
    throw new Error(`Tab never reaches #${id}`);
  }

  /** The sentence of the error that is shown. */
  async trouble() {
    await this.at("error").waitFor();
    return this.at("error").innerText();
  }

  /** The catalog as the host serves it. */
  async catalog() {
    return JSON.parse((await this.server.read(CATALOG_FILE)).toString("utf8"));
  }
}

/** Lines of JSON as records. */
export function rows(text) {
  return text.trimEnd().split("\n").map((line) => JSON.parse(line));
}
