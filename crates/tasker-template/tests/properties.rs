//! Properties of the template format that hold for every input.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use semver::Version;
use serde_json::{Value, json};
use tasker_template::{parse, version_key};

const VALID: &str = r#"
name: order
namespace_name: shop
version: 1.0.0
metadata: &meta { tags: ["a", 'b', 1.5, 0x1f] }
input_schema:
  type: object
steps:
  - name: first # a comment
    handler: { callable: shop.first, initialization: *meta }
    retry: { limit: 2, backoff: fixed }
  - name: second
    description: >
      folded
      text
    handler:
      callable: shop.second
    dependencies: [first]
"#;

/// JSON values without the characters that a template cannot contain.
fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::btree_map(text(), inner, 0..5).prop_map(|map| json!(map)),
        ]
    })
}

fn text() -> impl Strategy<Value = String> {
    r"[^\x00\x7f-\x84\x86-\x9f\u{fffe}\u{ffff}]{0,12}"
}

/// Steps with their dependencies, in any order. There are no cycles: each step depends only on lower numbers.
fn graph() -> impl Strategy<Value = Vec<(usize, Vec<usize>)>> {
    vec(vec(any::<Index>(), 0..4), 1..30)
        .prop_map(|steps| {
            let needs = |(i, picks): (usize, Vec<Index>)| {
                let mut needs: Vec<usize> = picks.iter().filter(|_| i > 0).map(|pick| pick.index(i.max(1))).collect();
                needs.sort_unstable();
                needs.dedup();
                (i, needs)
            };
            steps.into_iter().enumerate().map(needs).collect::<Vec<_>>()
        })
        .prop_shuffle()
}

fn template(steps: Vec<Value>) -> Value {
    json!({"name": "t", "namespace_name": "ns", "version": "1.0.0", "steps": steps})
}

fn step(name: usize, needs: &[usize]) -> Value {
    let needs: Vec<_> = needs.iter().map(|n| format!("s{n}")).collect();
    json!({"name": format!("s{name}"), "handler": {"callable": "c"}, "dependencies": needs})
}

fn identifier() -> impl Strategy<Value = String> {
    prop_oneof!["0|[1-9][0-9]{0,25}", "[0-9A-Za-z-]{0,3}[A-Za-z-][0-9A-Za-z-]{0,3}"]
}

fn version() -> impl Strategy<Value = Version> {
    let number = || prop_oneof![0..3_u64, any::<u64>()];
    let pre = vec(identifier(), 0..4).prop_map(|ids| ids.join("."));
    (number(), number(), number(), pre).prop_map(|(major, minor, patch, pre)| {
        let pre = semver::Prerelease::new(&pre).unwrap();
        Version { major, minor, patch, pre, build: semver::BuildMetadata::EMPTY }
    })
}

proptest! {
    #[test]
    fn any_text_is_accepted_or_refused(text in any::<String>()) {
        let _ = parse(&text, None);
    }

    #[test]
    fn any_text_of_yaml_syntax_is_accepted_or_refused(text in "[-:?,\\[\\]{}#&*!|>'\"%@` \n\tab0.~<\\\\]{0,200}") {
        let _ = parse(&text, None);
    }

    #[test]
    fn errors_of_damaged_templates_have_places(
        edits in vec((any::<Index>(), 0..10_usize, "[-:?,\\[\\]{}#&*!|>'\"% \n\ta0é]{0,5}"), 1..6)
    ) {
        let mut text: Vec<char> = VALID.chars().collect();
        for (at, removed, inserted) in edits {
            let start = at.index(text.len() + 1);
            let end = (start + removed).min(text.len());
            text.splice(start..end, inserted.chars());
        }
        let lines = text.iter().filter(|c| **c == '\n').count() + 1;
        if let Err(errors) = parse(&text.into_iter().collect::<String>(), None) {
            prop_assert!(!errors.0.is_empty());
            for error in errors.0 {
                prop_assert!((1..=lines + 1).contains(&error.line) && error.column >= 1, "{error:?}");
            }
        }
    }

    #[test]
    fn values_of_wrong_types_are_accepted_or_refused(
        odd in vec(prop_oneof![json_value(), Just(step(0, &[1])), Just(step(1, &[0]))], 1..6),
        at in 0..5_usize,
    ) {
        let mut source = template(vec![step(0, &[]), step(2, &[])]);
        let value = odd.first().cloned().unwrap_or_default();
        match at {
            0 => source["steps"] = Value::from(odd),
            1 => source["steps"][0]["dependencies"] = Value::from(odd),
            2 => source["steps"][0]["retry"] = value,
            3 => source["steps"][0]["handler"] = value,
            _ => source["input_schema"] = value,
        }
        if let Err(errors) = parse(&source.to_string(), None) {
            prop_assert!(!errors.0.is_empty());
        }
    }

    #[test]
    fn a_template_as_json_is_the_same_template(
        metadata in json_value(),
        settings in json_value(),
        extra in json_value(),
    ) {
        let mut source = template(vec![step(0, &[]), step(1, &[0])]);
        source["metadata"] = metadata;
        source["kept"] = extra.clone();
        source["steps"][0]["handler"]["initialization"] = json!({"settings": settings});
        source["steps"][1]["retry"] = json!({"limit": 2, "kept": extra.clone()});
        let parsed = parse(&source.to_string(), None).unwrap();
        prop_assert_eq!(&parsed.template.extra["kept"], &extra);
        prop_assert_eq!(&parsed.template.steps[0].handler.as_ref().unwrap().initialization["settings"], &settings);

        let text = serde_json::to_string(&parsed.template).unwrap();
        let again = parse(&text, None).unwrap();
        prop_assert_eq!(again.template, parsed.template);
    }

    #[test]
    fn the_graph_matches_the_dependencies(graph in graph()) {
        let steps = graph.iter().map(|(name, needs)| step(*name, needs)).collect();
        let template = parse(&template(steps).to_string(), None).unwrap().template;
        let number = |name: usize| graph.iter().position(|(other, _)| *other == name).unwrap() as u16;

        for (i, (_, needs)) in graph.iter().enumerate() {
            let expected: Vec<u16> = needs.iter().map(|name| number(*name)).collect();
            prop_assert_eq!(template.dependencies_of(i), expected);
            let dependents: Vec<u16> = (0..graph.len())
                .filter(|j| template.dependencies_of(*j).contains(&(i as u16)))
                .map(|j| j as u16)
                .collect();
            prop_assert_eq!(template.dependents_of(i), dependents);
        }
        let levels = template.levels();
        let level_of = |step: u16| levels.iter().position(|level| level.contains(&step)).unwrap();
        prop_assert_eq!(levels.iter().map(Vec::len).sum::<usize>(), graph.len());
        for step in 0..graph.len() {
            let needed = template.dependencies_of(step).iter().map(|d| level_of(*d) + 1).max();
            prop_assert_eq!(level_of(step as u16), needed.unwrap_or(0));
        }
    }

    #[test]
    fn an_edge_back_makes_one_cycle(graph in graph(), length in 1..10_usize) {
        // A chain whose first step depends on its last.
        let mut steps: Vec<Value> = graph.iter().map(|(name, needs)| step(*name, needs)).collect();
        let first = graph.len();
        for i in 0..=length {
            let needs = if i == 0 { first + length } else { first + i - 1 };
            steps.push(step(first + i, &[needs]));
        }
        let errors = parse(&template(steps).to_string(), None).unwrap_err().0;
        prop_assert_eq!(errors.len(), 1);
        prop_assert_eq!(errors[0].message.matches('→').count(), length + 1);
    }

    #[test]
    fn version_keys_sort_like_versions(a in version(), b in version()) {
        prop_assert_eq!(version_key(&a).cmp(&version_key(&b)), a.cmp_precedence(&b), "{} {}", a, b);
    }

    #[test]
    fn version_keys_sort_like_pre_releases(a in vec(identifier(), 0..4), b in vec(identifier(), 0..4)) {
        let version = |ids: Vec<String>| Version {
            pre: semver::Prerelease::new(&ids.join(".")).unwrap(),
            ..Version::new(1, 0, 0)
        };
        let (a, b) = (version(a), version(b));
        prop_assert_eq!(version_key(&a).cmp(&version_key(&b)), a.cmp_precedence(&b), "{} {}", a, b);
    }
}
