//! What a function finds in its environment, as on Lambda.

use std::ffi::OsString;

use crate::process::{Command, Variable};

/// What our own environment says.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The variable with what an answer begins with. No function has it: what a function prints is no answer.
const TOKEN: &str = "KCLPIPE_TOKEN";

/// The variable with the address of the API.
const API: &str = "AWS_LAMBDA_RUNTIME_API";

const NAME: &str = "AWS_LAMBDA_FUNCTION_NAME";

/// What answers begin with; none where no kclpipe started us.
pub(super) fn token(variable: Lookup<'_>) -> Option<String> {
    variable(TOKEN)?.into_string().ok()
}

/// What the function has otherwise than we. What is set already stays: whoever set it knows better.
pub(super) fn of_function(
    command: &Command,
    handler: Option<OsString>,
    variable: Lookup<'_>,
) -> Vec<Variable> {
    let here = std::env::current_dir().unwrap_or_default();
    let name = name(variable);
    let mut log_group = OsString::from("/aws/lambda/");
    log_group.push(&name);
    let missing = [
        (NAME, name),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".into()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128".into()),
        // There is no such log, but runtime clients do not start without its name.
        ("AWS_LAMBDA_LOG_GROUP_NAME", log_group),
        ("AWS_LAMBDA_LOG_STREAM_NAME", log_stream(variable)),
        ("LAMBDA_TASK_ROOT", here.into_os_string()),
        ("_HANDLER", last_word(command)),
    ];
    let missing = missing
        .into_iter()
        .filter(|(name, _)| variable(name).is_none())
        .map(|(name, value)| (name.into(), Some(value)));
    // The last one of a name counts.
    let named = handler.map(|handler| ("_HANDLER".into(), Some(handler)));
    missing.chain(named).chain([(TOKEN.into(), None)]).collect()
}

/// The address of the API, for the function.
pub(super) fn of_api(address: &str) -> Variable {
    (API.into(), Some(address.into()))
}

/// The function's name for AWS. There is no account, so its number is none.
pub(super) fn arn(variable: Lookup<'_>) -> String {
    let region = variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
    let region = region.unwrap_or_else(|| "us-east-1".into());
    format!(
        "arn:aws:lambda:{}:000000000000:function:{}",
        region.display(),
        name(variable).display()
    )
}

fn name(variable: Lookup<'_>) -> OsString {
    let known = variable(NAME).or_else(|| variable("KCLPIPE_APPLICATION"));
    known.unwrap_or_else(|| "function".into())
}

fn log_stream(variable: Lookup<'_>) -> OsString {
    variable("KCLPIPE_SHARD_ID").unwrap_or_else(|| "kclpipe".into())
}

/// As of a container's command: a runtime client is given the handler last.
fn last_word(command: &Command) -> OsString {
    let last = command.arguments.last();
    last.unwrap_or(&command.program).clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &[&str]) -> Command {
        let (program, arguments) = words.split_first().expect("a program");
        Command {
            program: program.into(),
            arguments: arguments.iter().map(OsString::from).collect(),
            directory: None,
        }
    }

    /// The value of a variable as the function has it; the last one counts.
    fn value(variables: &[Variable], name: &str) -> Option<String> {
        let last = variables.iter().rev().find(|(of, _)| of == name)?;
        Some(last.1.as_ref()?.to_str()?.to_owned())
    }

    #[test]
    fn what_is_not_set_is_as_on_lambda_and_the_token_is_gone() {
        let python = command(&["python3", "-m", "awslambdaric", "app.handler"]);
        let set = of_function(&python, None, &|_| None);
        assert_eq!(value(&set, "_HANDLER").as_deref(), Some("app.handler"));
        assert_eq!(value(&set, NAME).as_deref(), Some("function"));
        assert!(set.contains(&(TOKEN.into(), None)));
        let alone = of_function(&command(&["./bootstrap"]), None, &|_| None);
        assert_eq!(value(&alone, "_HANDLER").as_deref(), Some("./bootstrap"));
    }

    #[test]
    fn what_is_set_stays_but_for_a_handler_that_is_named() {
        let variable = |name: &str| match name {
            "_HANDLER" | "AWS_LAMBDA_FUNCTION_NAME" => Some("theirs".into()),
            "AWS_REGION" => Some("eu-west-1".into()),
            _ => None,
        };
        let bootstrap = command(&["./bootstrap"]);
        let kept = of_function(&bootstrap, None, &variable);
        assert_eq!(value(&kept, "_HANDLER"), None);
        assert_eq!(value(&kept, NAME), None);
        let named = of_function(&bootstrap, Some("app.f".into()), &variable);
        assert_eq!(value(&named, "_HANDLER").as_deref(), Some("app.f"));
        let expected = "arn:aws:lambda:eu-west-1:000000000000:function:theirs";
        assert_eq!(arn(&variable), expected);
    }
}
