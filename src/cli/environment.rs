//! The environment: `KCLPIPE_*` stands for options of the bridge.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use anyhow::{Result, anyhow, bail};
use clap::{Arg, Command, CommandFactory};

use super::launch::JARS;
use super::{Cli, renamed};
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
    let options = Cli::command();
    let (mut known, mut others) = (Variables::new(), Vec::new());
    for (name, value) in environment {
        let Some(name) = name.to_str().filter(|name| name.starts_with("KCLPIPE_")) else {
            continue;
        };
        if is_of_launch(name) {
            continue;
        }
        let option = name["KCLPIPE_".len()..].to_lowercase().replace('_', "-");
        let Some(argument) = options
            .get_arguments()
            .find(|a| a.get_long() == Some(&option))
        else {
            others.push(unknown(name, &option, &options));
            continue;
        };
        let value = value
            .into_string()
            .map_err(|_| anyhow!("{name} is not UTF-8"))?;
        // Empty is unset: a template that fills in variables cannot leave them out.
        if value.is_empty() {
            continue;
        }
        if !argument.get_action().takes_values() && !flag(name, &value)? {
            continue;
        }
        known.insert(option, value);
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
    let options = Cli::command();
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

/// Whether a variable is for `launch`, or from it.
fn is_of_launch(name: &str) -> bool {
    name == JARS || name.starts_with(PROPERTY) || name.starts_with(launched::PREFIX)
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
