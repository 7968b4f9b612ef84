//! WebKit by the driver of WebKitGTK, in a screen that nobody sees: of what Safari is made of, the part that runs on Linux.

import { spawn } from "node:child_process";
import { once } from "node:events";
import net from "node:net";

import { Remote } from "./webdriver.js";

/** Method and path of each command; `ELEMENT` stands for the element it is about. */
const ROUTES = {
  ElementClear: ["POST", "/element/ELEMENT/clear"],
  ElementClick: ["POST", "/element/ELEMENT/click"],
  ElementSendKeys: ["POST", "/element/ELEMENT/value"],
  ExecuteScript: ["POST", "/execute/sync"],
  FindElement: ["POST", "/element"],
  Navigate: ["POST", "/url"],
  SetTimeouts: ["POST", "/timeouts"],
  SetWindowRect: ["POST", "/window/rect"],
  TakeScreenshot: ["GET", "/screenshot"],
};
/** The screen is larger than the window. */
const SCREEN = ["-displayfd", "3", "-screen", "0", "1400x1000x24", "-nolisten", "tcp"];

class Driver {
  /** Starts a screen, the driver and through it the browser. */
  static async start(program) {
    const screen = spawn("Xvfb", SCREEN, { stdio: ["ignore", "ignore", "ignore", "pipe"] });
    const [display] = await once(screen.stdio[3], "data");
    const port = await freePort();
    const env = { ...process.env, DISPLAY: `:${String(display).trim()}`, GDK_BACKEND: "x11" };
    const webdriver = spawn(program, [`--port=${port}`, "--host=127.0.0.1"], { stdio: "ignore", env });
    const driver = new Driver(port, [webdriver, screen]);
    await driver.begin();
    return driver;
  }

  constructor(port, processes) {
    this.url = `http://127.0.0.1:${port}`;
    this.processes = processes;
  }

  /** Asks until the driver listens, and for a session then. */
  async begin() {
    const isThere = () => fetch(`${this.url}/status`).then(() => true, () => false);
    while (!(await isThere())) {
      if (this.processes.some(({ exitCode }) => exitCode !== null)) {
        throw new Error("WebKitWebDriver ended before it could be asked");
      }
    }
    const { sessionId } = await this.ask("POST", "/session", { capabilities: { alwaysMatch: {} } });
    this.url += `/session/${sessionId}`;
  }

  send(command, { element, ...parameters }) {
    const [method, path] = ROUTES[command];
    return this.ask(method, path.replace("ELEMENT", element), parameters);
  }

  async ask(method, path, parameters) {
    const body = method === "POST" ? JSON.stringify(parameters) : undefined;
    const answer = await fetch(this.url + path, { method, body, headers: { "Content-Type": "application/json" } });
    const { value } = await answer.json();
    if (!answer.ok) {
      throw new Error(`${value.error}: ${value.message}`);
    }
    return value;
  }

  /** The driver keeps none of what stands on the console. */
  complaints() {
    return [];
  }

  async close() {
    await this.ask("DELETE", "", {});
    for (const each of this.processes) {
      const gone = once(each, "exit");
      each.kill();
      await gone;
    }
  }
}

/** A port that nobody listens on. */
async function freePort() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** Opens WebKit. */
export async function openWebkit(program) {
  return Remote.open(await Driver.start(program));
}
