//! In the page: decoding with our CPU engine in its worker, drawn as visitors draw, with both log-probabilities of every token.

/** Tokens a second, after the first. */
export async function speed(name, tokens) {
  const bytes = await (await fetch(`./models/${name}.kudos`)).arrayBuffer();
  const worker = new Worker("./site/engine-cpu_loader.js", { type: "module" });
  const replies = listen(worker);
  await replies.next("ready");
  ask(worker, { kind: "load", sha256: null }, bytes);
  await replies.next("loaded");
  await write(worker, replies, 1, 8);
  const rate = await write(worker, replies, 2, tokens + 1);
  worker.terminate();
  return rate;
}

async function write(worker, replies, id, tokens) {
  const sampling = { temperature: 1, top_k: 40, top_p: 1, max_completion_length: tokens };
  const request = { kind: "write", id, messages: [], text: "w", begin: Array(15).fill(1), sampling, seed: 1 };
  ask(worker, request);
  let first;
  let last;
  let count = 0;
  for (;;) {
    const reply = await replies.next("wrote", "ended");
    if (reply.kind === "ended") {
      return (count - first.count) / ((last - first.time) / 1000);
    }
    count += reply.tokens.length;
    last = reply.time;
    first ??= { count, time: last };
  }
}

function ask(worker, request, bytes) {
  worker.postMessage({ json: JSON.stringify(request), bytes });
}

/** The worker's replies in order, with the time when they came. */
function listen(worker) {
  const waiting = [];
  let wake = () => undefined;
  worker.onmessage = ({ data }) => {
    waiting.push({ ...JSON.parse(data.json), time: performance.now() });
    wake();
  };
  worker.onerror = (event) => {
    waiting.push({ kind: "failed", detail: event.message });
    wake();
  };
  return {
    /** The next reply of one of these kinds. */
    async next(...kinds) {
      for (;;) {
        const reply = waiting.shift();
        if (reply === undefined) {
          await new Promise((done) => (wake = done));
        } else if (reply.kind === "failed") {
          throw new Error(`the engine failed: ${JSON.stringify(reply)}`);
        } else if (kinds.includes(reply.kind)) {
          return reply;
        }
      }
    },
  };
}
