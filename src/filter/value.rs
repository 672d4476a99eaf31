//! What a pattern asks of one value, as it is typed.

use serde_json::value::RawValue;

use super::case::AnyCase;
use super::decimal::Decimal;
use super::matcher::{Matcher, Range};
use super::members::{elements, is_array, is_object, members, string};
use super::network::Network;
use super::wildcard::Wildcard;
use crate::suggest;

/// The operators, which AWS has, too.
const OPERATORS: [&str; 8] = [
    "anything-but",
    "cidr",
    "equals-ignore-case",
    "exists",
    "numeric",
    "prefix",
    "suffix",
    "wildcard",
];

/// What is wrong with a part of a pattern.
#[derive(Debug)]
pub(super) struct Fault<'a> {
    /// The part.
    pub(super) value: &'a RawValue,
    /// What is wrong with it.
    pub(super) why: String,
}

type Result<'a, T> = std::result::Result<T, Fault<'a>>;

/// For `map_err`: it is wrong with this value.
fn at<'a, W: Into<String>>(value: &'a RawValue) -> impl FnOnce(W) -> Fault<'a> {
    move |why| Fault {
        value,
        why: why.into(),
    }
}

fn wrong<'a, T>(value: &'a RawValue, why: impl Into<String>) -> Result<'a, T> {
    Err(at(value)(why.into()))
}

/// What an element of a field's array asks for.
pub(super) fn matcher(value: &RawValue) -> Result<'_, Matcher> {
    if is_array(value) {
        return wrong(value, "an array within an array");
    }
    if !is_object(value) {
        return exact(value);
    }
    let (name, operand) = only_member(value)?;
    match name.as_str() {
        "anything-but" => but(operand),
        "cidr" => {
            let network = Network::read(&text(operand)?);
            network.map(Matcher::Network).map_err(at(operand))
        }
        "equals-ignore-case" => Ok(Matcher::AnyCase(AnyCase::of(&text(operand)?))),
        "exists" => exists(operand),
        "numeric" => range(operand),
        "prefix" => affix(operand, Matcher::Prefix, Matcher::PrefixAnyCase),
        "suffix" => affix(operand, Matcher::Suffix, Matcher::SuffixAnyCase),
        "wildcard" => wildcard(operand),
        _ => {
            let choice = suggest::choice(&name, &OPERATORS);
            wrong(value, format!("unknown operator '{name}' ({choice})"))
        }
    }
}

/// The one member of an object that has no more.
fn only_member(value: &RawValue) -> Result<'_, (String, &RawValue)> {
    let mut members = members(value).map_err(at(value))?;
    match (members.pop(), members.is_empty()) {
        (Some(member), true) => Ok(member),
        (Some(_), false) => wrong(value, "more than one operator in an object"),
        (None, _) => wrong(value, "an empty object"),
    }
}

fn text(value: &RawValue) -> Result<'_, String> {
    string(value).map_err(at(value))
}

/// A value that is wanted as it is.
fn exact(value: &RawValue) -> Result<'_, Matcher> {
    match value.get() {
        word @ ("true" | "false" | "null") => Ok(Matcher::Word(word.to_owned())),
        text if text.starts_with('"') => Ok(Matcher::Text(self::text(value)?)),
        number => Ok(Matcher::Number(Decimal::of(number))),
    }
}

fn exists(value: &RawValue) -> Result<'_, Matcher> {
    match value.get() {
        "true" => Ok(Matcher::Present),
        "false" => Ok(Matcher::Absent),
        _ => wrong(value, "exists is true or false, and nothing else"),
    }
}

fn wildcard(value: &RawValue) -> Result<'_, Matcher> {
    let wildcard = Wildcard::read(&text(value)?);
    wildcard.map(Matcher::Wildcard).map_err(at(value))
}

/// A prefix or suffix, as it is or `{"equals-ignore-case": …}`.
fn affix(
    value: &RawValue,
    exactly: impl Fn(String) -> Matcher,
    any_case: impl Fn(AnyCase) -> Matcher,
) -> Result<'_, Matcher> {
    if !is_object(value) {
        return text(value).map(exactly);
    }
    match only_member(value)? {
        (name, operand) if name == "equals-ignore-case" => {
            Ok(any_case(AnyCase::of(&text(operand)?)))
        }
        _ => wrong(value, "neither a string nor {\"equals-ignore-case\": …}"),
    }
}

/// Anything but a value, or values of one kind, or what an operator takes.
fn but(value: &RawValue) -> Result<'_, Matcher> {
    if !is_object(value) {
        let others = each(value, exact)?;
        let is_text = |other: &Matcher| matches!(other, Matcher::Text(_));
        let is_number = |other: &Matcher| matches!(other, Matcher::Number(_));
        return match others.iter().all(is_text) || others.iter().all(is_number) {
            true => Ok(Matcher::But(others)),
            false => wrong(value, "anything-but needs strings, or numbers"),
        };
    }
    let (name, operand) = only_member(value)?;
    let others = match name.as_str() {
        "equals-ignore-case" => each(operand, |value| {
            Ok(Matcher::AnyCase(AnyCase::of(&text(value)?)))
        }),
        "prefix" => each(operand, |value| Ok(Matcher::Prefix(some_text(value)?))),
        "suffix" => each(operand, |value| Ok(Matcher::Suffix(some_text(value)?))),
        "wildcard" => each(operand, wildcard),
        _ => wrong(
            value,
            "anything-but takes equals-ignore-case, prefix, suffix and wildcard, and no other operator",
        ),
    };
    others.map(Matcher::But)
}

/// Text that is not empty: all text begins and ends with none.
fn some_text(value: &RawValue) -> Result<'_, String> {
    let text = text(value)?;
    match text.is_empty() {
        true => wrong(
            value,
            "an empty string, with which everything begins and ends",
        ),
        false => Ok(text),
    }
}

/// What each element of an array asks for, or a value that is no array.
fn each<'a>(
    value: &'a RawValue,
    matcher: impl Fn(&'a RawValue) -> Result<'a, Matcher>,
) -> Result<'a, Vec<Matcher>> {
    if !is_array(value) {
        return Ok(vec![matcher(value)?]);
    }
    let elements = elements(value).map_err(at(value))?;
    if elements.is_empty() {
        return wrong(value, "an empty array matches nothing");
    }
    elements.into_iter().map(matcher).collect()
}

/// A comparison of a number, or two.
fn range(value: &RawValue) -> Result<'_, Matcher> {
    let parts = elements(value).map_err(at(value))?;
    let range = match parts[..] {
        [operator, number] => bound(operator, number)?,
        [operator, from, second, to] => {
            let (lower, upper) = (bound(operator, from)?, bound(second, to)?);
            let range = Range {
                from: lower.from,
                to: upper.to,
            };
            let ends = range.from.as_ref().zip(range.to.as_ref());
            if lower.to.is_some()
                || upper.from.is_some()
                || ends.is_none_or(|(from, to)| from.0 >= to.0)
            {
                return wrong(
                    value,
                    "two comparisons are a lower end, and then a higher upper end: [\">\", 0, \"<=\", 5]",
                );
            }
            range
        }
        _ => {
            return wrong(
                value,
                "numeric needs comparisons, such as [\">\", 0] or [\">\", 0, \"<=\", 5]",
            );
        }
    };
    Ok(Matcher::Range(range))
}

/// One comparison.
fn bound<'a>(operator: &'a RawValue, number: &'a RawValue) -> Result<'a, Range> {
    let Matcher::Number(end) = exact(number)? else {
        return wrong(number, "no number");
    };
    let (from, to) = match text(operator)?.as_str() {
        "=" => (Some((end.clone(), true)), Some((end, true))),
        ">" => (Some((end, false)), None),
        ">=" => (Some((end, true)), None),
        "<" => (None, Some((end, false))),
        "<=" => (None, Some((end, true))),
        _ => return wrong(operator, "no comparison: write one of =, >, >=, <, <="),
    };
    Ok(Range { from, to })
}
