"""The Python packages that trust in ratings is compared with: crowd-kit, arena-rank, krippendorff.

`data` writes random ratings that both sides read, 32-bit little-endian rows unless said otherwise:

    labels.u32   rater, item, class    100,000 labels of 500 raters on 10,000 items, 5 classes
    votes.u32    rater, left, right, outcome (0 left, 1 right)
                                       100,000 votes of 500 raters on 20 policies
    stars.u8     [20000, 500] bytes    stars 0 to 4 by item and rater, 255 where there are none (30 %)

A mode prints one JSON line: seconds of the call alone, without imports and conversion into the form
that the package takes, the best of `--turns`; and `answer`, so that equal work can be seen to be equal.
`first_seconds` is the first turn, in which JAX compiles what it compiles once.

    dawid_skene      crowd-kit DawidSkene as it comes (at most 100 iterations)   class of each item
    crowd_bt         crowd-kit NoisyBradleyTerry as it comes: 100 iterations     score of each policy
    bradley_terry    arena-rank BradleyTerry, intervals by the sandwich formula  rating of each policy
    alpha            krippendorff, nominal                                       the coefficient

Left out: arena-rank's bootstrap. It forks a process that runs JAX and hangs, as Python warns.

Needs benches/trust/requirements.txt.

Usage: python peer.py data FOLDER; python peer.py MODE FOLDER [--turns N]
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

RATERS, ITEMS, LABELS, CLASSES = 500, 10_000, 100_000, 5
VOTES, POLICIES = 100_000, 20
STAR_ITEMS, MISSING = 20_000, 255


def write_data(folder):
    """70 % of the raters know, 20 % answer at random, 10 % say the opposite."""
    coins = np.random.default_rng(7)
    kind = np.repeat([0, 1, 2], [RATERS * 7 // 10, RATERS // 5, RATERS // 10])
    labels(coins, kind).astype("<u4").tofile(folder / "labels.u32")
    votes(coins, kind).astype("<u4").tofile(folder / "votes.u32")
    truth = coins.integers(0, 5, STAR_ITEMS)
    noise = coins.integers(-1, 2, (STAR_ITEMS, RATERS))
    stars = np.clip(truth[:, None] + noise, 0, 4).astype(np.uint8)
    stars[coins.random(stars.shape) < 0.3] = MISSING
    stars.tofile(folder / "stars.u8")


def labels(coins, kind):
    truth = coins.integers(0, CLASSES, ITEMS)
    item = np.repeat(np.arange(ITEMS), LABELS // ITEMS)
    rater = np.concatenate([coins.choice(RATERS, LABELS // ITEMS, False) for _ in range(ITEMS)])
    anything = coins.integers(0, CLASSES, LABELS)
    knows = coins.random(LABELS) < 0.75
    honest = np.where(knows, truth[item], anything)
    said = np.choose(kind[rater], [honest, anything, CLASSES - 1 - truth[item]])
    return np.stack([rater, item, said], axis=1)


def votes(coins, kind):
    strength = np.linspace(-1.5, 1.5, POLICIES)
    rater = coins.integers(0, RATERS, VOTES)
    left = coins.integers(0, POLICIES, VOTES)
    right = (left + coins.integers(1, POLICIES, VOTES)) % POLICIES
    won = coins.random(VOTES) < 1 / (1 + np.exp(strength[right] - strength[left]))
    said = np.choose(kind[rater], [won, coins.random(VOTES) < 0.6, ~won])
    return np.stack([rater, left, right, ~said], axis=1)


def dawid_skene(folder):
    import pandas
    from crowdkit.aggregation import DawidSkene

    rows = np.fromfile(folder / "labels.u32", "<u4").reshape(-1, 3)
    data = pandas.DataFrame(rows.astype(np.int64), columns=["worker", "task", "label"])
    return lambda: DawidSkene().fit(data).labels_.sort_index().tolist()


def crowd_bt(folder):
    import pandas
    from crowdkit.aggregation import NoisyBradleyTerry

    rows = np.fromfile(folder / "votes.u32", "<u4").reshape(-1, 4).astype(np.int64)
    data = pandas.DataFrame(rows[:, :3], columns=["worker", "left", "right"])
    data["label"] = np.where(rows[:, 3] == 0, rows[:, 1], rows[:, 2])
    return lambda: NoisyBradleyTerry().fit(data).scores_.sort_index().tolist()


def bradley_terry(folder):
    import pandas
    from arena_rank.models.bradley_terry import BradleyTerry
    from arena_rank.utils.data_utils import PairDataset

    rows = np.fromfile(folder / "votes.u32", "<u4").reshape(-1, 4).astype(np.int64)
    data = pandas.DataFrame(rows[:, 1:3], columns=["model_a", "model_b"])
    data["winner"] = np.where(rows[:, 3] == 0, "model_a", "model_b")

    def fit():
        pairs = PairDataset.from_pandas(data)
        model = BradleyTerry(n_competitors=POLICIES, scale=1.0, base=np.e, init_rating=0.0)
        found = model.compute_ratings_and_cis(pairs)
        return np.asarray(found["ratings"]).tolist()

    return fit


def alpha(folder):
    import krippendorff

    stars = np.fromfile(folder / "stars.u8", np.uint8).reshape(STAR_ITEMS, RATERS)
    table = np.where(stars == MISSING, np.nan, stars.astype(float)).T.copy()
    return lambda: [krippendorff.alpha(table, level_of_measurement="nominal")]


MODES = [dawid_skene, crowd_bt, bradley_terry, alpha]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mode", choices=["data", *(mode.__name__ for mode in MODES)])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--turns", type=int, default=1)
    options = parser.parse_args()
    if options.mode == "data":
        options.folder.mkdir(parents=True, exist_ok=True)
        write_data(options.folder)
        return
    fit = {mode.__name__: mode for mode in MODES}[options.mode](options.folder)
    seconds = []
    for _ in range(options.turns):
        start = time.perf_counter()
        answer = fit()
        seconds.append(time.perf_counter() - start)
    print(json.dumps({
        "mode": options.mode,
        "seconds": min(seconds),
        "first_seconds": seconds[0],
        "answer": answer,
    }))


if __name__ == "__main__":
    main()
