//! Patterns as they are typed: JSON, of which each mistake has a place.
//!
//! What could never match, or means something else to AWS, is refused: a filter that drops everything looks just
//! like a stream without records.

use std::fmt::Display;

use anyhow::{Error, Result, anyhow};
use serde_json::value::RawValue;

use super::matcher::Matcher;
use super::members::{elements, is_object, members, string};
use super::pattern::{Field, MOST_FIELDS, Pattern};
use super::value::matcher;
use crate::plural::plural;

/// `$or` within `$or` multiply: a pattern becomes no more than this many.
const MOST_ALTERNATIVES: usize = 64;

/// Patterns are nested no deeper than this.
const DEEPEST: usize = 64;

/// The ways in which what is asked for can be met, each with all its fields.
type Alternatives = Vec<Vec<Field>>;

/// A text with patterns.
struct Reader<'a> {
    /// How messages call it.
    name: &'a str,
    text: &'a str,
}

/// Reads all patterns of a text: one after the other, in arrays, or as the `FilterCriteria` of an event source
/// mapping. `name` is what messages call the text.
///
/// # Errors
/// What is wrong, and where.
pub fn patterns(name: &str, text: &str) -> Result<Vec<Pattern>> {
    let reader = Reader { name, text };
    let values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    let mut patterns = Vec::new();
    for value in values {
        let value = value.map_err(|e| syntax(name, &e))?;
        patterns.extend(reader.value(value)?);
    }
    if patterns.is_empty() {
        return Err(anyhow!("{name} has no pattern"));
    }
    Ok(patterns)
}

/// What is no JSON, with its place in front.
fn syntax(name: &str, e: &serde_json::Error) -> Error {
    let (line, column) = (e.line(), e.column());
    let said = e.to_string();
    let why = said.split(" at line ").next().unwrap_or_default();
    anyhow!("{name}, line {line} column {column}: {why}")
}

impl<'a> Reader<'a> {
    /// An error at a value.
    fn error(&self, value: &RawValue, why: impl Display) -> Error {
        // The value is a part of the text, so their addresses say where.
        let at = value
            .get()
            .as_ptr()
            .addr()
            .wrapping_sub(self.text.as_ptr().addr());
        let before = self.text.get(..at).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default();
        let column = column.chars().count() + 1;
        anyhow!("{}, line {line} column {column}: {why}", self.name)
    }

    /// The members of an object, of which no two have the same name.
    fn object(&self, value: &'a RawValue) -> Result<Vec<(String, &'a RawValue)>> {
        let members = members(value).map_err(|why| self.error(value, why))?;
        if members.is_empty() {
            return Err(self.error(value, "an empty object matches nothing"));
        }
        for (index, (name, again)) in members.iter().enumerate() {
            if members[..index].iter().any(|(other, _)| other == name) {
                return Err(self.error(again, format!("'{name}' is there twice")));
            }
        }
        Ok(members)
    }

    /// The elements of an array.
    fn array(&self, value: &'a RawValue) -> Result<Vec<&'a RawValue>> {
        let elements = elements(value).map_err(|why| self.error(value, why))?;
        if elements.is_empty() {
            return Err(self.error(value, "an empty array matches nothing"));
        }
        Ok(elements)
    }

    /// The patterns of a value of the text.
    fn value(&self, value: &'a RawValue) -> Result<Vec<Pattern>> {
        if !is_object(value) {
            let elements = self.array(value)?;
            let patterns = elements.into_iter().map(|element| self.criteria(element));
            return Ok(patterns.collect::<Result<Vec<_>>>()?.concat());
        }
        self.criteria(value)
    }

    /// The patterns of an object: one pattern, or what AWS prints of a mapping, which has them as text.
    fn criteria(&self, value: &'a RawValue) -> Result<Vec<Pattern>> {
        let members = self.object(value)?;
        let of = |wanted: &str| members.iter().find(|(name, _)| name == wanted);
        if let Some((_, criteria)) = of("FilterCriteria") {
            return self.criteria(criteria);
        }
        if let Some((_, text)) = of("Pattern") {
            let text = string(text).map_err(|why| self.error(text, why))?;
            let place = self.error(value, "its Pattern").to_string();
            return patterns(&place, &text);
        }
        match of("Filters") {
            Some((_, filters)) => self.value(filters),
            None => self.pattern(value),
        }
    }

    /// The patterns that one pattern stands for.
    fn pattern(&self, value: &'a RawValue) -> Result<Vec<Pattern>> {
        let alternatives = self.fields(value, &[])?;
        for fields in &alternatives {
            self.check(value, fields)?;
        }
        Ok(alternatives
            .iter()
            .map(|fields| Pattern::new(fields))
            .collect())
    }

    /// No field may be asked for in two ways that `$or` brings together.
    fn check(&self, value: &RawValue, fields: &[Field]) -> Result<()> {
        if fields.len() > MOST_FIELDS {
            let count = plural(fields.len() as u64, "field");
            let why =
                format!("a pattern of {count}, more than the {MOST_FIELDS} that there may be");
            return Err(self.error(value, why));
        }
        for (index, field) in fields.iter().enumerate() {
            let mut others = fields.iter().take(index).chain(&fields[index + 1..]);
            if others.any(|other| other.path.starts_with(&field.path)) {
                let path = field.path.join(".");
                let why = format!(
                    "'{path}' is asked for within '$or' and beside it: write all of it within '$or'"
                );
                return Err(self.error(value, why));
            }
        }
        Ok(())
    }

    /// All that an object asks for, whose names begin with `path`.
    fn fields(&self, value: &'a RawValue, path: &[String]) -> Result<Alternatives> {
        if path.len() > DEEPEST {
            return Err(self.error(value, "a pattern that is nested too deep"));
        }
        let mut all: Alternatives = vec![Vec::new()];
        for (name, value) in self.object(value)? {
            let of_member = match name.as_str() {
                "$or" => self.or(value, path)?,
                _ => self.member(name, value, path)?,
            };
            if all.len() * of_member.len() > MOST_ALTERNATIVES {
                let why = format!("'$or' makes more than {MOST_ALTERNATIVES} patterns of one");
                return Err(self.error(value, why));
            }
            all = both(&all, &of_member);
        }
        Ok(all)
    }

    /// What a member asks for: an object more of them, an array for a value.
    fn member(&self, name: String, value: &'a RawValue, path: &[String]) -> Result<Alternatives> {
        let is_object = is_object(value);
        if let Some(why) = misplaced(&name, is_object, path) {
            return Err(self.error(value, why));
        }
        let path = [path, &[name]].concat();
        if is_object {
            return self.fields(value, &path);
        }
        let matchers = self.array(value)?.into_iter().map(|element| {
            let matcher = matcher(element);
            matcher.map_err(|fault| self.error(fault.value, fault.why))
        });
        let matchers = matchers.collect::<Result<Vec<Matcher>>>()?;
        Ok(vec![vec![Field { path, matchers }]])
    }

    /// What `$or` asks for.
    fn or(&self, value: &'a RawValue, path: &[String]) -> Result<Alternatives> {
        let objects = self.array(value)?;
        if objects.len() < 2 || !objects.iter().all(|object| is_object(object)) {
            return Err(self.error(value, "'$or' needs an array of two objects or more"));
        }
        let alternatives = objects.into_iter().map(|object| self.fields(object, path));
        Ok(alternatives.collect::<Result<Vec<_>>>()?.concat())
    }
}

/// Every way to meet the one and the other.
fn both(one: &Alternatives, other: &Alternatives) -> Alternatives {
    let pairs = one
        .iter()
        .flat_map(|a| other.iter().map(move |b| [a.as_slice(), b].concat()));
    pairs.collect()
}

/// Why a name cannot be asked for here.
fn misplaced(name: &str, is_object: bool, path: &[String]) -> Option<String> {
    if name.contains('.') {
        return Some(format!(
            "'{name}' has a dot, which is read as an object within an object: write it as one"
        ));
    }
    match (name, path.is_empty()) {
        (_, false) | ("data", true) => None,
        ("partitionKey", true) => {
            is_object.then(|| "'partitionKey' is text: it needs an array".to_owned())
        }
        _ => Some(format!(
            "'{name}' is never there: a pattern asks for \"data\", which is the payload, and \"partitionKey\", as in {{\"data\": {{\"{name}\": …}}}}"
        )),
    }
}
