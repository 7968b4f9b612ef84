//! Coins for a page whose visit shall be the same each time.

/** The page as it will find itself: random bytes follow from the seed and the number of queries that the collector answered. */
function arrange(seed) {
  let asked = 0;
  const fetched = window.fetch.bind(window);
  window.fetch = async (...request) => {
    const answer = await fetched(...request);
    asked += new URL(answer.url).pathname.endsWith("/v1/queries") ? 1 : 0;
    return answer;
  };
  // The finalizer of MurmurHash3 (Appleby), which makes any numbers look drawn.
  const mixed = (number) => {
    let mixing = number | 0;
    mixing = Math.imul(mixing ^ (mixing >>> 16), 0x85ebca6b);
    mixing = Math.imul(mixing ^ (mixing >>> 13), 0xc2b2ae35);
    return mixing ^ (mixing >>> 16);
  };
  // Between two queries all bytes are the same: how many events there were, of which each takes some, depends on the time.
  crypto.getRandomValues = (bytes) => {
    const start = mixed(mixed(seed) + asked);
    for (let place = 0; place < bytes.length; place += 1) {
      bytes[place] = mixed(start + place);
    }
    return bytes;
  };
}

/** Pages that this context opens from now on take their random bytes from `seed`. */
export async function giveCoins(context, seed) {
  await context.addInitScript(arrange, seed);
}
