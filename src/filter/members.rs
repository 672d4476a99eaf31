//! JSON that a user wrote, one layer at a time, so that each part knows its place.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Whether it is an object.
pub(super) fn is_object(value: &RawValue) -> bool {
    value.get().starts_with('{')
}

/// Whether it is an array.
pub(super) fn is_array(value: &RawValue) -> bool {
    value.get().starts_with('[')
}

/// The members of an object, in their order.
pub(super) fn members(object: &RawValue) -> Result<Vec<(String, &RawValue)>, &'static str> {
    let members = serde_json::from_str(object.get());
    members
        .map(|Members(members)| members)
        .map_err(|_| if is_object(object) { HALF } else { "no object" })
}

/// The elements of an array.
pub(super) fn elements(array: &RawValue) -> Result<Vec<&RawValue>, &'static str> {
    let wrong = "no array of what may match, such as [\"text\", {\"prefix\": \"te\"}]";
    serde_json::from_str(array.get()).map_err(|_| wrong)
}

/// The text that a string says.
pub(super) fn string(value: &RawValue) -> Result<String, &'static str> {
    let is_string = value.get().starts_with('"');
    serde_json::from_str(value.get()).map_err(|_| if is_string { HALF } else { "no string" })
}

/// JSON has halves of letters, and our text has not.
const HALF: &str = "a '\\u' of half a letter";

/// Members as they stand there, also of the same name.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(InOrder).map(Members)
    }
}

struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}
