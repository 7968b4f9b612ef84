"""Goldens of trust in ratings: what other packages say of the same random ratings.

Made with Python 3.11 and benches/trust/requirements.txt: crowd-kit, krippendorff, choix, arena-rank
and scipy. The output depends on the seed and those versions alone.

    alpha           krippendorff.alpha on tables with gaps, for three metrics
    dawid_skene     crowdkit.aggregation.DawidSkene as it comes
    crowd_bt        the maximum of a likelihood under a prior, by scipy's L-BFGS-B and then Newton steps
                    by central differences of the gradient, until no derivative is above 1e-8:
                    opposite   sum log(f_k p + (1 - f_k)(1 - p)), Chen et al. 2013, written out here
                    side       the function that crowdkit's NoisyBradleyTerry minimizes, without its
                               regularization; `crowd_kit` is what its own optimizer gives, with the
                               function's value there
    bradley_terry   choix.opt_pairwise without regularization; with a prior as a further competitor
                    with whom everybody has half a win and half a loss a vote of the prior;
                    arena-rank's ratings and sandwich intervals; with a left side's advantage as a
                    logistic regression by Newton's method

Why the likelihood and not the fit of NoisyBradleyTerry is the golden: its gradient (crowd-kit 1.4.2)
writes a rater's two derivatives one place too low and those of the last vote only, and the sign of its
regularization differs between function and gradient, so that its search ends far from the maximum.
`gradient_error` is the largest distance of that gradient from central differences of the function.

Usage: python trust.py [FILE]
"""

import json
import sys
from pathlib import Path

import choix
import krippendorff
import numpy as np
import pandas
from arena_rank.models.bradley_terry import BradleyTerry
from arena_rank.utils.data_utils import PairDataset
from crowdkit.aggregation import DawidSkene, NoisyBradleyTerry
from scipy.optimize import minimize
from scipy.special import expit

METRICS = ["nominal", "ordinal", "interval"]


def alpha_case(coins, shape, missing, values):
    raters, items = shape
    truth = coins.integers(0, len(values), items)
    said = np.clip(truth + coins.integers(-1, 2, shape), 0, len(values) - 1)
    gaps = coins.random(shape) < missing
    table = np.where(gaps, np.nan, np.array(values)[said])
    rows = ["".join("." if gaps[r, i] else str(said[r, i]) for r in range(raters))
            for i in range(items)]
    found = {metric: float(krippendorff.alpha(table, level_of_measurement=metric))
             for metric in METRICS}
    return {"judgements": rows, "values": values} | found


def alpha(coins):
    return [
        alpha_case(coins, (5, 60), 0.3, [1.0, 2.0, 3.0, 4.0, 5.0]),
        alpha_case(coins, (40, 25), 0.9, [1.0, 2.0, 3.0, 4.0, 5.0]),
        alpha_case(coins, (3, 80), 0.1, [0.0, 1.0]),
        alpha_case(coins, (300, 8), 0.5, [-2.0, 0.5, 1.0, 7.0]),
    ]


def dawid_skene_case(coins, sizes, share):
    raters, items, classes = sizes
    truth = coins.choice(classes, items, p=np.arange(1, classes + 1) / sum(range(classes + 1)))
    confusion = coins.dirichlet(np.ones(classes), (raters, classes)) * 0.5
    confusion[:, range(classes), range(classes)] += 0.5
    rows = [[r, i, int(coins.choice(classes, p=confusion[r, truth[i]]))]
            for i in range(items) for r in range(raters) if coins.random() < share or r == i % raters]
    data = pandas.DataFrame(rows, columns=["worker", "task", "label"])
    model = DawidSkene().fit(data)
    columns = list(range(classes))
    index = pandas.MultiIndex.from_product([range(raters), columns])
    return {
        "labels": rows,
        "posteriors": rounded(model.probas_.sort_index()[columns].to_numpy()),
        "priors": rounded(model.priors_[columns].to_numpy()),
        "confusion": rounded(model.errors_[columns].reindex(index, fill_value=0.0).to_numpy()),
        "iterations": len(model.loss_history_),
        "bound": model.loss_history_[-1],
    }


def dawid_skene(coins):
    return [
        dawid_skene_case(coins, (8, 60, 2), 0.7),
        dawid_skene_case(coins, (15, 80, 4), 0.4),
        dawid_skene_case(coins, (25, 40, 5), 0.15),
    ]


def votes(coins, counts, advantage):
    """Rows of rater, left, right, and 1 where left won: 70 % honest, 20 % random, 10 % opposite."""
    n, raters, items = counts
    strength = np.linspace(-1.5, 1.5, items)
    rater = coins.integers(0, raters, n)
    left = coins.integers(0, items, n)
    right = (left + coins.integers(1, items, n)) % items
    won = coins.random(n) < expit(strength[left] - strength[right] + advantage)
    kind = np.repeat([0, 1, 2], [raters * 7 // 10, raters // 5, raters // 10])
    said = np.choose(kind[rater], [won, coins.random(n) < 0.6, ~won])
    return np.stack([rater, left, right, said.astype(int)], axis=1)


def maximum(negative, slope, start):
    """The point where `negative` is least."""
    found = minimize(negative, start, jac=slope, method="L-BFGS-B",
                     options={"maxiter": 20000, "maxfun": 40000, "ftol": 0, "gtol": 1e-9, "maxcor": 50})
    point, step = found.x, 1e-5
    for _ in range(5):
        sides = [[slope(point + sign * step * unit) for sign in (1, -1)] for unit in np.eye(point.size)]
        curvature = np.array([(up - down) / (2 * step) for up, down in sides])
        point = point - np.linalg.solve((curvature + curvature.T) / 2, slope(point))
    assert np.linalg.eigvalsh(curvature).min() > 0 and np.abs(slope(point)).max() < 1e-8
    return point


def opposite(rows, sizes):
    """Log-likelihood and gradient of Chen et al. by scores and logits of f."""
    raters, items = sizes
    rater, left, right, said = rows.T
    sign = 2 * said - 1

    def both(x):
        f, p = expit(x[items + rater]), expit(sign * (x[left] - x[right]))
        q = f * p + (1 - f) * (1 - p)
        gradient = np.zeros(x.size)
        by_score = (2 * f - 1) * p * (1 - p) * sign / q
        np.add.at(gradient, left, by_score)
        np.add.at(gradient, right, -by_score)
        np.add.at(gradient, items + rater, f * (1 - f) * (2 * p - 1) / q)
        return np.log(q).sum(), gradient

    return both, items + raters


def side(rows, sizes):
    """Log-likelihood of crowd-kit and its gradient by scores, logits of f, logits of saying left."""
    raters, items = sizes
    rater, left, right, said = rows.T
    sign = 2 * said - 1
    theirs = np.stack([left, right, np.where(said == 1, left, right)], axis=1) + 1

    def both(x):
        f, bias = expit(x[items + rater]), x[items + raters + rater]
        p, a = expit(sign * (x[left] - x[right])), expit(sign * bias)
        q = f * p + (1 - f) * a
        gradient = np.zeros(x.size)
        by_score = f * p * (1 - p) * sign / q
        np.add.at(gradient, left, by_score)
        np.add.at(gradient, right, -by_score)
        np.add.at(gradient, items + rater, f * (1 - f) * (p - a) / q)
        np.add.at(gradient, items + raters + rater, (1 - f) * a * (1 - a) * sign / q)
        order = np.concatenate([[0.0], x[:items], x[items + raters:], x[items:items + raters]])
        value = NoisyBradleyTerry._compute_log_likelihood(order, theirs, rater, items, raters, 0.0)
        return -value, gradient

    return both, items + 2 * raters


def crowd_bt_case(rows, sizes, prior, likelihood):
    raters, items = sizes
    both, size = likelihood(rows, sizes)

    def negative(x):
        return -both(x)[0] - prior / 2 * (np.log(expit(x)) + np.log(expit(-x))).sum()

    def slope(x):
        return -both(x)[1] + prior / 2 * np.tanh(x / 2)

    somewhere = np.random.default_rng(1).normal(size=size)
    assert np.abs(slope(somewhere) - central(negative, somewhere)).max() < 1e-5
    start = np.concatenate([np.zeros(items), np.ones(raters), np.zeros(size - items - raters)])
    x = maximum(negative, slope, start)
    return {
        "prior_votes": prior,
        "scores": rounded(x[:items] - x[:items].mean()),
        "followed": rounded(expit(x[items:items + raters])),
        "left": rounded(expit(x[items + raters:])),
        "log_likelihood": float(both(x)[0]),
    }


def central(function, x):
    step = 1e-6
    return np.array([(function(x + step * unit) - function(x - step * unit)) / (2 * step)
                     for unit in np.eye(x.size)])


def crowd_kit(rows, sizes):
    """What the package's own optimizer gives, and how far its gradient is from its function."""
    raters, items = sizes
    data = pandas.DataFrame(rows[:, :3], columns=["worker", "left", "right"])
    data["label"] = np.where(rows[:, 3] == 1, rows[:, 1], rows[:, 2])
    model = NoisyBradleyTerry(n_iter=10000, tol=1e-12, regularization_ratio=0.0).fit(data)
    logit = lambda share: np.log(share) - np.log1p(-share)
    parts = [model.scores_, model.skills_, model.biases_]
    x = np.concatenate([logit(part.sort_index().to_numpy()) for part in parts])
    theirs = np.stack([rows[:, 1], rows[:, 2], np.where(rows[:, 3] == 1, rows[:, 1], rows[:, 2])], axis=1)
    arguments = (theirs + 1, rows[:, 0], items, raters, 0.0)
    point = np.random.default_rng(1).normal(size=1 + items + 2 * raters)
    function = lambda x: NoisyBradleyTerry._compute_log_likelihood(x, *arguments)
    gradient = NoisyBradleyTerry._compute_gradient(point, *arguments)
    return {
        "scores": rounded(model.scores_.sort_index().to_numpy()),
        "log_likelihood": float(side(rows, sizes)[0](x)[0]),
        "gradient_error": float(np.abs(gradient - central(function, point)).max()),
    }


def crowd_bt(coins):
    sizes = (30, 12)
    rows = votes(coins, (1800, *sizes), 0.0)
    return {
        "votes": rows.tolist(),
        "opposite": crowd_bt_case(rows, sizes, 1.0, opposite),
        "side": crowd_bt_case(rows, sizes, 1.0, side),
        "weak_prior": crowd_bt_case(rows, sizes, 0.02, side),
        "crowd_kit": crowd_kit(rows, sizes),
    }


def logistic(rows, prior, items):
    """Strengths and left advantage by Newton's method on the design matrix, with prior votes."""
    design = np.zeros((len(rows), items + 1))
    design[range(len(rows)), rows[:, 1]] += 1
    design[range(len(rows)), rows[:, 2]] -= 1
    design[:, items] = 1
    design = np.concatenate([design, np.eye(items + 1), np.eye(items + 1)])
    won = np.concatenate([rows[:, 3], np.ones(items + 1), np.zeros(items + 1)])
    weight = np.concatenate([np.ones(len(rows)), np.full(2 * (items + 1), prior / 2)])
    x = np.zeros(items + 1)
    for _ in range(30):
        p = expit(design @ x)
        curvature = design.T @ (design * (weight * p * (1 - p))[:, None])
        x = x + np.linalg.solve(curvature, design.T @ (weight * (won - p)))
    assert np.abs(design.T @ (weight * (won - expit(design @ x)))).max() < 1e-9
    return x


def bradley_terry(coins):
    items, prior = 10, 3.0
    rows = votes(coins, (1500, 20, items), 0.5)
    wins = [(left, right) if won else (right, left) for _, left, right, won in rows.tolist()]
    plain = choix.opt_pairwise(items, wins, alpha=0.0, method="Newton-CG", tol=1e-12)
    # Twice the votes, so that a whole win and a whole loss are a prior of one vote.
    prior_wins = [pair for i in range(items) for pair in [(i, items), (items, i)] * int(prior)]
    held = choix.opt_pairwise(items + 1, wins * 2 + prior_wins, alpha=0.0, method="Newton-CG", tol=1e-12)
    data = pandas.DataFrame(rows[:, 1:3], columns=["model_a", "model_b"])
    data["winner"] = np.where(rows[:, 3] == 1, "model_a", "model_b")
    model = BradleyTerry(n_competitors=items, scale=1.0, base=np.e, init_rating=0.0,
                         ftol=1e-15, gtol=1e-12)
    arena = model.compute_ratings_and_cis(PairDataset.from_pandas(data))
    low, high, ratings = (np.asarray(arena[key]) for key in ("rating_lower", "rating_upper", "ratings"))
    corrected = logistic(rows, prior, items)
    return {
        "votes": rows.tolist(),
        "choix": rounded(plain - plain.mean()),
        "arena_rank": rounded(ratings - ratings.mean()),
        "arena_rank_half_widths": rounded((high - low) / 2),
        "prior_votes": prior,
        "choix_prior": rounded(held[:items] - held[:items].mean()),
        "corrected": rounded(corrected[:items] - corrected[:items].mean()),
        "left_advantage": float(corrected[items]),
    }


def rounded(array):
    return np.round(np.asarray(array, dtype=float), 12).tolist()


def main():
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".json")
    coins = np.random.default_rng(3)
    golden = {part.__name__: part(coins) for part in (alpha, dawid_skene, crowd_bt, bradley_terry)}
    path.write_text(json.dumps(golden, separators=(",", ":")) + "\n", "utf-8")


if __name__ == "__main__":
    main()
