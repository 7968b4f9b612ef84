//! Personal data out of what a person typed, before it is stored. The page did it already; a client that is no page may not have.
//!
//! What the policy wrote stays: its tokens are recorded, and its text must be theirs.

use kudos_schema::{Rating, Verdict, mask_personal_data};

/// The rating without e-mail addresses, links and long numbers in what the person typed.
pub(super) fn masked(mut rating: Rating) -> Rating {
    for message in &mut rating.prompt.messages {
        message.content = mask_personal_data(&message.content);
    }
    rating.prompt.text = mask_personal_data(&rating.prompt.text);
    rating.remark = rating.remark.map(|remark| mask_personal_data(&remark));
    for reason in &mut rating.reasons {
        *reason = mask_personal_data(reason);
    }
    if let Verdict::Edit(text) = &mut rating.verdict {
        *text = mask_personal_data(text);
    }
    rating
}
