"""Five folds of the VADER ground truth as pairs to learn from and sentences to judge, and the correlation.

The sentences are not ours to ship: unpack hutto_ICWSM_2014.tar.gz of the source package vaderSentiment 3.3.2.

    python folds.py make FOLDER SOURCE OUT    OUT/{fold}/pairs.jsonl, OUT/{fold}/held_out.jsonl, OUT/{fold}/truth.json
    python folds.py score OUT                 Pearson's r of each fold's judged.jsonl, and the mean
    python folds.py baseline FOLDER SOURCE    TF-IDF(1,2) + ridge on the same folds (needs scikit-learn)

Between the two, for each fold, with a sentence encoder as a Hugging Face folder:

    trainer reward --config frozen.toml --model ENCODER --dataset OUT/0/pairs.jsonl --output-dir RUN
    trainer judge --reward RUN/model --dataset OUT/0/held_out.jsonl > OUT/0/judged.jsonl

SOURCE is movie, tweets, amazon or nyt. A pair is two sentences of the training folds whose mean ratings differ;
the higher one is chosen.
"""

import json
import random
import sys
from pathlib import Path

FILES = {
    "movie": "movieReviewSnippets_GroundTruth.txt",
    "tweets": "tweets_GroundTruth.txt",
    "amazon": "amazonReviewSnippets_GroundTruth.txt",
    "nyt": "nytEditorialSnippets_GroundTruth.txt",
}
FOLDS = 5
PAIRS_A_SENTENCE = 4


def sentences(folder, source):
    rows = []
    path = next(Path(folder).rglob(FILES[source]))
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        parts = line.split("\t")
        if len(parts) >= 3:
            rows.append((float(parts[1]), parts[2].strip()))
    random.Random(1).shuffle(rows)
    return rows


def folds(rows):
    for fold in range(FOLDS):
        held_out = rows[fold::FOLDS]
        yield fold, [row for place, row in enumerate(rows) if place % FOLDS != fold], held_out


def make(folder, source, out):
    for fold, train, held_out in folds(sentences(folder, source)):
        place = Path(out) / str(fold)
        place.mkdir(parents=True, exist_ok=True)
        coins = random.Random(fold)
        pairs = []
        while len(pairs) < PAIRS_A_SENTENCE * len(train):
            (a, first), (b, second) = coins.choice(train), coins.choice(train)
            if a != b:
                chosen, rejected = (first, second) if a > b else (second, first)
                pairs.append({"prompt": "", "chosen": chosen, "rejected": rejected})
        write = lambda name, rows: (place / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        write("pairs.jsonl", pairs)
        write("held_out.jsonl", [{"prompt": "", "completion": text} for _, text in held_out])
        (place / "truth.json").write_text(json.dumps([rating for rating, _ in held_out]))


def pearson(xs, ys):
    n = len(xs)
    mx, my = sum(xs) / n, sum(ys) / n
    covariance = sum((x - mx) * (y - my) for x, y in zip(xs, ys))
    return covariance / (sum((x - mx) ** 2 for x in xs) * sum((y - my) ** 2 for y in ys)) ** 0.5


def score(out):
    found = []
    for place in sorted(Path(out).glob("*/judged.jsonl")):
        truth = json.loads((place.parent / "truth.json").read_text())
        judged = [json.loads(line) for line in place.read_text().splitlines()]
        by_line = {int(row["id"].rsplit(":", 1)[1]): row["reward"] for row in judged}
        lines = sorted(by_line)
        found.append(pearson([by_line[line] for line in lines], [truth[line - 1] for line in lines]))
        print(place.parent.name, len(lines), "of", len(truth), round(found[-1], 4))
    print("mean", round(sum(found) / len(found), 4))


def baseline(folder, source):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import Ridge

    found = []
    for _, train, held_out in folds(sentences(folder, source)):
        vectorizer = TfidfVectorizer(ngram_range=(1, 2))
        model = Ridge().fit(vectorizer.fit_transform([t for _, t in train]), [r for r, _ in train])
        foretold = [float(one) for one in model.predict(vectorizer.transform([t for _, t in held_out]))]
        found.append(pearson(foretold, [r for r, _ in held_out]))
    print(source, "TF-IDF + ridge", [round(r, 4) for r in found], "mean", round(sum(found) / len(found), 4))


if __name__ == "__main__":
    {"make": make, "score": score, "baseline": baseline}[sys.argv[1]](*sys.argv[2:])
