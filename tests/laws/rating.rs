//! What holds for any bytes that should be ratings: as the page posts them, a list, or as files hold them, a line each.
//!
//! The fuzz target `rating` and the test of its kept corpus share it.

use std::sync::LazyLock;

use kudos_feedback::{labels_by_kind, tally};
use kudos_schema::{Estimate, ExportShape, Rating, RatingError, export_rows};
use kudos_tokenizer::Tokenizer;
use kudos_tokenizer::stream::spells;

static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
    let corpus = ["a nice reply to a nice question, and another reply"; 3];
    Tokenizer::train(corpus, 280).expect("there is room for the bytes")
});

/// Checks the laws, and counts the ratings that are sound.
///
/// # Panics
/// If a law is broken.
pub(crate) fn check(bytes: &[u8]) -> usize {
    let ratings = read(bytes);
    let mut sound = Vec::new();
    for rating in &ratings {
        masking_is_done_once(rating);
        match rating.validate() {
            Ok(()) => sound.push(rating.clone()),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    for rating in &sound {
        what_is_written_reads_back(rating);
        what_it_says_has_a_value(rating);
        exported_rows_are_lines_of_json(rating);
        its_policy_can_be_asked(rating);
    }
    let stats = tally(&sound, &mut |values| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        Estimate { mean, low: mean, high: mean }
    });
    assert_eq!(stats.ratings, sound.len());
    serde_json::to_string(&stats).expect("names and numbers are JSON");
    let all: Vec<&Rating> = sound.iter().collect();
    let kinds = labels_by_kind(&all, &|rater| u32::from(rater.ends_with('1')));
    assert!(kinds.values().map(Vec::len).sum::<usize>() <= sound.len());
    sound.len()
}

fn read(bytes: &[u8]) -> Vec<Rating> {
    let lines = || bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    serde_json::from_slice(bytes)
        .unwrap_or_else(|_| lines().filter_map(|line| serde_json::from_slice(line).ok()).collect())
}

fn masking_is_done_once(rating: &Rating) {
    let masked = rating.clone().without_personal_data();
    assert_eq!(masked.clone().without_personal_data(), masked);
    if rating.validate().is_ok() {
        // A mask may be longer than what it hides.
        let found = masked.validate();
        assert!(matches!(found, Ok(()) | Err(RatingError::TooLarge { .. })), "{found:?}");
    }
}

fn what_is_written_reads_back(rating: &Rating) {
    let text = serde_json::to_string(rating).expect("strings and numbers are JSON");
    let back: Rating = serde_json::from_str(&text).expect("what was written can be read");
    assert_eq!(back, *rating);
}

fn what_it_says_has_a_value(rating: &Rating) {
    let shares = rating.rewards().into_iter().map(|(place, reward)| {
        assert!(place < rating.samples.len());
        reward
    });
    let compared = rating.comparison().map(|comparison| comparison.share);
    let mut shares = shares.chain(rating.grade()).chain(compared);
    assert!(shares.all(|share| (0.0..=1.0).contains(&share)));
    assert!(rating.labels().iter().all(|(place, _)| *place < rating.samples.len()));
}

fn exported_rows_are_lines_of_json(rating: &Rating) {
    for shape in ExportShape::ALL {
        for row in export_rows(rating, shape, None) {
            assert!(!row.contains(['\n', '\r']), "{row}");
            let row: serde_json::Value = serde_json::from_str(&row).expect("a row is JSON");
            assert!(row.is_object());
        }
    }
}

fn its_policy_can_be_asked(rating: &Rating) {
    for (place, sample) in rating.samples.iter().enumerate() {
        assert!(!rating.policy_of(place).name.is_empty());
        let wrong = sample.wrong_end(|id| id == TOKENIZER.end_id());
        assert!(wrong.is_none_or(|reason| !reason.is_empty()));
        let decoded = TOKENIZER.decode(&sample.token_ids);
        let fits = spells(&TOKENIZER, &rating.prompt.token_ids, &sample.token_ids, &sample.text);
        assert!(fits || decoded != sample.text);
    }
}
