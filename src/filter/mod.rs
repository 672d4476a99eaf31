//! Which records reach a handler: those that one of the user's patterns matches.
//!
//! The pattern language is that of EventBridge, with which AWS Lambda filters events. A record is judged as
//! `{"data": PAYLOAD, "partitionKey": KEY}`. Here is no clock and no file: whoever has a record asks.

mod case;
mod decimal;
mod json;
mod matcher;
mod members;
mod network;
mod pattern;
mod reader;
mod scalar;
mod value;
mod wildcard;

pub use pattern::Pattern;
use pattern::Verdict;
pub use reader::patterns;

/// What becomes of a record for which the payload would decide, where that is no JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NonJson {
    /// It is handed over: whoever filters by payload may not know that there are others.
    #[default]
    Pass,
    /// It is filtered.
    Skip,
}

/// Patterns, of which one must match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    patterns: Vec<Pattern>,
    non_json: NonJson,
}

impl Filter {
    /// A filter that passes what any of `patterns` matches.
    pub fn new(patterns: Vec<Pattern>, non_json: NonJson) -> Filter {
        Filter { patterns, non_json }
    }

    /// How many patterns there are.
    pub fn pattern_count(&self) -> usize {
        self.patterns.len()
    }

    /// Whether any pattern looks at the payload.
    pub fn needs_payload(&self) -> bool {
        self.patterns.iter().any(Pattern::needs_payload)
    }

    /// Whether the record is handed over; `None` is a payload that cannot be had.
    pub fn passes(&self, partition_key: &str, payload: Option<&[u8]>) -> bool {
        let json = payload.and_then(json::text);
        let mut undecided = false;
        for pattern in &self.patterns {
            match pattern.judge(partition_key, json) {
                Verdict::Matches => return true,
                Verdict::Differs => {}
                Verdict::Unknown => undecided = true,
            }
        }
        undecided && self.non_json == NonJson::Pass
    }
}

#[cfg(test)]
mod tests;
