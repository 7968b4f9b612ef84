//! Every text of the page, in every language.
//!
//! A language is one value of [`Words`]: a text that it lacks does not compile. `{}` stands for what is
//! filled in, in order.

mod chinese;
mod english;

use crate::event::Locale;
use crate::state::asked::QueryNote;

/// A struct of texts whose fields are also given as a list, so that tests reach each of them.
macro_rules! texts {
    ($(#[$doc:meta])* $name:ident { $($field:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub(crate) struct $name { $(pub(crate) $field: &'static str),* }

        #[cfg(test)]
        impl $name {
            fn list(&self) -> Vec<(&'static str, &'static str)> {
                vec![$((stringify!($field), self.$field)),*]
            }
        }
    };
}

/// The texts of one language.
#[derive(Debug)]
pub(crate) struct Words {
    pub(crate) page: PageWords,
    pub(crate) status: StatusWords,
    pub(crate) desk: DeskWords,
    pub(crate) picture: PictureWords,
    pub(crate) asked: AskedWords,
    pub(crate) rating: RatingWords,
    pub(crate) looking: LookingWords,
    pub(crate) settings: SettingsWords,
    pub(crate) ratings: RatingsWords,
    pub(crate) consent: ConsentWords,
    pub(crate) help: HelpWords,
    pub(crate) errors: ErrorWords,
    pub(crate) gpu: GpuWords,
}

texts! {
    /// The frame.
    PageWords {
        language, title, tagline, skip, preferences, close, update, update_button, offline,
        storage_refused, footer,
    }
}

texts! {
    /// What the page is doing.
    StatusWords {
        heading, catalog, engine, download, retrying, healing, download_failed, loading, probing,
        probing_gpu, ready, waiting, working, on_cpu, on_gpu, software, adapter, speed, reads, written,
        gpu_lost, progress,
    }
}

texts! {
    /// What the visitor asks.
    DeskWords {
        heading, policy, own_name, no_policy, task, task_dialogue, task_sentences, task_triples,
        task_summary, task_captions, task_keywords, task_other, mode, pair, single, prompt_dialogue, prompt_sentences, prompt_triples,
        prompt_summary, prompt_captions, prompt_other, pick, pick_none, write, stop, another, new_conversation,
        conversation, you, policy_said, waiting,
    }
}

texts! {
    /// What the policy looks at.
    PictureWords {
        heading, hint, drawn, file, there, clear, color, black, white, red, orange, yellow, green, blue,
        brown,
    }
}

texts! {
    /// What the collector asks.
    AskedWords {
        ask, next, hint, asking, nothing, unreachable, not_understood, too_large, not_loaded,
        other_tokens, not_written,
    }
}

impl AskedWords {
    /// Why nothing of the collector is shown.
    pub(crate) fn note(&self, note: QueryNote) -> &'static str {
        match note {
            QueryNote::Nothing => self.nothing,
            QueryNote::Unreachable => self.unreachable,
            QueryNote::NotUnderstood => self.not_understood,
            QueryNote::TooLarge => self.too_large,
            QueryNote::NotLoaded => self.not_loaded,
            QueryNote::OtherTokens => self.other_tokens,
            QueryNote::NotWritten => self.not_written,
        }
    }
}

texts! {
    /// Completions and verdicts.
    RatingWords {
        texts, left, right, only, given, fixed, empty, waiting, writing, ended_stop, ended_length,
        ended_interrupted, failed, graph, graph_label, edge, no_graph, heading_pair, heading_single,
        not_yet, incomplete, judge_left, judge_right, judge_tie, judge_both_bad, thumb_up, thumb_down,
        star, stars, thumbs, edit, edit_label, edit_save, edit_cancel, reasons, reason_correct,
        reason_clear, reason_natural, reason_on_topic, reason_wrong, reason_repetitive,
        reason_confusing, reason_harmful, remark, remark_hint, report, report_left, report_right,
        reported, undo, skip, kept, changeable, locked, undone, chosen, written_by,
        both_policies, elsewhere,
    }
}

texts! {
    /// Looking inside.
    LookingWords {
        color, legend, class_0, class_1, class_2, class_3, class_4, token, heading, full, drawn,
        probability, alternatives, cut_off, this_one, waiting, failed, branch_hint, branch_pair, branch,
        ends, close, space, line_break,
    }
}

texts! {
    /// Sampling and engine.
    SettingsWords {
        heading, sampling, temperature, temperature_hint, top_k, top_k_hint, top_p, top_p_hint, length,
        length_hint, seed, seed_hint, engine, measured, cpu, gpu, engine_hint, speeds, speed_cpu,
        speed_gpu, not_measured, own, own_hint, shortcuts, about, license, parameters, architecture,
        recipe, hash,
    }
}

texts! {
    /// The ratings of this browser.
    RatingsWords {
        heading, count, where_kept, unsent, no_collector, export, export_hint, export_ratings,
        export_preference, export_unpaired, export_scalar, export_sft, nothing_to_export, send, sending,
        failures, refused, preview, preview_hint, preview_none, rater, rater_hint, rater_reset,
        rater_is_new, delete, delete_hint, deleted, bring_back,
    }
}

texts! {
    /// The question before the first rating.
    ConsentWords { heading, what, stays, sent, not_kept, identity, yes, no }
}

texts! {
    /// What this page is, and its keys.
    HelpWords {
        heading, about, how, keys, key, does, left, right, tie, both_bad, thumbs, stars, edit, write,
        another, asked, skip, undo, report, color, escape, help, off,
    }
}

texts! {
    /// What went wrong, each a sentence with a remedy.
    ErrorWords {
        heading, retry, detail, catalog_network, catalog_status, catalog_wrong, no_policies,
        download_network, download_status, download_wrong, too_large, engine_bundle, engine_hash,
        engine_memory, engine_lost, engine_defect, engine_died, writing_long, writing_memory,
        writing_other, empty_prompt, no_picture, not_a_picture, wrong_temperature, wrong_top_k, wrong_top_p, wrong_length,
        wrong_seed, unratable, storage,
    }
}

texts! {
    /// Why the GPU is not used.
    GpuWords { no_webgpu, no_adapter, disagrees, lost, memory, failed, too_small, small_policy }
}

/// The texts of a language.
pub(crate) fn of(locale: Locale) -> &'static Words {
    match locale {
        Locale::English => &english::WORDS,
        Locale::Chinese => &chinese::WORDS,
    }
}

/// The text with each `{}` replaced by the next part.
pub(crate) fn fill(text: &str, parts: &[&str]) -> String {
    let mut parts = parts.iter();
    let mut pieces = text.split("{}");
    let mut filled = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        filled.push_str(parts.next().copied().unwrap_or_default());
        filled.push_str(piece);
    }
    filled
}

/// A number of bytes as people read it: `27.4 MB`.
pub(crate) fn bytes(bytes: u64) -> String {
    let bytes = bytes as f64;
    match bytes {
        small if small < 1e6 => format!("{:.0} kB", small / 1e3),
        middle if middle < 1e9 => format!("{:.1} MB", middle / 1e6),
        large => format!("{:.2} GB", large / 1e9),
    }
}

/// A large number as people read it: `1.3 M`.
pub(crate) fn count(number: u64) -> String {
    let value = number as f64;
    match value {
        small if small < 1e3 => number.to_string(),
        middle if middle < 1e6 => format!("{:.1} k", middle / 1e3),
        large if large < 1e9 => format!("{:.1} M", large / 1e6),
        huge => format!("{:.1} G", huge / 1e9),
    }
}

/// A speed or another positive number, with the digits that matter.
pub(crate) fn number(value: f64) -> String {
    if value < 10.0 { format!("{value:.2}") } else { format!("{value:.0}") }
}

/// A probability as a percentage.
pub(crate) fn percent(logprob_nats: f32) -> String {
    let percent = 100.0 * f64::from(logprob_nats).exp();
    match percent {
        tiny if tiny < 0.01 => "< 0.01 %".to_owned(),
        small if small < 10.0 => format!("{small:.2} %"),
        large => format!("{large:.1} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(words: &Words) -> Vec<(&'static str, &'static str)> {
        [
            words.page.list(),
            words.status.list(),
            words.desk.list(),
            words.picture.list(),
            words.asked.list(),
            words.rating.list(),
            words.looking.list(),
            words.settings.list(),
            words.ratings.list(),
            words.consent.list(),
            words.help.list(),
            words.errors.list(),
            words.gpu.list(),
        ]
        .concat()
    }

    #[test]
    fn both_languages_say_the_same_things_in_their_own_script() {
        let (english, chinese) = (all(of(Locale::English)), all(of(Locale::Chinese)));
        let holes = |text: &str| text.matches("{}").count();
        let is_chinese = |text: &str| text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
        assert!(english.len() > 200);
        for ((field, one), (_, other)) in english.iter().zip(&chinese) {
            assert!(!one.trim().is_empty() && !is_chinese(one), "{field}: {one}");
            assert!(is_chinese(other), "{field}: {other}");
            assert_eq!(holes(one), holes(other), "{field}");
        }
    }

    #[test]
    fn what_is_filled_in_keeps_its_order() {
        assert_eq!(fill("{} of {}.", &["1", "2"]), "1 of 2.");
        assert_eq!(fill("no hole", &["1"]), "no hole");
        assert_eq!(fill("{}{}", &["{}", "x"]), "{}x");
    }

    #[test]
    fn numbers_are_plain() {
        assert_eq!(bytes(27_400_000), "27.4 MB");
        assert_eq!(bytes(4_294_967_296), "4.29 GB");
        assert_eq!(bytes(1_500), "2 kB");
        assert_eq!(count(1_340_000), "1.3 M");
        assert_eq!(number(193.4), "193");
        assert_eq!(number(0.125), "0.12");
        assert_eq!(percent(0.0), "100.0 %");
        assert_eq!(percent(-20.0), "< 0.01 %");
    }
}
