//! Triples, drawn as a small graph and listed for those who do not see it.

use crate::node::Node;
use crate::state::State;
use crate::words::fill;

/// Width of the drawing.
const WIDTH: f64 = 420.0;
/// Height of one row of the drawing.
const ROW: f64 = 64.0;
/// How many characters of a name are drawn; the list has all of them.
const SHOWN_CHARACTERS: usize = 22;
/// No more triples are drawn: a policy that repeats itself would fill the page.
const MOST: usize = 24;

/// One fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Triple {
    /// Of what.
    pub(super) subject: String,
    /// How they belong together.
    pub(super) relation: String,
    /// With what.
    pub(super) object: String,
}

/// The lines that read `subject | relation | object`, each once.
pub(super) fn triples(text: &str) -> Vec<Triple> {
    let mut found = Vec::new();
    for line in text.lines() {
        let parts: Vec<&str> = line.split('|').map(str::trim).collect();
        if let [subject, relation, object] = parts[..]
            && ![subject, relation, object].contains(&"")
        {
            let triple = Triple {
                subject: subject.to_owned(),
                relation: relation.to_owned(),
                object: object.to_owned(),
            };
            if !found.contains(&triple) && found.len() < MOST {
                found.push(triple);
            }
        }
    }
    found
}

/// Whether there is something to draw.
pub(super) fn has_facts(text: &str) -> bool {
    !triples(text).is_empty()
}

/// The graph and the list; so many graphs stand before it on the page.
pub(super) fn drawing(state: &State, text: &str, n_before: usize) -> Node {
    let words = &state.words().rating;
    let triples = triples(text);
    let figure = Node::new("figure").with("class", "graph");
    if triples.is_empty() {
        return figure.child(Node::new("p").with("class", "hint").text(words.no_graph));
    }
    let id = if n_before == 0 { "graph".to_owned() } else { format!("graph-{n_before}") };
    let item = |triple: &Triple| {
        let text = fill(words.edge, &[&triple.relation, &triple.subject, &triple.object]);
        Node::new("li").text(text)
    };
    let label = fill(words.graph_label, &[&triples.len().to_string()]);
    figure
        .child(Node::new("figcaption").text(words.graph))
        .child(svg(id, &label, &triples))
        .child(Node::new("ul").with("class", "visually-hidden").children(triples.iter().map(item)))
}

/// A name and where it stands.
struct Place<'a> {
    name: &'a str,
    x: f64,
    y: f64,
}

/// Names that are a subject stand on the left, the others on the right, in the order of the text; a name
/// that is an object too stands where it is a subject.
fn places(triples: &[Triple]) -> Vec<Place<'_>> {
    let mut subjects: Vec<&str> = Vec::new();
    let mut objects: Vec<&str> = Vec::new();
    for triple in triples {
        if !subjects.contains(&triple.subject.as_str()) {
            subjects.push(&triple.subject);
        }
    }
    for triple in triples {
        let object = triple.object.as_str();
        if !subjects.contains(&object) && !objects.contains(&object) {
            objects.push(object);
        }
    }
    let rows = subjects.len().max(objects.len()) as f64;
    let mut places = column(subjects, WIDTH * 0.2, rows);
    places.extend(column(objects, WIDTH * 0.8, rows));
    places
}

/// Names below each other, spread over the height of so many rows.
fn column(names: Vec<&str>, x: f64, rows: f64) -> Vec<Place<'_>> {
    let step = rows * ROW / names.len().max(1) as f64;
    let at = |(row, name)| Place { name, x, y: (row as f64 + 0.5) * step };
    names.into_iter().enumerate().map(at).collect()
}

fn svg(id: String, label: &str, triples: &[Triple]) -> Node {
    let places = places(triples);
    let lowest = places.iter().map(|place| place.y).fold(0.0, f64::max);
    let find = |name: &str| places.iter().find(|place| place.name == name);
    let mut svg = Node::new("svg")
        .with("id", id)
        .with("role", "img")
        .with("aria-label", label)
        .with("viewBox", format!("0 0 {WIDTH:.0} {:.0}", lowest + ROW / 2.0));
    for triple in triples {
        if let (Some(from), Some(to)) = (find(&triple.subject), find(&triple.object)) {
            svg = svg.child(line(from, to));
        }
    }
    for (row, triple) in triples.iter().enumerate() {
        if let (Some(from), Some(to)) = (find(&triple.subject), find(&triple.object)) {
            // Labels of edges that leave one name lie on different parts of their lines.
            let along = if row % 2 == 0 { 0.45 } else { 0.6 };
            let (x, y) = (from.x + along * (to.x - from.x), from.y + along * (to.y - from.y));
            svg = svg.child(name("edge", &triple.relation, x, y - 4.0));
        }
    }
    let dot = |place: &Place<'_>| {
        Node::new("circle")
            .with("cx", format!("{:.1}", place.x))
            .with("cy", format!("{:.1}", place.y))
            .with("r", "5")
    };
    svg.children(places.iter().map(dot))
        .children(places.iter().map(|place| name("name", place.name, place.x, place.y + 20.0)))
}

/// A line, or a small loop where a name is tied to itself.
fn line(from: &Place<'_>, to: &Place<'_>) -> Node {
    let bow = if from.name == to.name {
        "c -40 -40 40 -40 0 0".to_owned()
    } else if (from.x - to.x).abs() < 1.0 {
        // Between two names of one column: around those between them.
        format!("C {0:.1} {1:.1} {0:.1} {2:.1} {3:.1} {2:.1}", from.x + 60.0, from.y, to.y, to.x)
    } else {
        format!("L {:.1} {:.1}", to.x, to.y)
    };
    Node::new("path").with("d", format!("M {:.1} {:.1} {bow}", from.x, from.y))
}

fn name(class: &'static str, text: &str, x: f64, y: f64) -> Node {
    let cut: String = text.chars().take(SHOWN_CHARACTERS).collect();
    let cut = if cut.len() < text.len() { cut + "…" } else { cut };
    Node::new("text")
        .with("class", class)
        .with("x", format!("{x:.1}"))
        .with("y", format!("{y:.1}"))
        .with("text-anchor", "middle")
        .text(cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_three_parts_are_facts_and_the_rest_is_not() {
        let found = triples("cat | is a | animal\nno fact\na | b\n | x | y\ncat | is a | animal\n");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].object, "animal");
    }

    #[test]
    fn every_name_has_a_place_of_its_own_inside_of_the_drawing() {
        let triples = triples("a | r | b\nb | r | c\na | s | c\nd | r | d\ne | r | f");
        let places = places(&triples);
        assert_eq!(places.len(), 6);
        for (at, one) in places.iter().enumerate() {
            assert!(one.x > 0.0 && one.x < WIDTH && one.y > 0.0);
            for other in &places[at + 1..] {
                assert!((one.x - other.x).abs() + (one.y - other.y).abs() > 20.0);
            }
        }
    }
}
