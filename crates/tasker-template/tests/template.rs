//! What the template format accepts, keeps, warns about and refuses.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

use serde_json::{Value, json};
use tasker_api::limits::{MAX_SOURCE_BYTES, MAX_STEPS};
use tasker_template::{Backoff, InputValidator, Parsed, RetryPolicy, parse};

/// A template with these steps.
fn with_steps(steps: &str) -> String {
    format!("name: t\nnamespace_name: ns\nversion: 1.0.0\nsteps:\n{steps}")
}

/// A valid template of one step, which also has these lines. They start in line 7.
fn with_step_fields(fields: &str) -> String {
    with_steps(&format!("  - name: a\n    handler: {{ callable: c }}\n{fields}"))
}

fn accepted(source: &str) -> Parsed {
    parse(source, None).unwrap_or_else(|errors| panic!("refused:\n{errors}\n\n{source}"))
}

/// The errors of a template as `line: path: message`.
fn errors(source: &str) -> Vec<String> {
    let errors = parse(source, None).expect_err("accepted").0;
    let short = |f: &tasker_template::Finding| format!("{}: {}: {}", f.line, f.path, f.message);
    errors.iter().map(short).collect()
}

fn warnings(source: &str) -> Vec<String> {
    let short = |f: &tasker_template::Finding| format!("{}: {}: {}", f.line, f.path, f.message);
    accepted(source).warnings.iter().map(short).collect()
}

#[track_caller]
fn refused(source: &str, expected: &str) {
    let errors = errors(source);
    assert!(errors.len() == 1 && errors[0].contains(expected), "expected `{expected}`, got {errors:#?}");
}

#[test]
fn every_field_is_read() {
    let Parsed { template, warnings } = accepted(
        r#"
name: mathematical_sequence
namespace_name: linear_workflow
version: 1.2.0-rc.1+build
description: "squares"
metadata: { author: me, tags: [a] }
input_schema: { type: object }
steps:
  - name: first
    description: one
    handler:
      callable: linear_workflow.first
      initialization: { operation: square, digits: 00501 }
  - name: second
    handler: { callable: linear_workflow.second }
    dependencies: [first]
    retry: { retryable: false, limit: 7, backoff: linear, backoff_base_ms: 10, max_backoff_ms: 20 }
    timeout_seconds: 30
"#,
    );
    assert_eq!(warnings, []);
    assert_eq!(template.name, "mathematical_sequence");
    assert_eq!(template.namespace_name, "linear_workflow");
    assert_eq!(template.version.to_string(), "1.2.0-rc.1+build");
    assert_eq!(template.description.as_deref(), Some("squares"));
    assert_eq!(template.metadata, Some(json!({"author": "me", "tags": ["a"]})));
    assert_eq!(template.input_schema, Some(json!({"type": "object"})));

    let [first, second] = &template.steps[..] else { panic!("two steps") };
    assert_eq!((first.name.as_str(), first.description.as_deref()), ("first", Some("one")));
    assert_eq!(first.callable(), "linear_workflow.first");
    assert_eq!(first.handler.as_ref().unwrap().initialization, json!({"operation": "square", "digits": "00501"}));
    assert_eq!(second.dependencies, ["first"]);
    assert_eq!((second.retry.limit, second.retry.backoff), (7, Backoff::Linear));
    assert_eq!((second.retry.backoff_base_ms, second.retry.max_backoff_ms), (10, 20));
    assert_eq!(second.retry.max_attempts(), 1);
    assert_eq!(second.timeout_seconds, 30);
}

#[test]
fn absent_and_null_fields_have_defaults() {
    let absent = accepted(&with_step_fields(""));
    let null = accepted(&with_step_fields("    dependencies:\n    retry: ~\n    timeout_seconds: null\n"));
    assert_eq!(absent, null);
    let step = &absent.template.steps[0];
    assert_eq!(step.retry, RetryPolicy::default());
    assert_eq!(step.retry.max_attempts(), 3);
    assert_eq!(step.timeout_seconds, 300);
    assert_eq!(step.handler.as_ref().unwrap().initialization, json!({}));
    assert!(step.dependencies.is_empty());
}

#[test]
fn a_written_delay_limits_the_default_of_the_other() {
    for (written, base, max) in [("max_backoff_ms: 10", 10, 10), ("backoff_base_ms: 60000", 60_000, 60_000)] {
        let parsed = accepted(&with_step_fields(&format!("    retry: {{ {written} }}")));
        let retry = &parsed.template.steps[0].retry;
        assert_eq!((retry.backoff_base_ms, retry.max_backoff_ms), (base, max), "{written}");
    }
}

#[test]
fn the_graph_uses_step_numbers() {
    let source = with_steps(
        "  - { name: d, handler: { callable: c }, dependencies: [c, b] }\n\
         \x20 - { name: b, handler: { callable: c }, dependencies: [a] }\n\
         \x20 - { name: c, handler: { callable: c }, dependencies: [a] }\n\
         \x20 - { name: a, handler: { callable: c } }\n\
         \x20 - { name: e, handler: { callable: c }, dependencies: [a, d] }\n",
    );
    let template = accepted(&source).template;
    assert_eq!(template.dependencies_of(0), [2, 1]);
    assert_eq!(template.dependents_of(3), [1, 2, 4]);
    assert!(template.dependencies_of(99).is_empty());
    assert!(template.dependents_of(99).is_empty());
    assert_eq!(template.levels(), [vec![3], vec![1, 2], vec![0], vec![4]]);
}

#[test]
fn unknown_fields_are_kept_and_warned_about_at_every_level() {
    let source = "\
name: t
namespace_name: ns
version: 1.0.0
owner: me
steps:
  - name: a
    dependecies: []
    handler: { callable: c, queue: q }
    retry: { jitter: 0.5 }
";
    let Parsed { template, warnings } = accepted(source);
    let step = &template.steps[0];
    assert_eq!(Value::Object(template.extra.clone()), json!({"owner": "me"}));
    assert_eq!(Value::Object(step.extra.clone()), json!({"dependecies": []}));
    assert_eq!(Value::Object(step.handler.as_ref().unwrap().extra.clone()), json!({"queue": "q"}));
    assert_eq!(Value::Object(step.retry.extra.clone()), json!({"jitter": 0.5}));

    let places: Vec<_> = warnings.iter().map(|w| (w.line, w.column, w.path.as_str())).collect();
    assert_eq!(
        places,
        [
            (4, 1, "owner"),
            (7, 5, "steps[0].dependecies"),
            (8, 29, "steps[0].handler.queue"),
            (9, 14, "steps[0].retry.jitter"),
        ]
    );
    assert!(warnings[1].message.contains("did you mean `dependencies`?"));
    let again = parse(&serde_json::to_string(&template).unwrap(), None).unwrap();
    assert_eq!(again.template, template);
}

#[test]
fn a_feature_of_published_templates_is_kept_and_a_warning_says_what_happens_instead() {
    let source = "\
---
name: conditional_approval
namespace_name: approvals_rb
version: 1.0.0
task_handler: { callable: Approvals::Handler, initialization: {} }
system_dependencies: { primary: crm, secondary: [] }
domain_events: []
environments:
  test:
    steps: [{ name: ALL, timeout_seconds: 5 }]
lifecycle: { max_duration_minutes: 30 }
steps:
  - name: route_request
    type: decision
    system_dependency: ~
    handler: { callable: Approvals::Route, method: route, resolver: explicit_mapping }
    retry: { retryable: true, max_attempts: 2, backoff: exponential, initial_delay: 2, max_delay: 30 }
    publishes_events: []
  - name: approve
    type: standard
    depends_on: [route_request]
    handler: { callable: Approvals::Approve, method: call }
    retry: { retryable: false, limit: 0 }
  - name: split
    type: batchable
    batch_config: { batch_size: 10, worker_template: part }
    depends_on: [approve]
    handler: { callable: Approvals::Split }
    result_schema: { type: object }
    publishes_events: [{ name: split.done, delivery_mode: fast, publisher: Publisher }]
  - name: part
    type: batch_worker
    batch_config: { worker_template: part }
    depends_on: [split]
    handler: { callable: Approvals::Part }
";
    let template = accepted(source).template;
    assert_eq!(template.steps[0].retry.limit, 2);
    assert_eq!(template.steps[1].dependencies, ["route_request"]);
    assert_eq!(template.steps[1].retry.max_attempts(), 1);
    assert_eq!(template.extra["environments"]["test"]["steps"][0]["timeout_seconds"], 5);
    assert_eq!(template.steps[0].extra["type"], "decision");

    assert_eq!(
        warnings(source),
        [
            "5: task_handler: has no effect: only steps have handlers",
            "6: system_dependencies: has no effect: it is only information",
            "16: steps[0].handler.method: has no effect: `callable` alone selects the handler",
            "16: steps[0].handler.resolver: has no effect: `callable` alone selects the handler",
            "17: steps[0].retry.initial_delay: has no effect: use `backoff_base_ms`, in milliseconds",
            "17: steps[0].retry.max_delay: has no effect: use `max_backoff_ms`, in milliseconds",
            "23: steps[1].retry.limit: 0 is read as 1: the first attempt always runs",
            "29: steps[2].result_schema: has no effect: results are not checked",
            "30: steps[2].publishes_events[0].delivery_mode: has no effect: every event goes through the queue of its namespace",
            "30: steps[2].publishes_events[0].publisher: has no effect: events have one publisher, the engine",
        ]
    );
}

#[test]
fn all_errors_are_reported_at_once_in_the_order_of_the_lines() {
    let source = "\
name: 7
namespace_name: 9lives
version: 1.0
version: 1.0.0
input_schema: { type: objekt }
steps:
  - name: a
    handler: { callable: '' }
    dependencies: [a, b, b, c]
    retry: { limit: 101, backoff: sometimes, backoff_base_ms: 20, max_backoff_ms: 10 }
    timeout_seconds: '30'
  - name: a
    dependencies: nothing
  - 12
";
    let errors = errors(source);
    let expected = [
        "1: name: expected a string, found an integer",
        "2: namespace_name: must be 1 to 47 ASCII letters",
        "3: version: expected a full semantic version such as 1.0.0, found a fractional number",
        "4: version: the key appears twice",
        "5: input_schema.type: not a valid JSON Schema",
        "8: steps[0].handler.callable: must not be empty",
        "9: steps[0].dependencies[0]: a step cannot depend on itself",
        "9: steps[0].dependencies[1]: no step is named `b`",
        "9: steps[0].dependencies[2]: the step depends on `b` twice",
        "9: steps[0].dependencies[3]: no step is named `c`",
        "10: steps[0].retry.limit: must be between 1 and 100, not 101",
        "10: steps[0].retry.backoff: must be one of exponential, linear, fixed, not `sometimes`",
        "10: steps[0].retry.backoff_base_ms: must not exceed max_backoff_ms, which is 10",
        "11: steps[0].timeout_seconds: expected an integer, found a string",
        "12: steps[1].handler: `handler` is required",
        "12: steps[1]: an earlier step is also named `a`",
        "13: steps[1].dependencies: expected a list, found a string",
        "14: steps[2]: expected a mapping, found an integer",
    ];
    assert_eq!(errors.len(), expected.len(), "{errors:#?}");
    for (error, expected) in errors.iter().zip(expected) {
        assert!(error.starts_with(expected), "{error} <> {expected}");
    }
}

#[test]
fn an_invalid_step_does_not_hide_the_errors_of_others() {
    let source = with_steps(
        "  - nothing\n\
         \x20 - { name: a, handler: { callable: c }, dependencies: [b] }\n\
         \x20 - { handler: { callable: c } }\n\
         \x20 - { name: b, handler: { callable: c }, dependencies: [a] }\n",
    );
    assert_eq!(
        errors(&source),
        [
            "5: steps[0]: expected a mapping, found a string",
            "6: steps[1].dependencies[0]: the steps depend on each other in a cycle: a → b → a",
            "7: steps[2].name: `name` is required",
        ]
    );
}

#[test]
fn findings_name_the_file() {
    let errors = parse("name: [", Some("templates/a.yaml")).unwrap_err();
    assert!(errors.to_string().starts_with("templates/a.yaml:1:"), "{errors}");
    assert_eq!(errors.0[0].file.as_deref(), Some("templates/a.yaml"));
}

#[test]
fn a_cycle_is_reported_with_the_names_of_its_steps() {
    let step = |name: &str, needs: &str| {
        format!("  - {{ name: {name}, handler: {{ callable: c }}, dependencies: [{needs}] }}\n")
    };
    let two = [step("a", "b"), step("b", "c"), step("c", "a"), step("x", "y, a"), step("y", "x"), step("z", "a")];
    assert_eq!(
        errors(&with_steps(&two.concat())),
        [
            "5: steps[0].dependencies[0]: the steps depend on each other in a cycle: a → b → c → a",
            "8: steps[3].dependencies[0]: the steps depend on each other in a cycle: x → y → x",
        ]
    );
}

#[test]
fn an_unknown_dependency_gets_a_suggestion() {
    let source = with_steps(
        "  - { name: reserve_inventory, handler: { callable: c } }\n\
         \x20 - { name: b, handler: { callable: c }, dependencies: [reserve_inventroy] }\n",
    );
    refused(&source, "no step is named `reserve_inventroy`; did you mean `reserve_inventory`?");
}

#[test]
fn values_out_of_range_are_refused() {
    let long = "x".repeat(129);
    for (source, expected) in [
        (
            with_step_fields("    timeout_seconds: 0"),
            "7: steps[0].timeout_seconds: must be between 1 and 604800, not 0",
        ),
        (with_step_fields("    timeout_seconds: 604801"), "between 1 and 604800"),
        (with_step_fields("    timeout_seconds: 1.5"), "expected an integer, found a fractional number"),
        (with_step_fields("    retry: { limit: -1 }"), "must be between 1 and 100, not -1"),
        (with_step_fields("    retry: { limit: 3, max_attempts: 3 }"), "another name for `limit`"),
        (with_step_fields("    retry: { backoff_base_ms: 604800001 }"), "between 0 and 604800000"),
        (with_step_fields("    retry: { retryable: yes }"), "expected true or false, found a string"),
        (with_step_fields("    retry: 3"), "expected a mapping, found an integer"),
        (with_step_fields("    dependencies: [[]]"), "expected a string, found a list"),
        (with_steps(""), "1: steps: `steps` is required"),
        (with_steps("  []"), "a template must have 1 to 1000 steps, not 0"),
        (
            with_steps(&format!("  - {{ name: {long}, handler: {{ callable: c }} }}")),
            "has 129 characters; the limit is 128",
        ),
        (with_steps("  - { name: \"a\\tb\", handler: { callable: c } }"), "control character U+0009"),
        (with_steps("  - { name: ' ', handler: { callable: c } }"), "must not be empty"),
        (
            with_steps(&format!("  - {{ name: a, handler: {{ callable: {long}{long} }} }}")),
            "has 258 characters; the limit is 255",
        ),
        (
            with_steps("  - { name: a, handler: { callable: c, initialization: [] } }"),
            "expected a mapping, found a list",
        ),
        ("- a".to_owned(), "expected a mapping, found a list"),
    ] {
        refused(&source, expected);
    }
}

#[test]
fn versions_must_be_full_semantic_versions() {
    for version in ["1", "1.0", "v1.0.0", "01.0.0", "''", "latest", "1.0.0.0"] {
        let source = with_step_fields("").replace("1.0.0", version);
        let errors = errors(&source);
        assert!(errors.len() == 1 && errors[0].starts_with("3: version: "), "{errors:#?}");
    }
}

#[test]
fn namespaces_must_be_valid_as_queue_names() {
    let long = "n".repeat(47);
    for name in ["linear_workflow_py", "rust_e2e_diamond", "_Internal", long.as_str()] {
        accepted(&with_step_fields("").replace("ns", name));
    }
    let too_long = "n".repeat(48);
    for name in ["my-namespace", "my.namespace", "'my namespace'", "größe", "1st", "''", too_long.as_str()] {
        refused(&with_step_fields("").replace("ns", name), "2: namespace_name: must be");
    }
}

#[test]
fn input_schemas_are_compiled_and_nothing_is_fetched() {
    let with_schema = |schema: &str| format!("input_schema:\n  {schema}\n{}", with_step_fields(""));
    for schema in [
        "type: object",
        "$ref: '#/$defs/a'\n  $defs: { a: { type: object } }",
        "$schema: 'http://json-schema.org/draft-07/schema#'",
    ] {
        accepted(&with_schema(schema));
    }
    for (schema, expected) in [
        ("properties:\n    a:\n      type: strnig", "4: input_schema.properties.a.type: not a valid JSON Schema"),
        ("pattern: '['", "not a valid JSON Schema"),
        ("$ref: 'https://example.com/schema.json'", "not a valid JSON Schema"),
        ("$ref: 'file:///etc/passwd'", "not a valid JSON Schema"),
        ("$ref: '#/$defs/missing'", "not a valid JSON Schema"),
        ("$schema: 'https://example.com/meta.json'", "not a valid JSON Schema"),
        ("- object", "expected a JSON Schema (a mapping), found a list"),
    ] {
        refused(&with_schema(schema), expected);
    }
}

#[test]
fn yaml_that_json_cannot_represent_is_refused() {
    for (value, expected) in [
        ("{ a: 1, a: 2 }", "metadata.a: the key appears twice"),
        ("\"a\\0b\"", "metadata: the text contains a NUL character"),
        ("{ \"\\u0000\": 1 }", "the text contains a NUL character"),
        ("!ruby/object:A {}", "the YAML tag `!ruby/object:A` is not supported"),
        ("{ [a]: 1 }", "a key must be plain text"),
        ("{ <<: { a: 1 } }", "merge keys (`<<`) are not supported"),
        (".inf", "JSON has no such number"),
        ("123456789012345678901234567890", "does not fit into 64 bits"),
        ("*nowhere", "not valid YAML"),
        ("&a [*a]", "the alias is inside the value that it repeats"),
    ] {
        refused(&format!("metadata: {value}\n{}", with_step_fields("")), expected);
    }
    refused(&format!("{}---\n{}", with_step_fields(""), with_step_fields("")), "7: : a second YAML document");
    refused("name: a\n\u{0}", "2: : the text contains a NUL character");
    refused("# nothing\n", "the file is empty");
    refused("name: a\n  b: c\n", "2: ");
}

#[test]
fn aliases_repeat_values() {
    let source = with_steps(
        "  - { name: a, handler: { callable: c }, retry: &retry { limit: 9 } }\n\
         \x20 - { name: b, handler: { callable: c }, retry: *retry }\n",
    );
    assert_eq!(accepted(&source).template.steps[1].retry.limit, 9);
}

#[test]
fn hostile_sources_are_refused_quickly() {
    let mut bomb = "a0: &a0 [x]\n".to_owned();
    for i in 1..30 {
        let aliases = vec![format!("*a{}", i - 1); 10].join(", ");
        bomb.push_str(&format!("a{i}: &a{i} [{aliases}]\n"));
    }
    refused(&bomb, "anchors and aliases repeat too much");

    let mut chain = "a0: &a0 [x]\n".to_owned();
    for i in 1..100 {
        chain.push_str(&format!("a{i}: &a{i} [*a{}]\n", i - 1));
    }
    refused(&chain, "nested more than 64 levels deep");
    refused(&"[".repeat(100_000), "nested more than 64 levels deep");
    refused(&"- ".repeat(100_000), "nested more than 64 levels deep");
    refused(&"{a: ".repeat(100_000), "nested more than 64 levels deep");
    refused(&" ".repeat(MAX_SOURCE_BYTES + 1), "the limit is 1048576");
    let long = format!("metadata: \"{}\"\n{}", "\\x01".repeat(200_000), with_step_fields(""));
    refused(&long, "bytes as JSON; the limit is 1048576");

    let many: String = (0..=MAX_STEPS).map(|i| format!("  - {{ name: s{i}, handler: {{ callable: c }} }}\n")).collect();
    refused(&with_steps(&many), "a template must have 1 to 1000 steps, not 1001");
}

#[test]
fn a_key_is_refused_if_yaml_cannot_read_it_again() {
    // YAML reads a key of any length if no value follows it, but JSON always writes a value. A tab becomes two
    // characters.
    let with_key = |key: &str| format!("metadata: {{ \"{key}\" }}\n{}", with_step_fields(""));
    for (longest, longer) in [("x".repeat(998), "x".repeat(999)), ("\\t".repeat(499), "\\t".repeat(500))] {
        let template = accepted(&with_key(&longest)).template;
        let written = serde_json::to_string(&template).unwrap();
        assert_eq!(accepted(&written).template, template);
        refused(&with_key(&longer), "the key is too long; as JSON, it may have up to 1000 characters");
    }
}

#[test]
fn the_list_of_findings_is_limited() {
    let duplicates = "a: 1\n".repeat(1000);
    let errors = errors(&duplicates);
    assert_eq!(errors.len(), 100);
    assert!(errors[99].contains("and 903 more, not listed"), "{}", errors[99]);
}

#[test]
fn errors_of_an_input_have_pointers() {
    let validator = InputValidator::new(&json!({
        "type": "object",
        "required": ["items"],
        "properties": {
            "items": {"type": "array", "items": {"type": "object", "properties": {"quantity": {"minimum": 1}}}},
            "token": {"type": "integer"},
        },
    }))
    .unwrap();
    assert_eq!(validator.validate(&json!({"items": [{"quantity": 1}]})), Ok(()));

    let errors = validator.validate(&json!({"items": [{"quantity": 1}, {"quantity": 0}]})).unwrap_err();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].pointer, "/items/1/quantity");

    let missing = validator.validate(&json!({})).unwrap_err();
    assert_eq!(missing[0].pointer, "");
    assert!(missing[0].message.contains("items"), "{}", missing[0].message);

    let secret = validator.validate(&json!({"items": [], "token": "s3cret"})).unwrap_err();
    assert!(!secret[0].to_string().contains("s3cret"), "{}", secret[0]);

    let many = json!({"items": vec![json!({"quantity": 0}); 50]});
    assert_eq!(validator.validate(&many).unwrap_err().len(), 10);
}

#[test]
fn schemas_that_refer_to_themselves_do_not_hang() {
    for schema in [json!({"$ref": "#"}), json!({"allOf": [{"$ref": "#"}]}), json!({"properties": {"a": {"$ref": "#"}}})]
    {
        if let Ok(validator) = InputValidator::new(&schema) {
            let _ = validator.validate(&json!({"a": {"a": 1}}));
        }
    }
}
