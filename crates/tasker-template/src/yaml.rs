//! Reads YAML into a tree in which every value knows its place in the text.
//!
//! The tree contains only what JSON can represent. Everything else is an error and never changed silently: tags, merge
//! keys, keys that are not scalars, NUL characters, numbers that JSON would change. Limits protect against hostile
//! input: [`MAX_SOURCE_BYTES`] for the text, [`MAX_TEMPLATE_DEPTH`] for nesting, [`MAX_COPIED_BYTES`] for the copies
//! that aliases make.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use granit_parser::{ErrorKind, Event, Marker, Parser, ScalarStyle, ScanError, StrInput, options};
use serde_json::Value;

use crate::finding::{Position, Report};
use crate::scalar;
use tasker_api::limits::{MAX_COPIED_BYTES, MAX_KEY_CHARS, MAX_SOURCE_BYTES, MAX_TEMPLATE_DEPTH};

/// What each copied value costs, besides its text.
const NODE_COST: usize = 16;

/// A value and where it starts.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) at: Position,
    pub(crate) content: Content,
}

#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// Null, boolean, number or string.
    Scalar(Value),
    List(Vec<Node>),
    /// The entries in the order of the file. Their keys are unique.
    Mapping(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) at: Position,
    pub(crate) value: Node,
}

impl Node {
    /// Names the kind of the value, for messages such as "expected an integer, found a string".
    pub(crate) fn kind(&self) -> &'static str {
        match &self.content {
            Content::Scalar(Value::Null) => "nothing",
            Content::Scalar(Value::Bool(_)) => "a boolean",
            Content::Scalar(Value::Number(n)) if n.is_f64() => "a fractional number",
            Content::Scalar(Value::Number(_)) => "an integer",
            Content::Scalar(_) => "a string",
            Content::List(_) => "a list",
            Content::Mapping(_) => "a mapping",
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.content, Content::Scalar(Value::Null))
    }

    pub(crate) fn to_json(&self) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::List(items) => items.iter().map(Self::to_json).collect(),
            Content::Mapping(entries) => entries.iter().map(|e| (e.key.clone(), e.value.to_json())).collect(),
        }
    }

    /// Returns the place of the value at a JSON pointer, or of the innermost value around it.
    pub(crate) fn locate(&self, pointer: &str) -> Position {
        let mut node = self;
        for token in pointer.split('/').skip(1) {
            let token = token.replace("~1", "/").replace("~0", "~");
            let child = match &node.content {
                Content::Mapping(entries) => entries.iter().find(|e| e.key == token).map(|e| &e.value),
                Content::List(items) => token.parse().ok().and_then(|i: usize| items.get(i)),
                Content::Scalar(_) => None,
            };
            match child {
                Some(child) => node = child,
                None => break,
            }
        }
        node.at
    }
}

/// Reads the only document of `source`. Returns `None` if the text cannot be read to its end. Errors after which
/// reading goes on are only reported.
pub(crate) fn read(source: &str, report: &mut Report<'_>) -> Option<Node> {
    if source.len() > MAX_SOURCE_BYTES {
        let message = format!("the template has {} bytes; the limit is {MAX_SOURCE_BYTES}", source.len());
        report.error(Position::START, "", message);
        return None;
    }
    if let Some(offset) = source.find('\0') {
        let (line, column) = tasker_api::line_and_column(source, offset);
        report.error(Position { line, column }, "", "the text contains a NUL character");
        return None;
    }
    let mut reader = Reader {
        events: Parser::new_from_str_with_options(source, options! { emit_comments: false }),
        report,
        path: String::new(),
        depth: 0,
        anchors: HashMap::new(),
        copied: 0,
    };
    match reader.document() {
        Ok(node) => node,
        Err(Stop { at, message }) => {
            let Reader { report, path, .. } = reader;
            report.error(at, &path, message);
            None
        }
    }
}

/// An error after which the rest of the text cannot be read.
struct Stop {
    at: Position,
    message: String,
}

impl From<&Marker> for Position {
    fn from(marker: &Marker) -> Self {
        Self { line: marker.line(), column: marker.col() + 1 }
    }
}

impl From<ScanError> for Stop {
    fn from(error: ScanError) -> Self {
        let message = match error.kind() {
            ErrorKind::RecursionLimitExceeded => too_deep(),
            _ => format!("not valid YAML: {}", error.info()),
        };
        Self { at: error.marker().into(), message }
    }
}

struct Reader<'s, 'r, 'f> {
    events: Parser<'s, StrInput<'s>>,
    report: &'r mut Report<'f>,
    /// The path of the current value.
    path: String,
    depth: usize,
    anchors: HashMap<usize, Node>,
    copied: usize,
}

impl<'s> Reader<'s, '_, '_> {
    fn document(&mut self) -> Result<Option<Node>, Stop> {
        let mut root = None;
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => break,
                (Event::DocumentStart(..), at) if root.is_some() => {
                    self.report.error(at, "", "a second YAML document starts here; write one template per file");
                    break;
                }
                (event, at) if event.is_node() => root = Some(self.node(event, at)?),
                _ => {}
            }
        }
        if root.is_none() {
            self.report.error(Position::START, "", "the file is empty: expected a mapping with name, steps, ...");
        }
        Ok(root)
    }

    fn next(&mut self) -> Result<(Event<'s>, Position), Stop> {
        match self.events.next_event() {
            Some(event) => {
                let (event, span) = event?;
                Ok((event, (&span.start).into()))
            }
            None => Ok((Event::StreamEnd, Position::START)),
        }
    }

    /// Reads the value that starts with `event`.
    fn node(&mut self, event: Event<'s>, at: Position) -> Result<Node, Stop> {
        if let Some(tag) = event.tag() {
            let message = format!("the YAML tag `{}` is not supported; write the value without it", tag.original());
            self.report.error(at, &self.path, message);
        }
        let anchor = event.anchor_id();
        let content = match event {
            Event::Alias(id) => return self.alias(id, at),
            Event::Scalar(text, style, ..) => Content::Scalar(self.scalar(&text, style, at)),
            Event::SequenceStart(..) => self.nested(at, Self::list)?,
            _ => self.nested(at, Self::mapping)?,
        };
        let node = Node { at, content };
        if let Some(id) = anchor {
            let copy = self.copy(&node, 0, at)?;
            self.anchors.insert(id, copy);
        }
        Ok(node)
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, at: Position) -> Value {
        if let Some(problem) = unstorable(text) {
            self.report.error(at, &self.path, problem);
        }
        if style != ScalarStyle::Plain {
            return text.into();
        }
        scalar::resolve(text).unwrap_or_else(|message| {
            self.report.error(at, &self.path, message);
            Value::Null
        })
    }

    fn nested(&mut self, at: Position, read: fn(&mut Self) -> Result<Content, Stop>) -> Result<Content, Stop> {
        self.depth += 1;
        check_depth(self.depth, at)?;
        let content = read(self)?;
        self.depth -= 1;
        Ok(content)
    }

    fn list(&mut self) -> Result<Content, Stop> {
        let mut items = Vec::new();
        loop {
            let (event, at) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(Content::List(items));
            }
            let item = self.within(&format!("[{}]", items.len()), |reader| reader.node(event, at))?;
            items.push(item);
        }
    }

    fn mapping(&mut self) -> Result<Content, Stop> {
        let mut entries = Vec::new();
        let mut keys = HashSet::new();
        loop {
            let (event, at) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(Content::Mapping(entries));
            }
            let Some(key) = self.key(event, at)? else {
                let (event, at) = self.next()?;
                self.node(event, at)?;
                continue;
            };
            let separator = if self.path.is_empty() { "" } else { "." };
            let segment = format!("{separator}{key}");
            let entry = self.within(&segment, |reader| {
                let is_new = keys.insert(key.clone());
                if !is_new {
                    reader.report.error(at, &reader.path, "the key appears twice in this mapping; keep one");
                }
                let (event, value_at) = reader.next()?;
                let value = reader.node(event, value_at)?;
                Ok(is_new.then_some(Entry { key, at, value }))
            })?;
            entries.extend(entry);
        }
    }

    /// Reads a key of a mapping. Returns `None` if the node cannot be a key.
    fn key(&mut self, event: Event<'s>, at: Position) -> Result<Option<String>, Stop> {
        let problem: Cow<'_, str> = match &event {
            Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<" => {
                "merge keys (`<<`) are not supported; write the fields out, or use an alias for a whole value".into()
            }
            Event::Scalar(text, _, 0, None) => match unstorable(text) {
                None if is_too_long(text) => {
                    format!("the key is too long; as JSON, it may have up to {MAX_KEY_CHARS} characters").into()
                }
                None => return Ok(Some(text.to_string())),
                Some(problem) => problem.into(),
            },
            _ => "a key must be plain text, without an anchor, an alias or a tag".into(),
        };
        self.report.error(at, &self.path, problem);
        if !matches!(event, Event::Scalar(..)) {
            self.node(event, at)?;
        }
        Ok(None)
    }

    fn within<T>(&mut self, segment: &str, read: impl FnOnce(&mut Self) -> Result<T, Stop>) -> Result<T, Stop> {
        let length = self.path.len();
        self.path.push_str(segment);
        let value = read(self)?;
        self.path.truncate(length);
        Ok(value)
    }

    fn alias(&mut self, id: usize, at: Position) -> Result<Node, Stop> {
        // Taken out and put back, because `copy` borrows the whole reader.
        let Some(node) = self.anchors.remove(&id) else {
            return Err(Stop { at, message: "the alias is inside the value that it repeats".into() });
        };
        let copy = self.copy(&node, self.depth, at)?;
        self.anchors.insert(id, node);
        Ok(copy)
    }

    /// Copies a value to a depth of the tree. The copy counts towards [`MAX_COPIED_BYTES`].
    fn copy(&mut self, node: &Node, depth: usize, at: Position) -> Result<Node, Stop> {
        self.copied += NODE_COST;
        let content = match &node.content {
            Content::Scalar(value) => {
                self.copied += value.as_str().map_or(0, str::len);
                Content::Scalar(value.clone())
            }
            Content::List(items) => {
                check_depth(depth + 1, at)?;
                Content::List(items.iter().map(|item| self.copy(item, depth + 1, at)).collect::<Result<_, _>>()?)
            }
            Content::Mapping(entries) => {
                check_depth(depth + 1, at)?;
                let copy = |entry: &Entry| {
                    self.copied += entry.key.len();
                    let value = self.copy(&entry.value, depth + 1, at)?;
                    Ok(Entry { key: entry.key.clone(), at: entry.at, value })
                };
                Content::Mapping(entries.iter().map(copy).collect::<Result<_, Stop>>()?)
            }
        };
        if self.copied > MAX_COPIED_BYTES {
            return Err(Stop { at, message: "anchors and aliases repeat too much; write the values out".into() });
        }
        Ok(Node { at: node.at, content })
    }
}

fn check_depth(depth: usize, at: Position) -> Result<(), Stop> {
    if depth > MAX_TEMPLATE_DEPTH {
        let message = too_deep();
        return Err(Stop { at, message });
    }
    Ok(())
}

fn too_deep() -> String {
    format!("nested more than {MAX_TEMPLATE_DEPTH} levels deep")
}

/// Whether the key, written as JSON, is too long for YAML to read it again.
fn is_too_long(key: &str) -> bool {
    // JSON writes a character as six characters at most, so a short key needs no exact count.
    key.len() > MAX_KEY_CHARS / 6 && Value::from(key).to_string().chars().count() > MAX_KEY_CHARS
}

/// Returns why a text cannot be stored. PostgreSQL refuses NUL, and YAML refuses control characters that JSON does not
/// escape.
fn unstorable(text: &str) -> Option<&'static str> {
    if text.contains('\0') {
        return Some("the text contains a NUL character, which cannot be stored");
    }
    let is_refused = |c| matches!(c, '\u{7f}'..='\u{84}' | '\u{86}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}');
    text.contains(is_refused).then_some("the text contains a control character that YAML does not allow")
}
