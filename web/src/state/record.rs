//! The rating as a record: how it is made, and what of it leaves the page.

use kudos_schema::{
    MAX_TEXT_BYTES, RATING_VERSION, RatedPrompt, Rating, Verdict, mask_personal_data,
};

use super::State;
use super::desk::shortened;
use super::round::{Judged, Round};
use crate::event::Locale;

/// Version of the consent text; a rating names the one that was agreed to.
pub(crate) const CONSENT_VERSION: &str = "2";
/// The longest remark, in bytes.
pub(crate) const MAX_REMARK_BYTES: usize = 4 * 1024;
/// The longest edited text, in bytes: masking can make it twice as long.
pub(crate) const MAX_EDIT_BYTES: usize = MAX_TEXT_BYTES / 2;
const MAX_NAME_BYTES: usize = 256;

/// The rating that a verdict makes of a round; none where nobody wrote.
pub(super) fn rating(state: &State, round: &Round, judged: &Judged) -> Option<Rating> {
    let (policy, rival) = round.policies()?;
    let samples = round.completions.iter().filter_map(|completion| {
        let reason = completion.ended()?;
        Some(completion.sample(reason))
    });
    // Where the visitor went on from a token of their own, the texts are no answer to the query.
    let branched = round.completions.iter().any(|completion| !completion.fixed.is_empty());
    let remark = round.remark.trim();
    Some(Rating {
        version: RATING_VERSION,
        id: judged.id.clone(),
        created: judged.created.clone(),
        page_version: env!("CARGO_PKG_VERSION").to_owned(),
        policy: policy.clone(),
        rival: rival.cloned(),
        backend: shortened(&round.backend(), MAX_NAME_BYTES),
        task: round.task.clone(),
        prompt: prompt(round),
        samples: samples.collect(),
        verdict: judged.verdict.clone(),
        reported: round.reported.clone(),
        reasons: round.reasons.clone(),
        remark: (!remark.is_empty()).then(|| shortened(remark, MAX_REMARK_BYTES)),
        seconds: judged.seconds,
        rater: state.memory.rater.clone(),
        consent: state.memory.consent.clone(),
        locale: match state.locale() {
            Locale::English => "en".to_owned(),
            Locale::Chinese => "zh".to_owned(),
        },
        query: round.query.clone().filter(|_| !branched),
    })
}

/// What the policy was given, which all completions of a round share.
fn prompt(round: &Round) -> RatedPrompt {
    let first = round.completions.first();
    RatedPrompt {
        messages: round.messages.clone(),
        text: round.text.clone() + &first.map(|first| first.fixed_text()).unwrap_or_default(),
        picture: round.picture.clone(),
        token_ids: first.map(|first| first.prompt_ids.clone()).unwrap_or_default(),
    }
}

/// The rating as it leaves the page: what the person typed is masked. What the policy wrote is not, since
/// its tokens are recorded and must fit its text; nor is a prompt that the collector itself sent.
pub(crate) fn outgoing(rating: &Rating) -> Rating {
    let mut masked = rating.clone();
    if masked.query.is_none() {
        for message in &mut masked.prompt.messages {
            message.content = mask_personal_data(&message.content);
        }
        masked.prompt.text = mask_personal_data(&masked.prompt.text);
    }
    masked.remark = masked.remark.map(|remark| mask_personal_data(&remark));
    if let Verdict::Edit(text) = &mut masked.verdict {
        *text = mask_personal_data(text);
    }
    masked
}
