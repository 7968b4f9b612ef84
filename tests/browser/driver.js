//! Starts Chromium with a profile of its own and watches what the page may never do: complain on the console, or ask another
//! host.

import { mkdtemp, mkdir, rm } from "node:fs/promises";
import http from "node:http";
import os from "node:os";
import path from "node:path";

import { chromium } from "playwright-core";

import { named } from "./surroundings.js";

/** Quiet at the start, and no cache that memory of containers is too small for. */
const FLAGS = [
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-dev-shm-usage",
  "--disable-quic",
  "--disable-sync",
  "--no-first-run",
];

/** What the visitor's browser offers beside the CPU. */
export const Gpu = {
  /** WebGPU is there and hands out no adapter, as on a machine without a graphics card. */
  NONE: ["--disable-gpu"],
  /** WebGPU computed in software: right, and slow. */
  SOFTWARE: [
    "--enable-features=Vulkan",
    "--enable-unsafe-webgpu",
    "--ignore-gpu-blocklist",
    "--use-vulkan=swiftshader",
    "--use-webgpu-adapter=swiftshader",
  ],
};

/** What Chromium itself asks at home, whatever page is open. */
const HOSTS_OF_CHROMIUM = [
  "accounts.google.com",
  "clients2.google.com",
  "content-autofill.googleapis.com",
  "edgedl.me.gvt1.com",
  "optimizationguide-pa.googleapis.com",
  "redirector.gvt1.com",
  "update.googleapis.com",
];

export class Browser {
  /** Chromium with a fresh profile; `options` are those of Playwright's contexts. */
  static async open({ gpu = Gpu.NONE, ...options } = {}) {
    const browser = new Browser(gpu, options);
    browser.profile = await mkdtemp(path.join(os.tmpdir(), "kudos-profile-"));
    await browser.watchOtherHosts();
    await browser.start();
    return browser;
  }

  constructor(gpu, options) {
    this.gpu = gpu;
    this.options = options;
    /** Errors on the console and exceptions nobody caught, of the page and of its workers. */
    this.complaints = [];
    /** Addresses on other hosts that something in this browser asked for. */
    this.strangers = [];
  }

  /** Starts Chromium on this profile, as on the first time. */
  async start() {
    this.context = await chromium.launchPersistentContext(this.profile, {
      acceptDownloads: true,
      args: [...FLAGS, ...this.gpu],
      // Root, as in containers, has no sandbox; the page under test is our own.
      chromiumSandbox: false,
      executablePath: named("KUDOS_CHROMIUM"),
      headless: true,
      locale: "en-US",
      proxy: { server: `http://127.0.0.1:${this.proxy.address().port}`, bypass: "127.0.0.1" },
      viewport: { width: 1280, height: 800 },
      ...this.options,
    });
    this.context.on("console", (message) => {
      if (message.type() === "error") {
        this.complaints.push(`${message.text()} (${message.location().url})`);
      }
    });
    this.context.on("weberror", (error) => this.complaints.push(String(error.error().stack)));
    this.context.on("request", (request) => {
      const { hostname, protocol } = new URL(request.url());
      if (protocol.startsWith("http") && hostname !== "127.0.0.1") {
        this.strangers.push(request.url());
      }
    });
    this.page = this.context.pages()[0] ?? (await this.context.newPage());
  }

  /** A proxy for all but loopback, which writes down who was asked for and gives nothing. */
  async watchOtherHosts() {
    const note = (host) => {
      if (!HOSTS_OF_CHROMIUM.includes(host)) {
        this.strangers.push(host);
      }
    };
    this.proxy = http.createServer((request, response) => {
      note(new URL(request.url).hostname);
      response.writeHead(403).end();
    });
    this.proxy.on("connect", (request, socket) => {
      note(request.url.replace(/:\d+$/, ""));
      socket.on("error", () => socket.destroy());
      socket.end("HTTP/1.1 403 Forbidden\r\n\r\n");
    });
    await new Promise((done) => this.proxy.listen(0, "127.0.0.1", done));
  }

  /** Takes the power away: no unload event, nothing is flushed. */
  async crash() {
    const gone = new Promise((done) => this.context.once("close", done));
    const session = await this.context.browser().newBrowserCDPSession();
    session.send("Browser.crash").catch(() => undefined);
    await gone;
  }

  /** Ends the GPU process, which loses every WebGPU device. */
  async loseDevices() {
    const session = await this.context.browser().newBrowserCDPSession();
    await session.send("Browser.crashGpuProcess");
  }

  /** What happened in the browser while `work` ran, as Chromium's trace events. */
  async traced(work) {
    const browser = this.context.browser();
    const categories = ["toplevel", "disabled-by-default-devtools.timeline"];
    await browser.startTracing(this.page, { categories });
    await work();
    return JSON.parse((await browser.stopTracing()).toString()).traceEvents;
  }

  /** A picture for people to look at, in the folder that the surroundings name. */
  async picture(name) {
    const folder = named("KUDOS_SCREENSHOTS");
    await mkdir(folder, { recursive: true });
    await this.page.screenshot({ path: path.join(folder, `${name}.png`), fullPage: true });
  }

  /** Ends Chromium and forgets the profile. */
  async close() {
    await this.context.close();
    await new Promise((done) => this.proxy.close(done));
    this.proxy.closeAllConnections();
    await rm(this.profile, { recursive: true, force: true, maxRetries: 5 });
  }
}
