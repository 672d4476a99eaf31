//! The environment: `KCLPIPE_*` stands for options of the bridge.

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use anyhow::{Result, anyhow, bail};
use clap::{Arg, Command};

use super::launch::JARS;
use super::{OfBridge, renamed};
use crate::launch::PROPERTY;
use crate::launched;
use crate::suggest;

/// Variables of the environment that stand for options: the option's name, and its value.
pub(crate) type Variables = BTreeMap<String, String>;

/// The variables `KCLPIPE_*` that stand for options, without empty ones; also what there is to say of the
/// others.
///
/// # Errors
/// One that stands for a flag is neither yes nor no, or one is not UTF-8.
pub(crate) fn variables(
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Result<(Variables, Vec<String>)> {
    // Most environments have none.
    let options = LazyCell::new(OfBridge::command);
    let (mut known, mut others) = (Variables::new(), Vec::new());
    for (name, value) in environment {
        let Some(name) = name.to_str().filter(|name| is_of_bridge(name)) else {
            continue;
        };
        let option = name["KCLPIPE_".len()..].to_lowercase().replace('_', "-");
        let mut all = options.get_arguments();
        match all.find(|argument| argument.get_long() == Some(&option)) {
            Some(argument) => {
                known.extend(value_of(name, value, argument)?.map(|value| (option, value)));
            }
            None => others.push(unknown(name, &option, &options)),
        }
    }
    Ok((known, others))
}

/// What to say of a variable that stands for no option.
fn unknown(name: &str, option: &str, command: &Command) -> String {
    if let Some(new) = renamed::variable(name) {
        return format!("{name} is ignored: its new name is {new}");
    }
    let options = command.get_arguments().filter_map(Arg::get_long);
    let known: Vec<String> = suggest::meant(option, options)
        .into_iter()
        .map(variable)
        .collect();
    match known.first() {
        Some(meant) => format!("{name} is set, but there is no such option: did you mean {meant}?"),
        None => format!("{name} is set, but there is no such option"),
    }
}

/// The variable that stands for an option.
pub(crate) fn variable(option: &str) -> String {
    format!("KCLPIPE_{}", option.to_uppercase().replace('-', "_"))
}

/// The variables as arguments, without those for options in `given`.
pub(super) fn arguments(variables: &Variables, given: &BTreeSet<String>) -> Vec<OsString> {
    let options = LazyCell::new(OfBridge::command);
    let takes_value = |name: &str| {
        let mut all = options.get_arguments();
        let option = all.find(|option| option.get_long() == Some(name));
        option.is_some_and(|option| option.get_action().takes_values())
    };
    let missing = variables.iter().filter(|(name, _)| !given.contains(*name));
    let written = missing.map(|(name, value)| {
        if takes_value(name) {
            format!("--{name}={value}").into()
        } else {
            format!("--{name}").into()
        }
    });
    written.collect()
}

/// Whether a variable is kclpipe's, and neither for `launch` alone nor from it.
fn is_of_bridge(name: &str) -> bool {
    let of_launch =
        name == JARS || name.starts_with(PROPERTY) || name.starts_with(launched::PREFIX);
    name.starts_with("KCLPIPE_") && !of_launch
}

/// The value of a variable that stands for an option; `None` where it sets nothing.
fn value_of(name: &str, value: OsString, argument: &Arg) -> Result<Option<String>> {
    let value = value.into_string();
    let value = value.map_err(|_| anyhow!("{name} is not UTF-8"))?;
    // Empty is unset: a template that fills in variables cannot leave them out.
    if value.is_empty() || !argument.get_action().takes_values() && !flag(name, &value)? {
        return Ok(None);
    }
    Ok(Some(value))
}

fn flag(name: &str, value: &str) -> Result<bool> {
    match value.to_lowercase().as_str() {
        "1" | "true" | "yes" => Ok(true),
        "0" | "false" | "no" => Ok(false),
        _ => {
            bail!("{name}='{value}' is neither yes nor no: write 1, true or yes, or 0, false or no")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_variables_are_reported() {
        let environment = [("KCLPIPE_CHECKPOINT_EVRY", "1s"), ("PATH", "/bin")];
        let (known, unknown) =
            variables(environment.map(|(n, v)| (n.into(), v.into())).into_iter()).expect("sound");
        assert_eq!(
            (known.len(), unknown),
            (
                0,
                vec!["KCLPIPE_CHECKPOINT_EVRY is set, but there is no such option: did you mean KCLPIPE_CHECKPOINT_EVERY?".to_owned()]
            )
        );
    }
}
