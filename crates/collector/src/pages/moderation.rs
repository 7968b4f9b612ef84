//! `/moderation`: where reported texts wait for somebody to look at them.
//!
//! Behind a token, by the browser's own question for a password. A form is taken only with the mark that this page gave it,
//! and only from this page.

use axum::Form;
use axum::extract::State as FromState;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use kudos_schema::{Rating, hexadecimal};
use serde::Deserialize;
use subtle::ConstantTimeEq;

use super::html::{escape, page};
use crate::admin::guard::Moderator;
use crate::clock::rfc3339;
use crate::database::ratings::Waiting;
use crate::problem::Problem;
use crate::state::State;

/// Texts of one page.
const SHOWN: i64 = 50;

/// What a moderator decided.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Decision {
    /// The page's mark.
    mark: String,
    /// The rating.
    rating: String,
    /// Its rater's pseudonym.
    rater: String,
    /// What is done.
    action: Action,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    Approve,
    Erase,
    Quarantine,
}

/// Shows what waits.
pub(crate) async fn get(
    moderator: Moderator,
    FromState(state): FromState<State>,
) -> Result<Response, Problem> {
    let mark = mark(&state, &moderator);
    let waiting = state.database.waiting(SHOWN).await?;
    let mut html = match waiting.len() {
        0 => "<p>Nothing waits.</p>\n".to_owned(),
        _ => "<p class=\"quiet\">Reported texts, the oldest first. Exports leave them out until they \
              are approved.</p>\n"
            .to_owned(),
    };
    for entry in waiting {
        match serde_json::from_str(&entry.record) {
            Ok(rating) => html += &article(&rating, &entry, &mark),
            Err(_) => html += "<p>A damaged record waits: restore a backup.</p>\n",
        }
    }
    Ok(page("Reported texts", &html))
}

/// Does what was decided.
pub(crate) async fn post(
    moderator: Moderator,
    FromState(state): FromState<State>,
    form: Result<Form<Decision>, axum::extract::rejection::FormRejection>,
) -> Result<Response, Problem> {
    let wrong = |_| Problem::bad_request("this is no form of the moderation page");
    let Form(decision) = form.map_err(wrong)?;
    let genuine = mark(&state, &moderator).as_bytes().ct_eq(decision.mark.as_bytes());
    if !bool::from(genuine) {
        let message = "the form is not of this page: load the page again";
        return Err(Problem::new(StatusCode::FORBIDDEN, message));
    }
    match decision.action {
        Action::Approve => drop(state.database.approve(&decision.rating).await?),
        Action::Erase => drop(state.database.erase_rating(&decision.rating).await?),
        // Of the text nothing is decided by that: it waits still.
        Action::Quarantine => {
            state.database.quarantine(&decision.rater, state.clock.now_ms()).await?;
        }
    }
    Ok((StatusCode::SEE_OTHER, [(LOCATION, "moderation")]).into_response())
}

/// What a form must bring along, so that no other page can have made it.
fn mark(state: &State, moderator: &Moderator) -> String {
    hexadecimal(&state.seal.of("moderation", &[moderator.token.as_bytes()]))
}

fn article(rating: &Rating, entry: &Waiting, mark: &str) -> String {
    let mut html = format!(
        "<article>\n<p class=\"quiet\">{} · {} · {}</p>\n",
        escape(&rfc3339(entry.received)),
        escape(&rating.task),
        escape(&rating.policy.name),
    );
    for message in &rating.prompt.messages {
        html +=
            &format!("<p>{}</p><pre>{}</pre>\n", escape(&message.role), escape(&message.content));
    }
    if !rating.prompt.text.is_empty() {
        html += &format!("<pre>{}</pre>\n", escape(&rating.prompt.text));
    }
    for place in &rating.reported {
        let Some(sample) = rating.samples.get(*place) else { continue };
        html += &format!("<p>Reported</p><pre><mark>{}</mark></pre>\n", escape(&sample.text));
    }
    let said = rating.reasons.iter().chain(&rating.remark);
    for text in said {
        html += &format!("<p>Remark</p><pre>{}</pre>\n", escape(text));
    }
    let mut actions = vec![("approve", "Approve"), ("erase", "Erase the text")];
    if entry.is_quarantined {
        html += "<p class=\"quiet\">The rater is quarantined.</p>\n";
    } else {
        actions.push(("quarantine", "Quarantine the rater"));
    }
    for (action, name) in actions {
        let field = |name: &str, value: &str| {
            format!("<input type=\"hidden\" name=\"{name}\" value=\"{}\">", escape(value))
        };
        html += &format!(
            "<form method=\"post\" action=\"moderation\">{}{}{}{}<button>{name}</button></form>\n",
            field("mark", mark),
            field("rating", &rating.id),
            field("rater", &rating.rater),
            field("action", action),
        );
    }
    html + "</article>\n"
}
