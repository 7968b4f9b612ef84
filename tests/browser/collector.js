//! Takes ratings by POST, as the collector will. The collector does not exist yet: this is the least that the outbox needs to be
//! tested, a parser of the JSON and an answer for each id, and it goes as soon as the real one can be started here.

export class Collector {
  /** Its address, below the page. */
  static ADDRESS = "collect";
  /** Where it takes ratings. */
  static PATH = `${Collector.ADDRESS}/v1/ratings`;

  constructor() {
    /** The ratings that arrived, by id. */
    this.received = new Map();
    /** The ids of each post in order, also of those that failed. */
    this.posts = [];
    /** What the next posts get instead of an answer: a status, or "lost" for an answer that does not arrive. */
    this.failures = [];
    /** Reasons for which ratings are refused, by id. */
    this.refused = new Map();
    this.waiting = [];
  }

  /** Comes true when `holds()` does, looked at after each post. */
  until(holds) {
    return new Promise((done) => {
      this.waiting.push(() => holds() && done());
      this.look();
    });
  }

  look() {
    this.waiting.forEach((look) => look());
  }

  async answer(request, response) {
    const pieces = [];
    for await (const piece of request) {
      pieces.push(piece);
    }
    const ratings = JSON.parse(Buffer.concat(pieces).toString("utf8"));
    this.posts.push(ratings.map((rating) => rating.id));
    const failure = this.failures.shift();
    if (typeof failure === "number") {
      this.look();
      return void response.writeHead(failure).end();
    }
    const results = ratings.map((rating) => this.take(rating));
    this.look();
    if (failure === "lost") {
      return void response.destroy();
    }
    response.writeHead(200, { "Content-Type": "application/json" });
    response.end(JSON.stringify({ results }));
  }

  take(rating) {
    const { id } = rating;
    if (this.refused.has(id)) {
      return { id, status: "refused", reason: this.refused.get(id) };
    }
    const status = this.received.has(id) ? "duplicate" : "accepted";
    this.received.set(id, rating);
    return { id, status };
  }
}
