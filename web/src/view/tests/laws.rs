//! What holds on every page.

use std::collections::BTreeSet;

use super::*;
use crate::state::tests::POLICY;

#[test]
fn whatever_reacts_is_a_control_with_a_name() {
    for (state, page) in in_both_languages() {
        let mut controls = 0;
        for node in all(&page) {
            let is_control =
                ["button", "select", "textarea", "input", "a", "summary"].contains(&node.tag);
            let reacts = !node.handlers.is_empty();
            let is_drawn_on = node.tag == "canvas" && attribute(node, "aria-label").is_some();
            let may_react = is_control || is_drawn_on || node.tag == "dialog";
            assert!(!reacts || may_react, "{state}: a {}", node.tag);
            if is_control {
                controls += 1;
                let name = name(&page, node);
                assert!(!name.trim().is_empty(), "{state}: {:?} has no name", node.attributes);
            }
            let disabled = attribute(node, "disabled").is_some();
            assert!(!(disabled && reacts), "{state}: disabled things do nothing");
        }
        assert!(controls > 10, "{state}");
    }
}

#[test]
fn ids_are_unique_and_what_they_are_named_for_is_there() {
    for (state, page) in in_both_languages() {
        let nodes = all(&page);
        let ids: Vec<&str> = nodes.iter().filter_map(|node| attribute(node, "id")).collect();
        let unique: BTreeSet<&str> = ids.iter().copied().collect();
        assert_eq!(ids.len(), unique.len(), "{state}: {ids:?}");
        for node in nodes {
            for to in ["aria-labelledby", "aria-describedby", "aria-controls", "for"] {
                if let Some(id) = attribute(node, to) {
                    assert!(unique.contains(id), "{state}: {to} {id}");
                }
            }
        }
    }
}

#[test]
fn headings_go_down_step_by_step_and_landmarks_are_there_once() {
    for (state, page) in in_both_languages() {
        let mut before = 0;
        for node in all(&page) {
            let level = match node.tag {
                "h1" => 1,
                "h2" => 2,
                "h3" => 3,
                _ => continue,
            };
            assert!(level <= before + 1, "{state}: h{level} after h{before}");
            assert!(!text(node).trim().is_empty(), "{state}");
            before = level;
        }
        for tag in ["main", "header", "footer", "nav", "h1"] {
            assert_eq!(
                all(&page).iter().filter(|node| node.tag == tag).count(),
                1,
                "{state}: {tag}"
            );
        }
    }
}

#[test]
fn no_style_stands_in_the_page() {
    for (state, page) in in_both_languages() {
        for node in all(&page) {
            assert_eq!(attribute(node, "style"), None, "{state}: the security policy refuses it");
            assert_ne!(node.tag, "style", "{state}");
        }
    }
}

#[test]
fn no_policy_is_named_near_the_texts_before_the_verdict() {
    let mut seen = [0, 0];
    for (name, state) in states() {
        let page = view(&state);
        let named = ["completions", "rating", "token-panel", "consent"]
            .iter()
            .filter_map(|id| find(&page, id))
            .any(|part| text(part).contains(POLICY));
        let judged = state.round.as_ref().is_some_and(|round| round.judged.is_some());
        assert_eq!(named, judged, "{name}");
        seen[usize::from(judged)] += 1;
    }
    assert!(seen[0] > 20 && seen[1] > 1, "{seen:?}");
}

#[test]
fn every_problem_is_a_sentence_with_a_remedy_in_both_languages() {
    let mut sentences = BTreeSet::new();
    for (name, state) in states() {
        let said = [Locale::English, Locale::Chinese].map(|locale| {
            let page = in_locale(&state, locale);
            let error = find(&page, "error").expect("the alert is always there");
            assert_eq!(attribute(error, "role"), Some("alert"));
            assert_eq!(attribute(error, "hidden").is_some(), state.problem.is_none(), "{name}");
            assert_eq!(find(error, "retry").is_some(), state.retry().is_some(), "{name}");
            text(error)
        });
        if state.problem.is_some() {
            assert!(said[0].len() > 60 && said[0] != said[1], "{name}: {said:?}");
            sentences.insert(said[0].clone());
        }
    }
    assert!(sentences.len() >= 15, "{sentences:#?}");
}
