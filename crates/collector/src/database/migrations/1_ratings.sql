-- Read by SQLite and PostgreSQL alike. Truths are BIGINT, times milliseconds since 1970.

CREATE TABLE settings (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- Whoever stores ratings takes numbers here first, and so waits for whoever did before: numbers become
-- visible in their order.
CREATE TABLE sequence (
    name TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO sequence (name, value) VALUES ('rating', 0);

CREATE TABLE ratings (
    -- Place in exports; a rating that was withheld gets a new one when it is let go.
    seq BIGINT PRIMARY KEY,
    -- The first such place.
    born BIGINT NOT NULL,
    id TEXT NOT NULL UNIQUE,
    received BIGINT NOT NULL,
    -- Pseudonym.
    rater TEXT NOT NULL,
    task TEXT NOT NULL,
    verdict TEXT NOT NULL,
    choice TEXT NOT NULL,
    left_policy TEXT NOT NULL,
    left_sampling TEXT NOT NULL,
    -- Empty where there is one sample.
    right_policy TEXT NOT NULL,
    right_sampling TEXT NOT NULL,
    -- The query that it answers, and why that was asked; empty where nobody asked.
    query TEXT NOT NULL,
    asked TEXT NOT NULL,
    -- Hash of the prompt, and of the samples whatever side they were shown on.
    prompt TEXT NOT NULL,
    item TEXT NOT NULL,
    -- Of gold and repeated items: 1 as it should be, 0 not, -1 another item.
    agreed BIGINT NOT NULL,
    -- The verdict, whatever side the samples were shown on.
    said TEXT NOT NULL,
    -- Why exports leave it out: 1 its rater is quarantined, 2 a reported text waits, 4 it was erased.
    withheld BIGINT NOT NULL,
    -- Number at which it was erased, or 0.
    erased BIGINT NOT NULL,
    -- The rating as JSON; empty once it was erased.
    record TEXT NOT NULL
);
CREATE INDEX ratings_rater ON ratings (rater, born);
CREATE INDEX ratings_born ON ratings (born);
CREATE INDEX ratings_prompt ON ratings (prompt, received);
CREATE INDEX ratings_received ON ratings (received, withheld);
CREATE INDEX ratings_erased ON ratings (erased) WHERE erased > 0;
CREATE INDEX ratings_waiting ON ratings (seq) WHERE withheld > 1 AND withheld < 4;
CREATE UNIQUE INDEX ratings_query ON ratings (query) WHERE query <> '';
-- Everything that statistics count.
CREATE INDEX ratings_tally ON ratings (
    left_policy, left_sampling, right_policy, right_sampling, verdict, choice, asked, task, withheld
);

CREATE TABLE raters (
    rater TEXT PRIMARY KEY,
    quarantined BIGINT NOT NULL
);

CREATE TABLE checks (
    rating TEXT PRIMARY KEY,
    outcome TEXT NOT NULL,
    cause TEXT NOT NULL
);

CREATE TABLE refusals (
    cause TEXT PRIMARY KEY,
    number BIGINT NOT NULL
);

CREATE TABLE policies (
    sha256 TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    manifest TEXT NOT NULL,
    tokenizer TEXT NOT NULL,
    -- Order of publication.
    published BIGINT NOT NULL,
    -- When it was retired, or 0.
    retired BIGINT NOT NULL
);

-- Bundles, in pieces small enough to be held in memory.
CREATE TABLE pieces (
    sha256 TEXT NOT NULL,
    place BIGINT NOT NULL,
    content BYTEA NOT NULL,
    PRIMARY KEY (sha256, place)
);

CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    hash TEXT NOT NULL,
    created BIGINT NOT NULL,
    revoked BIGINT NOT NULL
);

CREATE TABLE pool (
    -- Hash of task and prompt; of a gold item, of its samples too.
    item TEXT PRIMARY KEY,
    prompt TEXT NOT NULL,
    task TEXT NOT NULL,
    -- Of a gold item the right verdict, as in ratings.said; else empty.
    said TEXT NOT NULL,
    uncertainty DOUBLE PRECISION NOT NULL,
    record TEXT NOT NULL
);
