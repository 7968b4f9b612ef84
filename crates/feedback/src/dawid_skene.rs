//! Dawid and Skene's model: the true class of each item and the errors of each rater, from labels.
//!
//! Measures: what class an item has when nobody knows, and how often each rater mistakes which class
//! for which. Reliability: the mean over classes of the probability to name them right, chance taken
//! out: `(mean_c P(says c | is c) - 1/C) / (1 - 1/C)`. It is 0 for whoever answers without looking,
//! however skewed the answers, 1 for who never errs, and below 0 for who says the opposite; for two
//! classes it is Youden's J.
//! Formula: `P(labels, class) = prior[class] * product over labels of confusion[rater][said][class]`,
//! by expectation maximization from the majority vote on.
//! Misleads when: most raters are wrong in the same way (their class becomes the true one), raters
//! copy each other, or a rater has few labels (see `weights`).
//! Reference: Dawid and Skene 1979; equal to crowd-kit 1.4.2, so initialization, clipping and stopping
//! rule are its own: a bound on the evidence in which the prior counts once a label.

use kudos_schema::Estimate;

use crate::interval::Z;

/// The least expected count and prior, crowd-kit's.
const LEAST: f64 = 1e-10;
/// The most iterations, crowd-kit's.
const MOST_ITERATIONS: usize = 100;
/// Stops when the bound grows by less, in nats a label; crowd-kit's.
const TOLERANCE: f64 = 1e-5;

/// What one rater said of one item. Raters, items and classes are numbered from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// Who said it.
    pub rater: u32,
    /// Of what. An item that nobody labeled, but one with a larger number, is of unknown class.
    pub item: u32,
    /// The class chosen.
    pub class: u32,
}

/// What labels tell of items and raters.
#[derive(Debug, Clone, PartialEq)]
pub struct DawidSkene {
    /// Number of classes C.
    pub n_classes: usize,
    /// Probability that an item is of a class. `[items, C]`
    pub posteriors: Vec<f64>,
    /// Share of items of each class. `[C]`
    pub priors: Vec<f64>,
    /// Probability that a rater says a class (the middle axis) of an item that is of a class (the
    /// last): each column sums to 1. `[raters, C, C]`
    pub confusion: Vec<f64>,
    /// Expected number of labels of each rater on items of each class. `[raters, C]`
    pub labeled: Vec<f64>,
    /// Iterations made.
    pub iterations: usize,
    /// The bound on the evidence at the end, nats a label.
    pub bound: f64,
}

/// Fits the model to `labels`, which may be in any order.
///
/// ```
/// use kudos_feedback::{Label, dawid_skene};
/// let say = |rater, item, class| Label { rater, item, class };
/// let agreed = (0..4).flat_map(|item| [say(0, item, item % 2), say(1, item, item % 2)]);
/// let contrary = (0..4).map(|item| say(2, item, 1 - item % 2));
/// let found = dawid_skene(&agreed.chain(contrary).collect::<Vec<_>>());
/// assert!(found.posteriors[0] > 0.99 && found.posteriors[3] > 0.99);
/// assert!(found.reliability(0).mean > 0.99 && found.reliability(2).mean < -0.99);
/// ```
pub fn dawid_skene(labels: &[Label]) -> DawidSkene {
    let labels = sorted_by_item(labels);
    let mut model = DawidSkene::majority(&labels);
    let mut fit = Logarithms::new(&model, &labels);
    model.bound = model.maximize(&labels, &mut fit);
    let mut bound = f64::NEG_INFINITY;
    while model.iterations < MOST_ITERATIONS {
        model.expect(&labels, &fit);
        model.bound = model.maximize(&labels, &mut fit);
        model.iterations += 1;
        if model.bound - bound < TOLERANCE {
            break;
        }
        bound = model.bound;
    }
    model
}

/// Neighbors in memory where they are neighbors in meaning: a counting sort.
fn sorted_by_item(labels: &[Label]) -> Vec<Label> {
    let n_items = labels.iter().map(|label| label.item as usize + 1).max().unwrap_or(0);
    let mut places = vec![0; n_items + 1];
    labels.iter().for_each(|label| places[label.item as usize + 1] += 1);
    (0..n_items).for_each(|item| places[item + 1] += places[item]);
    let mut sorted = labels.to_vec();
    for label in labels {
        let place = &mut places[label.item as usize];
        sorted[*place] = *label;
        *place += 1;
    }
    sorted
}

/// The model's logarithms, kept between the two steps.
struct Logarithms {
    /// Which classes a rater ever said: only those can have been said by error. `[raters, C]`
    said: Vec<bool>,
    /// `[raters, C, C]`
    confusion: Vec<f64>,
    /// Minus infinity for a class that nobody ever said. `[C]`
    priors: Vec<f64>,
}

impl Logarithms {
    fn new(model: &DawidSkene, labels: &[Label]) -> Self {
        let mut said = vec![false; model.labeled.len()];
        for label in labels {
            said[label.rater as usize * model.n_classes + label.class as usize] = true;
        }
        let priors = vec![0.0; model.n_classes];
        Self { said, confusion: vec![0.0; model.confusion.len()], priors }
    }
}

impl DawidSkene {
    /// The shares of the votes for each class as posteriors; the rest is empty.
    fn majority(labels: &[Label]) -> Self {
        let most = |number: fn(&Label) -> u32| labels.iter().map(number).max();
        let count = |number: fn(&Label) -> u32| most(number).map_or(0, |most| most as usize + 1);
        let n_classes = count(|label| label.class);
        let n_raters = count(|label| label.rater);
        let mut posteriors = vec![0.0; count(|label| label.item) * n_classes];
        for label in labels {
            posteriors[label.item as usize * n_classes + label.class as usize] += 1.0;
        }
        for item in posteriors.chunks_mut(n_classes.max(1)) {
            let all: f64 = item.iter().sum();
            item.iter_mut().for_each(|votes| {
                *votes = if all > 0.0 { *votes / all } else { 1.0 / n_classes as f64 };
            });
        }
        Self {
            n_classes,
            posteriors,
            priors: vec![0.0; n_classes],
            confusion: vec![0.0; n_raters * n_classes * n_classes],
            labeled: vec![0.0; n_raters * n_classes],
            iterations: 0,
            bound: f64::NEG_INFINITY,
        }
    }

    /// Priors and confusion from posteriors; returns the bound on the evidence, nats a label.
    fn maximize(&mut self, labels: &[Label], fit: &mut Logarithms) -> f64 {
        let c = self.n_classes;
        let items = self.posteriors.chunks(c.max(1));
        let n_items = items.len() as f64;
        self.priors.fill(0.0);
        items.for_each(|item| add(&mut self.priors, item));
        self.priors.iter_mut().for_each(|prior| *prior /= n_items);
        self.confusion.fill(0.0);
        for label in labels {
            let (item, place) = (label.item as usize * c, self.said(label));
            add(&mut self.confusion[place..place + c], &self.posteriors[item..item + c]);
        }
        for (log, prior) in fit.priors.iter_mut().zip(&self.priors) {
            *log = if *prior > 0.0 { prior.max(LEAST).ln() } else { f64::NEG_INFINITY };
        }
        let expected = self.normalize(fit);
        let uncertainty: f64 = self.posteriors.iter().map(|p| entropy(*p)).sum();
        (expected + uncertainty) / labels.len() as f64
    }

    /// Expected counts of labels to probabilities; returns the expected log-likelihood of the labels
    /// and their classes.
    fn normalize(&mut self, fit: &mut Logarithms) -> f64 {
        let c = self.n_classes;
        let mut expected = 0.0;
        for (rater, counts) in self.confusion.chunks_mut((c * c).max(1)).enumerate() {
            let said = &fit.said[rater * c..(rater + 1) * c];
            let logs = &mut fit.confusion[rater * c * c..(rater + 1) * c * c];
            for class in 0..c {
                let rows = || (0..c).filter(|row| said[*row]).map(|row| row * c + class);
                let labeled: f64 = rows().map(|cell| counts[cell]).sum();
                self.labeled[rater * c + class] = labeled;
                expected += if labeled > 0.0 { labeled * fit.priors[class] } else { 0.0 };
                let all: f64 = rows().map(|cell| counts[cell].max(LEAST)).sum();
                for cell in rows() {
                    let probability = counts[cell].max(LEAST) / all;
                    logs[cell] = probability.ln();
                    expected += counts[cell] * logs[cell];
                    counts[cell] = probability;
                }
            }
        }
        expected
    }

    /// Posteriors from priors and confusion.
    fn expect(&mut self, labels: &[Label], fit: &Logarithms) {
        let c = self.n_classes;
        self.posteriors.chunks_mut(c.max(1)).for_each(|item| item.copy_from_slice(&fit.priors));
        for label in labels {
            let (item, place) = (label.item as usize * c, self.said(label));
            add(&mut self.posteriors[item..item + c], &fit.confusion[place..place + c]);
        }
        self.posteriors.chunks_mut(c.max(1)).for_each(softmax);
    }

    /// Where the probabilities of what a label says begin in `confusion`.
    fn said(&self, label: &Label) -> usize {
        (label.rater as usize * self.n_classes + label.class as usize) * self.n_classes
    }

    /// The reliability of a rater: see the module. The 95 % interval is that of the normal law, with
    /// two labels added to each class (Agresti and Coull 1998), and takes the items' classes as found.
    ///
    /// # Panics
    /// If there is no such rater.
    pub fn reliability(&self, rater: usize) -> Estimate {
        let c = self.n_classes;
        let classes: Vec<usize> = (0..c).filter(|class| self.priors[*class] > 0.0).collect();
        let n = classes.len() as f64;
        if classes.len() < 2 {
            // One class alone: there was nothing to err about.
            return Estimate { mean: 1.0, low: 0.0, high: 1.0 };
        }
        let (mut right, mut variance) = (0.0, 0.0);
        for class in classes {
            let probability = self.confusion[(rater * c + class) * c + class];
            let labels = self.labeled[rater * c + class];
            let share = (probability * labels + 1.0) / (labels + 2.0);
            right += probability / n;
            variance += share * (1.0 - share) / (labels + 2.0) / (n * n);
        }
        let scale = 1.0 - 1.0 / n;
        let (mean, half) = ((right - 1.0 / n) / scale, Z * variance.sqrt() / scale);
        let lowest = -1.0 / (n - 1.0);
        Estimate { mean, low: (mean - half).max(lowest), high: (mean + half).min(1.0) }
    }
}

fn add(sums: &mut [f64], terms: &[f64]) {
    sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
}

/// `-p ln p`, clipped as crowd-kit does.
fn entropy(p: f64) -> f64 {
    let p = p.max(LEAST);
    if p < 1.0 { -p * p.ln() } else { 0.0 }
}

/// Logarithms to probabilities that sum to 1.
fn softmax(logs: &mut [f64]) {
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    logs.iter_mut().for_each(|log| *log = (*log - most).exp());
    let all: f64 = logs.iter().sum();
    logs.iter_mut().for_each(|share| *share /= all);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::golden::{distance, numbers, trust};

    fn labels(rows: &[f64]) -> Vec<Label> {
        let row =
            |row: &[f64]| Label { rater: row[0] as u32, item: row[1] as u32, class: row[2] as u32 };
        rows.chunks(3).map(row).collect()
    }

    /// Made by tests/golden/trust.py with crowd-kit's `DawidSkene`.
    #[test]
    fn posteriors_priors_and_confusion_are_those_of_crowd_kit() {
        let cases = trust()["dawid_skene"].as_array().cloned().unwrap();
        assert_eq!(cases.len(), 3);
        for case in cases {
            let found = dawid_skene(&labels(&numbers(&case["labels"])));
            assert_eq!(found.iterations as u64, case["iterations"].as_u64().unwrap());
            assert!((found.bound - case["bound"].as_f64().unwrap()).abs() < 1e-9);
            assert!(distance(&found.posteriors, &numbers(&case["posteriors"])) < 1e-8);
            assert!(distance(&found.priors, &numbers(&case["priors"])) < 1e-8);
            assert!(distance(&found.confusion, &numbers(&case["confusion"])) < 1e-8);
        }
    }

    #[test]
    fn a_class_that_nobody_said_is_nobodys_class() {
        let found = dawid_skene(&labels(&[0., 0., 0., 1., 0., 0., 0., 1., 3., 1., 1., 3.]));
        assert_eq!(found.n_classes, 4);
        assert_eq!((found.priors[1], found.priors[2]), (0.0, 0.0));
        assert!(found.reliability(0).mean > 0.999, "{found:?}");
        assert!(found.reliability(0).low < 0.5, "two labels say little: {found:?}");
    }

    #[test]
    fn no_labels_say_nothing() {
        let found = dawid_skene(&[]);
        assert!(found.posteriors.is_empty() && found.confusion.is_empty());
    }

    /// Who says one class whatever it is has reliability 0 to within rounding, however often that is right.
    #[test]
    fn answering_without_looking_is_worth_nothing() {
        let mut rows = Vec::new();
        for item in 0..60u32 {
            let truth = u32::from(item % 6 == 0);
            (0..4).for_each(|rater| rows.push(Label { rater, item, class: truth }));
            rows.push(Label { rater: 4, item, class: 0 });
            rows.push(Label { rater: 5, item, class: 1 - truth });
        }
        let found = dawid_skene(&rows);
        assert!(found.reliability(4).mean.abs() < 1e-6);
        assert!((found.reliability(0).mean - 1.0).abs() < 1e-6);
        assert!((found.reliability(5).mean + 1.0).abs() < 1e-6);
    }

    proptest! {
        #[test]
        fn the_order_of_labels_does_not_matter(
            rows in prop::collection::vec((0u32..4, 0u32..6, 0u32..3), 1..60)
        ) {
            let label = |(rater, item, class)| Label { rater, item, class };
            let rows: Vec<Label> = rows.into_iter().map(label).collect();
            let back: Vec<Label> = rows.iter().rev().copied().collect();
            let (found, other) = (dawid_skene(&rows), dawid_skene(&back));
            for item in found.posteriors.chunks(found.n_classes) {
                prop_assert!((item.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            }
            if found.iterations == other.iterations {
                prop_assert!(distance(&found.posteriors, &other.posteriors) < 1e-6);
            }
        }
    }
}
