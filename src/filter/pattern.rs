//! A pattern, as a tree of the names that it asks for, and what it says of a record.
//!
//! A name in the pattern that lies in an array of the event must be found in one element with its neighbours:
//! `{"a": {"b": [1], "c": [2]}}` does not match `{"a": [{"b": 1}, {"c": 2}]}`. So the event is walked once, each
//! object reports which of the pattern's fields are met in it, and of an array only an element counts that
//! meets all of them.

use super::json::Json;
use super::matcher::Matcher;
use super::scalar::Scalar;

/// A pattern asks for no more fields of a payload than this: a bit stands for each.
pub(super) const MOST_FIELDS: usize = 64;

/// An event that is nested deeper than this is not judged where the pattern follows it.
const DEEPEST: usize = 500;

/// A pattern without alternatives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    partition_key: Option<Vec<Matcher>>,
    data: Option<Node>,
    /// The fields that are met where the event has no such field.
    absent: u64,
}

/// Something that a pattern asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    /// The names that lead to it.
    pub(super) path: Vec<String>,
    /// One of these must take a value there.
    pub(super) matchers: Vec<Matcher>,
}

/// A name in a pattern, with what is asked for under it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Node {
    name: String,
    nodes: Vec<Node>,
    /// What its value must be, if that is asked.
    matchers: Vec<Matcher>,
    /// The bit of that.
    own: u64,
    /// The bits of all fields here and below.
    fields: u64,
}

/// What a pattern says of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The record is as the pattern wants it.
    Matches,
    /// It is not.
    Differs,
    /// The payload would decide, and cannot be judged.
    Unknown,
}

impl Pattern {
    /// A pattern that asks for all these fields, each with its path from `data` or `partitionKey` on.
    pub(super) fn new(fields: &[Field]) -> Pattern {
        let mut pattern = Pattern {
            partition_key: None,
            data: None,
            absent: 0,
        };
        let mut bit = 1;
        for Field { path, matchers } in fields {
            match path.split_first() {
                Some((first, names)) if first == "data" => {
                    let root = pattern.data.get_or_insert_default();
                    root.add(names, matchers, bit);
                    let is_absent = matchers.contains(&Matcher::Absent);
                    pattern.absent |= if is_absent { bit } else { 0 };
                    bit <<= 1;
                }
                _ => pattern.partition_key = Some(matchers.clone()),
            }
        }
        pattern
    }

    /// Whether it looks at the payload.
    pub(super) fn needs_payload(&self) -> bool {
        self.data.is_some()
    }

    /// What it says of a record; `json` is the payload, if that is JSON.
    pub(super) fn judge(&self, partition_key: &str, json: Option<&str>) -> Verdict {
        let key = Scalar::Text(partition_key.as_bytes().into());
        let takes_key = |matchers: &Vec<Matcher>| matchers.iter().any(|m| m.takes(&key));
        if !self.partition_key.as_ref().is_none_or(takes_key) {
            return Verdict::Differs;
        }
        let Some(data) = &self.data else {
            return Verdict::Matches;
        };
        match json.and_then(|json| self.is_met(data, json)) {
            Some(true) => Verdict::Matches,
            Some(false) => Verdict::Differs,
            None => Verdict::Unknown,
        }
    }

    /// Whether a payload has all that is asked for; `None` if it is nested too deep.
    fn is_met(&self, data: &Node, json: &str) -> Option<bool> {
        let (is_met, present) = Walk::through(data, json, 0)?;
        let absent = self.absent & !present;
        if is_met || absent == 0 {
            return Some(is_met);
        }
        // Which fields are nowhere is known only now, and an element of an array needs none of those.
        let (is_met, _) = Walk::through(data, json, absent)?;
        Some(is_met)
    }
}

impl Node {
    fn add(&mut self, names: &[String], matchers: &[Matcher], bit: u64) {
        self.fields |= bit;
        let Some((first, rest)) = names.split_first() else {
            matchers.clone_into(&mut self.matchers);
            self.own = bit;
            return;
        };
        let at = self.nodes.iter().position(|node| node.name == *first);
        let at = at.unwrap_or_else(|| {
            self.nodes.push(Node {
                name: first.clone(),
                ..Node::default()
            });
            self.nodes.len() - 1
        });
        self.nodes[at].add(rest, matchers, bit);
    }

    /// Whether these are all fields here and below.
    fn is_met(&self, met: u64) -> bool {
        met & self.fields == self.fields
    }

    /// The node for a name in the event. AWS takes `a.b` for a `b` within an `a`.
    fn at(&self, name: &[u8]) -> Option<&Node> {
        name.split(|byte| *byte == b'.')
            .try_fold(self, |node, part| {
                let mut nodes = node.nodes.iter();
                nodes.find(|node| node.name.as_bytes() == part)
            })
    }
}

/// A walk through an event, and what was seen on the way.
struct Walk<'a> {
    json: Json<'a>,
    /// Fields that are met because the event has none such.
    given: u64,
    /// Fields that have a value.
    present: u64,
    /// Fields that are met anywhere.
    met: u64,
    /// An object has a name twice: each goes with all others, as for AWS, so arrays do not count.
    repeats: bool,
}

impl Walk<'_> {
    /// Whether the event has all that is asked for, and which fields have a value at all.
    fn through(root: &Node, json: &str, given: u64) -> Option<(bool, u64)> {
        let mut walk = Walk {
            json: Json::new(json),
            given,
            present: 0,
            met: 0,
            repeats: false,
        };
        let met = walk.value(root, 0)?;
        let is_met = root.is_met(met | given);
        let is_met_by_repeats = walk.repeats && root.is_met(walk.met | given);
        Some((is_met || is_met_by_repeats, walk.present))
    }

    /// The fields that are met in the value that comes next.
    fn value(&mut self, node: &Node, depth: usize) -> Option<u64> {
        match self.json.peek()? {
            b'{' | b'[' if depth == DEEPEST => None,
            b'{' => self.object(node, depth + 1),
            b'[' => self.array(node, depth + 1),
            _ => self.scalar(node),
        }
    }

    fn object(&mut self, node: &Node, depth: usize) -> Option<u64> {
        let (mut met, mut seen) = (0, 0);
        self.json.enter();
        while self.json.has_more()? {
            let name = self.json.name()?;
            let Some(node) = node.at(&name) else {
                self.json.skip()?;
                continue;
            };
            self.repeats |= seen & node.fields > 0;
            seen |= node.fields;
            met |= self.value(node, depth)?;
        }
        Some(met)
    }

    fn array(&mut self, node: &Node, depth: usize) -> Option<u64> {
        let mut met = 0;
        self.json.enter();
        while self.json.has_more()? {
            let here = self.value(node, depth)?;
            if node.is_met(here | self.given) {
                met |= here;
            }
        }
        Some(met)
    }

    fn scalar(&mut self, node: &Node) -> Option<u64> {
        if node.own == 0 {
            self.json.skip()?;
            return Some(0);
        }
        let value = self.json.scalar()?;
        self.present |= node.own;
        let is_met = node.matchers.iter().any(|matcher| matcher.takes(&value));
        let met = if is_met { node.own } else { 0 };
        self.met |= met;
        Some(met)
    }
}
