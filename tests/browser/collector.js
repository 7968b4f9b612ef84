//! Asks and takes ratings, as the collector will. The collector cannot be started here yet: this is the least that the page needs
//! to be tested, a queue of queries, a parser of the JSON and an answer for each id, and it goes as soon as the real one can.

export class Collector {
  /** Its address, below the page. */
  static ADDRESS = "collect";
  /** Where it takes ratings. */
  static PATH = `${Collector.ADDRESS}/v1/ratings`;
  /** Where it says what to show. */
  static QUERIES = `${Collector.ADDRESS}/v1/queries`;

  constructor() {
    /** The ratings that arrived, by id. */
    this.received = new Map();
    /** The ids of each post in order, also of those that failed. */
    this.posts = [];
    /** What the next posts get instead of an answer: a status, or "lost" for an answer that does not arrive. */
    this.failures = [];
    /** Reasons for which ratings are refused, by id. */
    this.refused = new Map();
    /** What is asked next; an empty queue asks nothing. */
    this.queries = [];
    /** What stood in the address of each question for a query, and the rater, which stands in a header. */
    this.askers = [];
    this.waiting = [];
  }

  /** Answers with the next query. */
  ask(request, response) {
    const { searchParams } = new URL(request.url, "http://collector");
    this.askers.push({ asked: Object.fromEntries(searchParams), rater: request.headers.authorization });
    const query = this.queries.shift();
    if (query === undefined) {
      return void response.writeHead(204).end();
    }
    response.writeHead(200, { "Content-Type": "application/json" });
    response.end(JSON.stringify(query));
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
