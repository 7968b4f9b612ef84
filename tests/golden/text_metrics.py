"""Goldens of the text metrics: what sacrebleu, rouge-score and NLTK say about the same texts.

Made with Python 3.11, sacrebleu 2.6.0, rouge-score 0.1.2 and nltk 3.10.4:

    pip install sacrebleu==2.6.0 rouge-score==0.1.2 nltk==3.10.4
    python tests/golden/text_metrics.py                # writes tests/golden/text_metrics.json

The output depends on the data, the seed and those versions alone. Hypotheses are texts of data/
that were damaged by seeded coins (words dropped, swapped, repeated; case, punctuation, numbers and
scripts changed), so that every score between none and full occurs.
"""

import argparse
import itertools
import json
import random
import string
import unicodedata
from importlib.metadata import version
from pathlib import Path

from nltk.stem.porter import PorterStemmer
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF

HERE = Path(__file__).resolve().parent
ROUGES = ["rouge1", "rouge2", "rougeL", "rougeLsum"]

README_HYPOTHESES = ["The dog bit the man.", "It wasn't surprising.", "The man had just bitten him."]
README_REFERENCES = [
    ["The dog bit the man.", "The dog had bit the man."],
    ["It was not unexpected.", "No one was surprised."],
    ["The man bit him first.", "The man had bitten the dog."],
]

SCRIPTS = [
    "今日は天気がいいから、散歩しましょう。",
    "「東京タワー」の高さは333メートルです!",
    "敏捷的棕色狐狸跳过了懒狗。他花了1,000元。",
    "나는 어제 3.5시간 동안 책을 읽었다.",
    "Съешь же ещё этих мягких французских булок, да выпей чаю — №5.",
    "«Où est l’hôtel?», demanda-t-elle à 15h30 …",
    "Η ΓΡΗΓΟΡΗ ΑΛΕΠΟΥ ΠΗΔΑΕΙ ΠΑΝΩ ΑΠΟ ΤΟΝ ΣΚΥΛΟ, ΟΔΥΣΣΕΥΣ.",
    "¿Cuánto cuesta? ¡20€ o 25,50 $!",
    "Straße, İstanbul, ŁÓDŹ, K = 273.15 kelvin",
    "مرحبا بالعالم، كيف حالك؟ ١٢٣",
    "नमस्ते दुनिया। यह १०० है",
    "emoji 👩‍👩‍👧 and 🎉🎉, ½ + ⅔ ≠ Ⅻ, x² ≤ 10⁻³",
    "no\u00a0break\u2003em\u3000wide\x1funit\x85next\u2028line",
]

EDGES = [
    ("", ["a reference"]),
    ("a hypothesis", [""]),
    ("", [""]),
    ("   \t ", ["\n"]),
    ("...", ["..."]),
    ("a", ["a"]),
    ("a b c", ["a b c", ""]),
    ("&quot;A&amp;B&quot; &lt;tag&gt; &amp;lt; <skipped>x", ['"A&B" <tag> < x']),
    ("hy-\nphen and\nline", ["hyphen and line"]),
    ("1,000.50-2,000.75 v2.0-beta 3-4", ["1,000.50 - 2,000.75 v2.0 - beta 3 - 4"]),
    ("wait....a,,,5;;b--c", ["wait . . . . a , , , 5 ; ; b - - c"]),
    ("(hi) 'quoted' \"x\" it's rock'n'roll", ["( hi ) ' quoted ' it's rock 'n' roll"]),
    ("one two three\nfour five\n\nsix", ["four five six\none three two", "six\nfive\nfour"]),
    ("w1 w2 w6 w7 w8\nw1 w3 w8 w9 w5", ["w1 w2 w3 w4 w5"]),
    ("the the the the the the the", ["the cat is on the mat", "there is a cat on the mat"]),
]

SUFFIXES = """ational tional enci anci izer bli abli alli entli eli ousli ization ation ator alism
iveness fulness ousness aliti iviti biliti fulli logi icate ative alize iciti ical ful ness al ance
ence er ic able ible ant ement ment ent sion tion ion ou ism ate iti ous ive ize s es ies ss sses ed
ied eed ing y e ll yy""".split()


def load(data):
    """Real texts: short sentences, pairs of body and summary, turns of dialogue."""
    def rows(name):
        path = next(data.rglob(name))
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]

    sentences = next(data.rglob("sentences.txt")).read_text("utf-8").splitlines()
    summaries = [(row["text"], row["summary"]) for row in rows("summaries_rustdoc.jsonl")]
    turns = [turn for row in rows("dialogue.jsonl") for turn in row["turns"]]
    return {
        "sentences": sentences,
        "summaries": [pair for pair in summaries if len(pair[0]) < 260],
        "turns": [turn for turn in turns if 10 < len(turn) < 160],
    }


def damage(text, coins):
    """A text with some of its words dropped, swapped, repeated or rewritten."""
    words = text.split(" ")
    for _ in range(coins.choice([0, 1, 1, 2, 3, 5])):
        at = coins.randrange(len(words)) if words else 0
        kind = coins.randrange(9)
        if not words:
            break
        if kind == 0:
            del words[at]
        elif kind == 1:
            words[at : at + 2] = reversed(words[at : at + 2])
        elif kind == 2:
            words.insert(at, words[at])
        elif kind == 3:
            words[at] = coins.choice([str.upper, str.lower, str.title])(words[at])
        elif kind == 4:
            words[at] += coins.choice(string.punctuation + "…—。」€" + "\n ")
        elif kind == 5:
            words[at] = coins.choice(["1,234.5", "3-4", "1990s.", "$5", "50%", "½", "0.5,"])
        elif kind == 6:
            words[at] = words[at][::-1]
        elif kind == 7:
            words[at] += coins.choice(["s", "ed", "ing", "ness", "ly", "'s"])
        else:
            words = words[: max(1, len(words) // 2)]
    return " ".join(words)


def noise(coins, alphabet):
    """A text of random characters and spaces."""
    length = coins.randrange(30)
    return "".join(" " if coins.random() < 0.2 else coins.choice(alphabet) for _ in range(length))


def pairs_of(texts, count, coins):
    """Damaged texts, each with one to three references that are damaged too."""
    pairs = []
    for text in coins.sample(texts, count):
        n_references = coins.choice([1, 1, 2, 3])
        pairs.append((damage(text, coins), [damage(text, coins) for _ in range(n_references)]))
    return pairs


def corpora(data, scale, coins):
    """Named lists of (hypothesis, references)."""
    assigned = [chr(point) for point in range(0x20000) if unicodedata.category(chr(point))[0] != "C"]
    alphabets = [assigned, "ab .,-5", "aé日。5½$\n"]
    fixed = {
        "readme": list(zip(README_HYPOTHESES, README_REFERENCES)),
        "edges": EDGES,
        "short": [("a b", ["a b c"]), ("d", ["d e"]), ("x y", ["x z"])],
        "different": [("a b c", ["d e f"]), ("g", ["h"])],
    }
    lines = ["\n".join(coins.sample(data["sentences"], 3)) for _ in range(scale)]
    return fixed | {
        "sentences": pairs_of(data["sentences"], 2 * scale, coins),
        "single": [(hyp, refs[:1]) for hyp, refs in pairs_of(data["turns"], 2 * scale, coins)],
        "summaries": [(text, [line]) for text, line in coins.sample(data["summaries"], scale)],
        "lines": pairs_of(lines, scale, coins),
        "scripts": pairs_of(SCRIPTS, len(SCRIPTS), coins),
        "noise": [
            (noise(coins, alphabet), [noise(coins, alphabet) for _ in range(coins.choice([1, 3]))])
            for alphabet in alphabets
            for _ in range(scale // 3)
        ],
    }


def bleu_options():
    smoothings = [["exp", None], ["none", None], ["floor", None], ["floor", 0.03]]
    smoothings += [["add-k", None], ["add-k", 2.5]]
    grid = itertools.product(["13a", "none", "intl", "char"], smoothings, [4, 1, 2, 6])
    for (tokenize, (method, value), order), (effective, lower) in itertools.product(
        grid, itertools.product([False, True], [False, True])
    ):
        yield {
            "tokenize": tokenize,
            "smooth_method": method,
            "smooth_value": value,
            "max_ngram_order": order,
            "effective_order": effective,
            "lowercase": lower,
        }


def chrf_options():
    orders = [(6, 0, 2), (6, 2, 2), (6, 1, 1), (4, 0, 3), (1, 3, 2), (9, 0, 2), (0, 2, 2)]
    for (chars, words, beta), lower, space, eps in itertools.product(
        orders, [False, True], [False, True], [False, True]
    ):
        yield {
            "char_order": chars,
            "word_order": words,
            "beta": beta,
            "lowercase": lower,
            "whitespace": space,
            "eps_smoothing": eps,
        }


def number(value):
    return round(float(value), 10)


def columns(references):
    """sacrebleu wants the first references of all hypotheses, then the second ones, ..."""
    return [list(column) for column in itertools.zip_longest(*references)]


def bleu_row(option, metric, score):
    """[option, score, BP, hypothesis length, reference length, precisions, signature]"""
    precisions = [number(precision) for precision in score.precisions]
    signature = str(metric.get_signature()).rsplit("|version:")[0]
    lengths = [score.sys_len, score.ref_len]
    return [option, number(score.score), number(score.bp), *lengths, precisions, signature]


def chrf_row(option, metric, score):
    """[option, score, name, signature]"""
    signature = str(metric.get_signature()).rsplit("|version:")[0]
    return [option, number(score.score), score.name, signature]


def rouge_rows(scorers, hypothesis, references):
    """For each scorer, for each measure: [precision, recall, F1]"""
    scores = [scorer.score_multi(references, hypothesis) for scorer in scorers]
    return [[[number(value) for value in score[name]] for name in ROUGES] for score in scores]


def describe(pairs, options, scorers, coins):
    bleus, chrfs = options
    hypotheses = [hypothesis for hypothesis, _ in pairs]
    references = [group for _, group in pairs]

    def score_corpus(row, metric_class, options, chosen):
        for option in chosen:
            metric = metric_class(**options[option])
            yield row(option, metric, metric.corpus_score(hypotheses, columns(references)))

    def score_sentence(row, metric_class, options, chosen, hypothesis, group):
        for option in chosen:
            metric = metric_class(**options[option])
            yield row(option, metric, metric.sentence_score(hypothesis, group))

    sentences = []
    for hypothesis, group in pairs:
        some_bleus = [0, 2, *coins.sample(range(3, len(bleus)), 3)]
        some_chrfs = [0, 8, *coins.sample(range(1, len(chrfs)), 2)]
        pair = (hypothesis, group)
        bleu_rows = score_sentence(bleu_row, BLEU, bleus, some_bleus, *pair)
        chrf_rows = score_sentence(chrf_row, CHRF, chrfs, some_chrfs, *pair)
        sentences.append({
            "hypothesis": hypothesis,
            "references": group,
            "bleu": [row[:6] for row in bleu_rows],
            "chrf": [row[:2] for row in chrf_rows],
            "rouge": rouge_rows(scorers, hypothesis, group),
        })
    some_bleus = sorted({0, 2, *coins.sample(range(len(bleus)), 60)})
    return {
        "bleu": list(score_corpus(bleu_row, BLEU, bleus, some_bleus)),
        "chrf": list(score_corpus(chrf_row, CHRF, chrfs, range(len(chrfs)))),
        "sentences": sentences,
    }


def stems(data, scale, coins):
    """Real words, real words with every suffix that the algorithm knows, and random ones."""
    def is_plain(word):
        return word.isascii() and word.isalnum()

    words = {word for line in data["sentences"] for word in line.lower().split() if is_plain(word)}
    chosen = coins.sample(sorted(words), 20 * scale)
    chosen += [word[: coins.randrange(1, 6)] + coins.choice(SUFFIXES) for word in chosen]
    letters = "aeiouyylst5bgz"
    chosen += ["".join(coins.choices(letters, k=coins.randrange(1, 9))) for _ in chosen]
    stemmer = PorterStemmer()
    irregular = sorted(stemmer.pool)
    return [[word, stemmer.stem(word)] for word in sorted({*chosen, *irregular})]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "data")
    parser.add_argument("--out", type=Path, default=HERE / "text_metrics.json")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=int, default=18, help="sentences a kind; more for a hunt")
    arguments = parser.parse_args()

    coins = random.Random(arguments.seed)
    data = load(arguments.data)
    bleus, chrfs = list(bleu_options()), list(chrf_options())
    scorers = [RougeScorer(ROUGES, use_stemmer=stemmed) for stemmed in (False, True)]
    golden = {
        "versions": {name: version(name) for name in ("sacrebleu", "rouge-score", "nltk")},
        "bleu_options": bleus,
        "chrf_options": chrfs,
        "corpora": {
            name: describe(pairs, (bleus, chrfs), scorers, coins)
            for name, pairs in corpora(data, arguments.scale, coins).items()
        },
        "stems": stems(data, arguments.scale, coins),
    }
    text = json.dumps(golden, ensure_ascii=False, separators=(",", ":"))
    arguments.out.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
