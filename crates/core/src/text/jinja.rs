//! Jinja to [`Turns`]: what a chat template writes between two contents, found by rendering it.
//!
//! Every order of up to four messages, the system's only as the first, is rendered with marked
//! contents. Where the text between two places is the same in all of them, it goes into the table; where
//! it depends on more than its two neighbours, the template is no table and refused. Orders that the
//! template raises an exception for, or whose contents it drops or moves, are left out, and a table that
//! would write them all the same is refused. Not looked at: what becomes of an empty message.
//!
//! Source: `transformers`, `utils/chat_template_utils.py` (Jinja settings and variables).

use std::collections::BTreeMap;

use kudos_schema::{Between, Place, Turns};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, Value, context};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::chat::ChatError;

/// Around every content: white space that no template writes itself.
const PAD: char = '\u{2003}';
/// Opens and closes the mark of a content; private use, so that no template has it.
const MARK: [char; 2] = ['\u{E000}', '\u{E001}'];
/// What the marks of a rendering end with: nothing, or what templates look for inside a message.
const TAILS: [&str; 2] = ["", "\n\n</think> tail"];
/// Instructions of one rendering: no chat template needs a hundredth of them, and one that never ends is
/// damage or malice.
const FUEL: u64 = 200_000;
/// The longest order that is tried.
const LONGEST: usize = 4;

/// The system first: see [`orders`].
const ROLES: [(&str, Place); 3] =
    [("system", Place::System), ("user", Place::User), ("assistant", Place::Assistant)];

/// The table of a template.
pub(super) fn turns(source: &str, bos_token: &str, eos_token: &str) -> Result<Turns, ChatError> {
    let environment = environment();
    let template = environment.template_from_str(source).map_err(|error| in_words(&error))?;
    let mut found = Found::default();
    let (mut raised, mut left_out) = (None, Vec::new());
    for order in orders() {
        for (last, tail) in
            [Place::Reply, Place::End].map(|last| TAILS.map(|tail| (last, tail))).concat()
        {
            let turns = order.iter().enumerate().map(|(at, (role, _))| {
                context! { role => *role, content => format!("{PAD}{}{PAD}", mark(at, tail)) }
            });
            let variables = context! {
                messages => turns.collect::<Vec<Value>>(),
                add_generation_prompt => last == Place::Reply,
                bos_token => bos_token,
                eos_token => eos_token,
                tools => (),
                documents => (),
            };
            let rendered = template.render(variables).map_err(|error| in_words(&error));
            let places = pairs(&order, last);
            match rendered {
                Ok(text) if found.learn(&text, &places, tail)? => {}
                Ok(_) => left_out.push(places),
                Err(error) => {
                    raised = raised.or(Some(error));
                    left_out.push(places);
                }
            }
        }
    }
    match raised {
        Some(error) if found.trim.is_none() => Err(error),
        _ if found.trim.is_none() => Err(ChatError::NoTurns("no message is written".into())),
        _ => found.table(&left_out),
    }
}

/// The places of an order, each with the one after it.
fn pairs(order: &[(&str, Place)], last: Place) -> Vec<(Place, Place)> {
    let inner = order.iter().map(|(_, place)| *place);
    let places: Vec<Place> = [Place::Start].into_iter().chain(inner).chain([last]).collect();
    places.windows(2).map(|pair| (pair[0], pair[1])).collect()
}

/// What the renderings had in common so far.
#[derive(Default)]
struct Found {
    between: BTreeMap<(Place, Place), String>,
    trim: Option<bool>,
}

impl Found {
    /// Takes the texts between the contents of one rendering; false if it has not all of them in order.
    fn learn(
        &mut self,
        text: &str,
        places: &[(Place, Place)],
        tail: &str,
    ) -> Result<bool, ChatError> {
        let mut rest = text;
        let mut found = Vec::new();
        let contents = places.len() - 1;
        for (at, pair) in places[..contents].iter().enumerate() {
            let mark = mark(at, tail);
            let Some((before, behind)) = rest.split_once(mark.as_str()) else { return Ok(false) };
            let (unpadded, padded) = (before.strip_suffix(PAD), behind.strip_prefix(PAD));
            let trim = match (unpadded, padded) {
                (Some(_), Some(_)) => false,
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => {
                    return Err(ChatError::NoTurns("it trims one side of a message".into()));
                }
            };
            if *self.trim.get_or_insert(trim) != trim {
                return Err(ChatError::NoTurns("it trims some messages and not others".into()));
            }
            found.push((*pair, unpadded.unwrap_or(before)));
            rest = padded.unwrap_or(behind);
        }
        found.push((places[contents], rest));
        for ((after, next), text) in found {
            let known = self.between.entry((after, next)).or_insert_with(|| text.to_owned());
            if known.as_str() != text || text.contains(MARK) {
                let what = format!("between {after} and {next} it writes {known:?} or {text:?}");
                return Err(ChatError::NoTurns(what));
            }
        }
        Ok(true)
    }

    /// The table, unless it writes what the template does not.
    fn table(self, left_out: &[Vec<(Place, Place)>]) -> Result<Turns, ChatError> {
        let writes = |places: &&Vec<(Place, Place)>| {
            places.iter().all(|pair| self.between.contains_key(pair))
        };
        if let Some(places) = left_out.iter().find(writes) {
            let order: Vec<String> =
                places[1..].iter().map(|(place, _)| place.to_string()).collect();
            return Err(ChatError::NoTurns(format!("it changes or refuses {}", order.join(", "))));
        }
        let between = self.between.into_iter();
        let between = between.map(|((after, next), text)| Between { after, next, text });
        Ok(Turns { trim: self.trim == Some(true), between: between.collect() })
    }
}

/// What stands for the content of message number `at`.
fn mark(at: usize, tail: &str) -> String {
    let [open, close] = MARK;
    format!("{open}{at}{close}{tail}")
}

/// Every order of up to [`LONGEST`] roles in which only the first may be the system.
fn orders() -> Vec<Vec<(&'static str, Place)>> {
    let mut longest: Vec<Vec<(&str, Place)>> = ROLES.iter().map(|role| vec![*role]).collect();
    let mut all = vec![Vec::new()];
    all.extend(longest.iter().cloned());
    for _ in 1..LONGEST {
        let longer = longest.iter().flat_map(|order| {
            ROLES[1..].iter().map(move |role| order.iter().copied().chain([*role]).collect())
        });
        longest = longer.collect();
        all.extend(longest.iter().cloned());
    }
    all
}

/// Jinja as `transformers` sets it up.
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_fuel(Some(FUEL));
    environment.set_syntax(syntax.expect("the standard delimiters are valid"));
    environment.set_unknown_method_callback(unknown_method_callback);
    environment.add_function("raise_exception", |message: String| -> Result<String, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message))
    });
    environment
}

fn in_words(error: &Error) -> ChatError {
    let what = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    ChatError::Template(error.line().map_or(what.clone(), |line| format!("line {line}: {what}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(source: &str) -> Result<Turns, String> {
        turns(source, "<s>", "</s>").map_err(|error| error.to_string())
    }

    #[test]
    fn a_template_that_folds_the_system_into_the_first_turn_is_a_table() {
        let folding = "{% if messages[0].role == 'system' %}{% set system = messages[0].content %}\
            {% set rest = messages[1:] %}{% else %}{% set rest = messages %}{% endif %}\
            {% for message in rest %}\
            {% if (message.role == 'user') != (loop.index0 % 2 == 0) %}\
            {{ raise_exception('roles must alternate') }}{% endif %}\
            {% if message.role == 'user' %}{{ bos_token + '[INST] ' }}\
            {% if loop.first and system %}{{ '<<SYS>>' + system + '<</SYS>>' }}{% endif %}\
            {{ message.content + ' [/INST]' }}\
            {% else %}{{ ' ' + message.content + eos_token }}{% endif %}{% endfor %}";
        let turns = of(folding).unwrap();
        for (after, next, text) in [
            (Place::Start, Place::User, Some("<s>[INST] ")),
            (Place::Start, Place::System, Some("<s>[INST] <<SYS>>")),
            (Place::System, Place::User, Some("<</SYS>>")),
            (Place::User, Place::Assistant, Some(" [/INST] ")),
            (Place::Assistant, Place::User, Some("</s><s>[INST] ")),
            (Place::User, Place::Reply, Some(" [/INST]")),
            (Place::User, Place::User, None),
            (Place::System, Place::End, None),
        ] {
            assert_eq!(turns.between(after, next), text, "{after} {next}");
        }
        assert!(!turns.trim);
    }

    #[test]
    fn a_template_that_is_no_table_is_refused_with_the_place() {
        let each =
            |text: &str| format!("{{% for message in messages %}}{{{{ {text} }}}}{{% endfor %}}");
        for (source, words) in [
            (each("loop.index ~ message.content"), "between user message and user message"),
            (each("message.content ~ message.content"), "between system message and"),
            (each("message.content.lstrip()"), "one side"),
            (each("message.content.split('</think>')[-1]"), "changes or refuses"),
            (each("message.content if loop.length < 3 else 'x'"), "changes or refuses"),
            (each("'nothing'"), "no message is written"),
            (each("raise_exception('never')"), "never"),
            ("{% if".to_owned(), "correct chat_template"),
            (
                "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
                    .into(),
                "fuel",
            ),
        ] {
            let message = of(&source).unwrap_err();
            assert!(message.contains(words), "{message}");
        }
        assert!(of(&each("message.content | trim")).unwrap().trim);
    }
}
