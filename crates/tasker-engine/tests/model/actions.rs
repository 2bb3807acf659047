//! Random actions. They refer to tasks, steps and claims by an index that wraps around, so every action is valid in
//! every state.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::graphs::{Graph, graph};

/// The input of a test: templates, and the actions to replay.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// A template for each namespace.
    pub(crate) graphs: [Graph; 2],
    pub(crate) actions: Vec<Action>,
}

#[derive(Debug, Clone)]
pub(crate) enum Action {
    Create(Vec<Request>),
    Claim {
        namespaces: &'static [usize],
        limit: u32,
    },
    Complete {
        /// Indexes into the claims so far, newest first, with an outcome. They include claims of steps that others have
        /// completed.
        claims: Vec<(u8, Outcome)>,
        namespaces: &'static [usize],
        take: u32,
    },
    /// A heartbeat.
    Extend {
        claims: Vec<u8>,
    },
    Operate {
        task: u8,
        operation: Operate,
    },
    /// Adds another message for a step.
    Duplicate {
        task: u8,
        step: u8,
    },
    /// Advances the clock by milliseconds, so that backoff delays and leases end.
    AdvanceClock(i64),
}

/// A task to create from the template of a namespace.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) namespace: usize,
    pub(crate) priority: i16,
    /// An idempotency key and a digest of the request.
    pub(crate) key: Option<(u8, u8)>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Outcome {
    Completed,
    RetryableError,
    PermanentError,
    Released,
}

/// An operator's action. Steps are named by number. The task may not have a step of this number.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Operate {
    Cancel,
    Fail,
    RetryTask,
    RetryStep(u8),
    Resolve(u8),
}

pub(crate) fn case() -> impl Strategy<Value = Case> {
    ([graph(), graph()], vec(action(), 1..60)).prop_map(|(graphs, mut actions)| {
        actions.insert(0, Action::Create(vec![Request { namespace: 0, priority: 0, key: None }]));
        Case { graphs, actions }
    })
}

fn action() -> impl Strategy<Value = Action> {
    let limit = prop_oneof![2 => 1..4u32, 3 => Just(100)];
    let outcome = prop_oneof![
        6 => Just(Outcome::Completed),
        3 => Just(Outcome::RetryableError),
        1 => Just(Outcome::PermanentError),
        1 => Just(Outcome::Released),
    ];
    let operation = prop_oneof![
        1 => Just(Operate::Cancel),
        1 => Just(Operate::Fail),
        3 => Just(Operate::RetryTask),
        2 => (0..9u8).prop_map(Operate::RetryStep),
        3 => (0..9u8).prop_map(Operate::Resolve),
    ];
    let milliseconds =
        prop_oneof![Just(1i64), Just(750), Just(2000), Just(3000), Just(29_999), Just(30_000), Just(90_000)];
    prop_oneof![
        3 => vec(request(), 1..4).prop_map(Action::Create),
        6 => (namespaces(), limit).prop_map(|(namespaces, limit)| Action::Claim { namespaces, limit }),
        8 => (vec((0..10u8, outcome), 1..6), namespaces(), 0..5u32)
            .prop_map(|(claims, namespaces, take)| Action::Complete { claims, namespaces, take }),
        2 => vec(0..10u8, 1..5).prop_map(|claims| Action::Extend { claims }),
        3 => (0..8u8, operation).prop_map(|(task, operation)| Action::Operate { task, operation }),
        1 => (0..8u8, 0..8u8).prop_map(|(task, step)| Action::Duplicate { task, step }),
        4 => milliseconds.prop_map(Action::AdvanceClock),
    ]
}

pub(crate) fn request() -> impl Strategy<Value = Request> {
    let priority = prop_oneof![3 => Just(0i16), 1 => 1..=100i16];
    (0..2usize, priority, proptest::option::weighted(0.4, (0..4u8, 0..2u8)))
        .prop_map(|(namespace, priority, key)| Request { namespace, priority, key })
}

fn namespaces() -> impl Strategy<Value = &'static [usize]> {
    prop_oneof![4 => Just(&[0, 1][..]), 1 => Just(&[1, 0][..]), 1 => Just(&[0][..]), 1 => Just(&[1][..])]
}
