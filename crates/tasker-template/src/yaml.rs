//! YAML text to a tree in which every value knows its place in the text.
//!
//! The tree holds what JSON can hold. Everything else (tags, merge keys, keys that are not scalars, NUL characters,
//! numbers that JSON would change) is refused rather than silently altered. Hostile input is bounded: the text by
//! [`MAX_SOURCE_BYTES`], nesting by [`MAX_TEMPLATE_DEPTH`], copies made by aliases by [`MAX_COPIED_BYTES`].

use std::collections::{HashMap, HashSet};

use granit_parser::{ErrorKind, Event, Marker, Parser, ScalarStyle, ScanError, StrInput, options};
use serde_json::Value;

use super::finding::{Position, Report};
use super::scalar;
use tasker_api::limits::{MAX_COPIED_BYTES, MAX_KEY_CHARS, MAX_SOURCE_BYTES, MAX_TEMPLATE_DEPTH};

/// What a copied value is charged, besides its text.
const NODE_COST: usize = 16;

/// A value and where it starts.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: Position,
    pub(super) content: Content,
}

#[derive(Clone, Debug)]
pub(super) enum Content {
    /// Null, boolean, number or string.
    Scalar(Value),
    List(Vec<Node>),
    /// In the order of the file; keys are unique.
    Mapping(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) at: Position,
    pub(super) value: Node,
}

impl Node {
    /// What the value is, for "expected an integer, found a string".
    pub(super) fn kind(&self) -> &'static str {
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

    pub(super) fn is_null(&self) -> bool {
        matches!(self.content, Content::Scalar(Value::Null))
    }

    pub(super) fn to_json(&self) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::List(items) => items.iter().map(Self::to_json).collect(),
            Content::Mapping(entries) => entries.iter().map(|e| (e.key.clone(), e.value.to_json())).collect(),
        }
    }

    /// Where the value at a JSON pointer is, or the nearest value around it.
    pub(super) fn locate(&self, pointer: &str) -> Position {
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

/// Reads the one document of `source`. `None` where the text cannot be understood; problems that leave the rest
/// readable are reported too.
pub(super) fn read(source: &str, report: &mut Report<'_>) -> Option<Node> {
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

/// A problem after which the rest of the text means nothing.
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
    /// The path of the value being read.
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

    /// Reads the value that begins with `event`.
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
                    reader.report.error(at, &reader.path, "the key is given twice in this mapping; keep one");
                }
                let (event, value_at) = reader.next()?;
                let value = reader.node(event, value_at)?;
                Ok(is_new.then_some(Entry { key, at, value }))
            })?;
            entries.extend(entry);
        }
    }

    /// A mapping's key, or `None` where it cannot be one.
    fn key(&mut self, event: Event<'s>, at: Position) -> Result<Option<String>, Stop> {
        let problem = match &event {
            Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<" => {
                "merge keys (`<<`) are not supported; write the fields out, or use an alias for a whole value"
            }
            Event::Scalar(text, _, 0, None) => match unstorable(text) {
                None if is_too_long(text) => "the key has too many characters; the limit is 1000, as JSON writes it",
                None => return Ok(Some(text.to_string())),
                Some(problem) => problem,
            },
            _ => "a key must be plain text, without anchor, alias or tag",
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
        // Taken out and put back, since the copy is charged to the reader.
        let Some(node) = self.anchors.remove(&id) else {
            return Err(Stop { at, message: "the alias stands inside the value that it repeats".into() });
        };
        let copy = self.copy(&node, self.depth, at)?;
        self.anchors.insert(id, node);
        Ok(copy)
    }

    /// Copies a value to a depth of the tree; the copy is charged against [`MAX_COPIED_BYTES`].
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

/// Whether YAML could not read the key again when it is written as JSON.
fn is_too_long(key: &str) -> bool {
    // Only a key that is long as it stands can be long when it is written: a character becomes six at most.
    key.len() > MAX_KEY_CHARS / 6 && Value::from(key).to_string().chars().count() > MAX_KEY_CHARS
}

/// Why a text cannot be kept: PostgreSQL stores no NUL, and JSON writes characters as they are that YAML refuses to read.
fn unstorable(text: &str) -> Option<&'static str> {
    if text.contains('\0') {
        return Some("the text contains a NUL character, which cannot be stored");
    }
    let is_refused = |c| matches!(c, '\u{7f}'..='\u{84}' | '\u{86}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}');
    text.contains(is_refused).then_some("the text contains a control character that YAML cannot hold")
}
