//! In the page: decoding with our CPU engine in its worker, drawn from the whole distribution, with both log-probabilities of every token; the
//! peers take the likeliest token.

/** Tokens a second, after the first, in the best of so many completions. */
export async function speed(name, tokens, rounds) {
  const bytes = await (await fetch(`./models/${name}.kudos`)).arrayBuffer();
  const worker = new Worker("./site/engine-cpu_loader.js", { type: "module" });
  const replies = listen(worker);
  await replies.next("ready");
  ask(worker, { load: { sha256: null } }, bytes);
  const { sha256 } = await replies.next("loaded");
  // The self-test that the page runs too: it tells the engine how often to look at its mail.
  ask(worker, "probe");
  await replies.next("probed");
  let best = 0;
  for (let round = 0; round < rounds; round += 1) {
    best = Math.max(best, await write(worker, replies, { id: round, policy: sha256 }, tokens + 1));
  }
  worker.terminate();
  return best;
}

async function write(worker, replies, request, tokens) {
  const sampling = { temperature: 1, top_k: 0, top_p: 1, max_completion_length: tokens };
  ask(worker, { write: { ...request, messages: [], text: "w", begin: Array(15).fill(1), sampling, seed: 1 } });
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
    const [[kind, body]] = Object.entries(JSON.parse(data.json));
    waiting.push({ kind, ...body, time: performance.now() });
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
