//! Where the daemon has its credentials from: names of Java classes.

use super::Version;
use super::report::{Severity, Trouble, shown};

/// The short names that 3.x finds, in `software.amazon.awssdk.auth.credentials` (version 2 of the AWS
/// SDK) and in the KCL's own `software.amazon.kinesis.multilang.auth`
/// (`AwsCredentialsProviderPropertyValueDecoder`).
const OF_3: [&str; 13] = [
    "DefaultCredentialsProvider",
    "EnvironmentVariableCredentialsProvider",
    "SystemPropertyCredentialsProvider",
    "ProfileCredentialsProvider",
    "InstanceProfileCredentialsProvider",
    "ContainerCredentialsProvider",
    "WebIdentityTokenFileCredentialsProvider",
    "ProcessCredentialsProvider",
    "AnonymousCredentialsProvider",
    "StaticCredentialsProvider",
    "StsAssumeRoleCredentialsProvider",
    "KclStsAssumeRoleCredentialsProvider",
    "KclStaticCredentialsProvider",
];

/// The short names that 1.x and 2.x find, in `com.amazonaws.auth` (version 1 of the AWS SDK), and in the
/// KCL's own package in 2.x (`AWSCredentialsProviderPropertyValueDecoder`).
const OF_1_AND_2: [&str; 13] = [
    "DefaultAWSCredentialsProviderChain",
    "EnvironmentVariableCredentialsProvider",
    "SystemPropertiesCredentialsProvider",
    "InstanceProfileCredentialsProvider",
    "ContainerCredentialsProvider",
    "EC2ContainerCredentialsProviderWrapper",
    "WebIdentityTokenCredentialsProvider",
    "ProcessCredentialsProvider",
    "PropertiesFileCredentialsProvider",
    "ClasspathPropertiesFileCredentialsProvider",
    "STSAssumeRoleSessionCredentialsProvider",
    "STSSessionCredentialsProvider",
    "KclSTSAssumeRoleSessionCredentialsProvider",
];

/// Short names that no class of the daemon has. A name with a point may be a class of anybody.
pub(super) fn examine(text: &str, version: Version) -> Option<Trouble> {
    let (known, usual) = match version.generation() {
        3 => (OF_3, OF_3[0]),
        _ => (OF_1_AND_2, OF_1_AND_2[0]),
    };
    let names = text
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    let classes = names.map(|name| name.split('|').next().unwrap_or_default());
    let (strange, found): (Vec<&str>, Vec<&str>) =
        classes.partition(|name| !name.contains('.') && !known.contains(name));
    let first = strange.first()?;
    let severity = match found.is_empty() {
        true => Severity::Error,
        false => Severity::Warning,
    };
    let near = known
        .iter()
        .find(|name| strsim::osa_distance(name, first) <= 3);
    Some((
        severity,
        format!(
            "KCL {version} has no credentials provider '{}'",
            shown(first)
        ),
        "The daemon takes those of the list that it finds, and ends at once if there is none; 3.x has the \
         providers of version 2 of the AWS SDK, 1.x and 2.x have those of version 1.",
        format!("Write {}.", near.unwrap_or(&usual)),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_are_those_of_the_version() {
        let severity = |text: &str, at: usize| {
            let trouble = examine(text, Version::TAKEN_FROM[at]);
            trouble.map(|(severity, ..)| severity)
        };
        for (text, three, two) in [
            ("DefaultCredentialsProvider", None, Some(Severity::Error)),
            (
                "DefaultAWSCredentialsProviderChain",
                Some(Severity::Error),
                None,
            ),
            ("EnvironmentVariableCredentialsProvider", None, None),
            (
                "StsAssumeRoleCredentialsProvider|arn:x|y",
                None,
                Some(Severity::Error),
            ),
            ("com.example.Mine", None, None),
            (
                "Mine, DefaultCredentialsProvider",
                Some(Severity::Warning),
                Some(Severity::Error),
            ),
            (
                "\"DefaultCredentialsProvider\"",
                Some(Severity::Error),
                Some(Severity::Error),
            ),
        ] {
            assert_eq!(
                (severity(text, 0), severity(text, 1)),
                (three, two),
                "{text}"
            );
        }
        let (.., mend) =
            examine("DefaultCredentialProvider", Version::TAKEN_FROM[0]).expect("a typo");
        assert_eq!(mend, "Write DefaultCredentialsProvider.");
    }
}
