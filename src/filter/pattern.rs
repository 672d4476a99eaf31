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
        // The order of the bits is that of the names, in which AWS looks for them.
        let mut fields: Vec<&Field> = fields.iter().collect();
        fields.sort_by_cached_key(|field| field.path.join("."));
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
        let mut walk = Walk {
            json: Json::new(json),
            absent: self.absent,
            met: 0,
            repeats: false,
        };
        let seen = walk.value(data, 0)?;
        let absent = self.absent & !seen.present;
        let met = if walk.repeats { walk.met } else { seen.met };
        Some(data.is_met(met | seen.granted | absent))
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

/// A walk through an event.
struct Walk<'a> {
    json: Json<'a>,
    /// Fields that are met where there is no value.
    absent: u64,
    /// Fields that a value meets, anywhere.
    met: u64,
    /// An object has a name twice: each goes with all others, as for AWS, so arrays do not count.
    repeats: bool,
}

/// What was seen in a part of an event, as bits of fields.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// A value meets them.
    met: u64,
    /// They are met by the lack of a value in the element of an array that was chosen.
    granted: u64,
    /// They have a value.
    present: u64,
}

impl Walk<'_> {
    /// What is seen in the value that comes next.
    fn value(&mut self, node: &Node, depth: usize) -> Option<Seen> {
        match self.json.peek()? {
            b'{' | b'[' if depth == DEEPEST => None,
            b'{' => self.object(node, depth + 1),
            b'[' => self.array(node, depth + 1),
            _ => self.scalar(node),
        }
    }

    fn object(&mut self, node: &Node, depth: usize) -> Option<Seen> {
        let (mut all, mut named) = (Seen::default(), 0);
        self.json.enter();
        while self.json.has_more()? {
            let name = self.json.name()?;
            let Some(node) = node.at(&name) else {
                self.json.skip()?;
                continue;
            };
            self.repeats |= named & node.fields > 0;
            named |= node.fields;
            all = all.with(self.value(node, depth)?);
        }
        Some(all)
    }

    fn array(&mut self, node: &Node, depth: usize) -> Option<Seen> {
        let mut all = Seen::default();
        self.json.enter();
        while self.json.has_more()? {
            let element = self.value(node, depth)?;
            all.present |= element.present;
            all = all.with(self.chosen(node, element).unwrap_or_default());
        }
        Some(all)
    }

    /// What is met if this element is chosen, if it can be. AWS goes through fields by their names: once one was
    /// met in an element, those after it are absent if that has none, and those before it if no element has any.
    fn chosen(&self, node: &Node, element: Seen) -> Option<Seen> {
        let first_met = 1_u64.checked_shl((element.met & node.fields).trailing_zeros());
        let is_before = first_met.map_or(u64::MAX, |first| first - 1);
        let absent = self.absent & node.fields & !element.present;
        let left_open = self.absent & node.fields & is_before;
        let granted = element.granted | absent & !is_before;
        let chosen = Seen { granted, ..element };
        node.is_met(element.met | granted | left_open)
            .then_some(chosen)
    }

    fn scalar(&mut self, node: &Node) -> Option<Seen> {
        if node.own == 0 {
            self.json.skip()?;
            return Some(Seen::default());
        }
        let value = self.json.scalar()?;
        let is_met = node.matchers.iter().any(|matcher| matcher.takes(&value));
        let met = if is_met { node.own } else { 0 };
        self.met |= met;
        Some(Seen {
            met,
            granted: 0,
            present: node.own,
        })
    }
}

impl Seen {
    /// This and that.
    fn with(self, other: Seen) -> Seen {
        Seen {
            met: self.met | other.met,
            granted: self.granted | other.granted,
            present: self.present | other.present,
        }
    }
}
