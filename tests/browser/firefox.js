//! Firefox by its own Marionette protocol: nothing is needed beside the browser.
//!
//! Source: firefox-source-docs.mozilla.org/testing/marionette/Protocol.html. A message is its length in bytes, a colon, and JSON:
//! `[0, id, command, parameters]` one way, `[1, id, error, result]` the other.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import net from "node:net";
import os from "node:os";
import path from "node:path";

import { Remote } from "./webdriver.js";

/** A port of the system's choice; nothing that asks other hosts. */
const PREFERENCES = {
  "app.normandy.enabled": false,
  "app.update.disabledForTesting": true,
  "browser.shell.checkDefaultBrowser": false,
  "datareporting.policy.dataSubmissionEnabled": false,
  "intl.accept_languages": "en-US,en",
  "marionette.port": 0,
  "network.captive-portal-service.enabled": false,
  "network.connectivity-service.enabled": false,
  "toolkit.telemetry.enabled": false,
};
const HEADER_END = ":".charCodeAt(0);

class Marionette {
  /** Starts the program with a fresh profile and connects to it. */
  static async start(program) {
    const profile = await mkdtemp(path.join(os.tmpdir(), "kudos-firefox-"));
    const lines = Object.entries(PREFERENCES).map((pair) => `user_pref(${pair.map((part) => JSON.stringify(part)).join(", ")});`);
    await writeFile(path.join(profile, "user.js"), lines.join("\n"));
    // System access: the browser's own list of errors is read, which no page can.
    const args = ["--headless", "--marionette", "--remote-allow-system-access", "--no-remote", "--profile", profile];
    const firefox = spawn(program, args, { stdio: ["ignore", "pipe", "ignore"] });
    const marionette = new Marionette(profile, firefox);
    await marionette.connect(await portOf(firefox));
    return marionette;
  }

  constructor(profile, firefox) {
    this.profile = profile;
    this.firefox = firefox;
    this.waiting = new Map();
    this.sent = 0;
    this.received = Buffer.alloc(0);
  }

  async connect(port) {
    this.socket = net.connect(port, "127.0.0.1");
    const greeted = new Promise((done) => (this.greeted = done));
    this.socket.on("data", (bytes) => this.take(bytes));
    await greeted;
    await this.send("NewSession", { capabilities: { alwaysMatch: {} } });
  }

  /** Takes what came, and hands each whole message to whoever waits for it. */
  take(bytes) {
    this.received = Buffer.concat([this.received, bytes]);
    for (;;) {
      const begin = this.received.indexOf(HEADER_END) + 1;
      const end = begin + Number(this.received.subarray(0, Math.max(0, begin - 1)));
      if (begin === 0 || this.received.length < end) {
        return;
      }
      const message = JSON.parse(this.received.subarray(begin, end));
      this.received = this.received.subarray(end);
      if (Array.isArray(message)) {
        this.settle(message);
      } else {
        this.greeted();
      }
    }
  }

  settle([, id, error, result]) {
    const { done, failed } = this.waiting.get(id);
    this.waiting.delete(id);
    if (error) {
      failed(new Error(`${error.error}: ${error.message}`));
    } else {
      done(result?.value ?? result);
    }
  }

  send(command, { element, ...parameters }, family = "WebDriver") {
    this.sent += 1;
    const id = this.sent;
    const text = JSON.stringify([0, id, `${family}:${command}`, { id: element, ...parameters }]);
    this.socket.write(`${Buffer.byteLength(text)}:${text}`);
    return new Promise((done, failed) => this.waiting.set(id, { done, failed }));
  }

  /** Exceptions nobody caught and what the Content-Security-Policy forbade, of pages and workers. */
  async complaints() {
    const script = `return Services.console.getMessageArray()
      .filter((entry) => entry instanceof Ci.nsIScriptError && !(entry.flags & Ci.nsIScriptError.warningFlag))
      .filter((entry) => entry.sourceName.startsWith("http"))
      .map((entry) => entry.errorMessage + " (" + entry.sourceName + ")");`;
    await this.send("SetContext", { value: "chrome" }, "Marionette");
    const complaints = await this.send("ExecuteScript", { script, args: [], sandbox: "system" });
    await this.send("SetContext", { value: "content" }, "Marionette");
    return complaints;
  }

  async close() {
    const gone = once(this.firefox, "exit");
    await this.send("Quit", { flags: ["eForceQuit"] }, "Marionette");
    await gone;
    this.socket.destroy();
    await rm(this.profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** Where Firefox listens: it says so once. What it says later is read as well, or it would wait for a reader. */
function portOf(firefox) {
  let said = "";
  return new Promise((done, failed) => {
    firefox.once("error", failed);
    firefox.once("exit", () => failed(new Error(`Firefox ended before it could be driven: ${said}`)));
    firefox.stdout.on("data", (bytes) => {
      said += bytes;
      const found = /Listening on port (\d+)/.exec(said);
      if (found) {
        done(Number(found[1]));
      }
    });
  });
}

/** Opens Firefox. */
export async function openFirefox(program) {
  return Remote.open(await Marionette.start(program));
}
