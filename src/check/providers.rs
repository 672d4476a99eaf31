//! Where the daemon has its credentials from: names of Java classes, each with what its constructor is given.

use super::Version;
use super::regions::{self, Region};
use super::report::{Severity, Trouble, shown};
use crate::plural::plural;

/// A class that the daemon can make from a text.
struct Provider {
    /// As it is called below its package.
    name: &'static str,
    /// How many arguments it can be made from, and what they are.
    arguments: Arguments,
}

/// How many arguments a provider can be made from.
#[derive(Clone, Copy)]
enum Arguments {
    /// From none to this many.
    UpTo(usize),
    /// This many and no other number; they are this.
    Exactly(usize, &'static str),
    /// The ARN of a role, the name of a session, and perhaps more, as `KEY=VALUE` (`NestedPropertyKey`).
    Role,
}

const fn up_to(most: usize, name: &'static str) -> Provider {
    Provider {
        name,
        arguments: Arguments::UpTo(most),
    }
}

const fn exactly(count: usize, words: &'static str, name: &'static str) -> Provider {
    Provider {
        name,
        arguments: Arguments::Exactly(count, words),
    }
}

const fn role(name: &'static str) -> Provider {
    Provider {
        name,
        arguments: Arguments::Role,
    }
}

/// What one version of the AWS SDK has for a daemon.
struct Sdk {
    /// Its number.
    version: u8,
    /// The packages that a short name is looked up in.
    packages: [&'static str; 2],
    /// What all classes of the SDK begin with.
    own: &'static str,
    /// What can be made from a text, the default first.
    providers: &'static [Provider],
    /// What is there and cannot be made from a text.
    others: &'static [&'static str],
}

/// Of 2.7.0 and later, and of 3.x (`AwsCredentialsProviderPropertyValueDecoder`).
const SDK_2: Sdk = Sdk {
    version: 2,
    packages: [
        "software.amazon.awssdk.auth.credentials.",
        "software.amazon.kinesis.multilang.auth.",
    ],
    own: "software.amazon.awssdk.",
    providers: &[
        up_to(0, "DefaultCredentialsProvider"),
        up_to(0, "EnvironmentVariableCredentialsProvider"),
        up_to(0, "SystemPropertyCredentialsProvider"),
        up_to(1, "ProfileCredentialsProvider"),
        up_to(0, "InstanceProfileCredentialsProvider"),
        up_to(0, "ContainerCredentialsProvider"),
        up_to(0, "WebIdentityTokenFileCredentialsProvider"),
        up_to(0, "AnonymousCredentialsProvider"),
        role("StsAssumeRoleCredentialsProvider"),
        // The daemon takes its own class for it.
        role("software.amazon.awssdk.services.sts.auth.StsAssumeRoleCredentialsProvider"),
        role("KclStsAssumeRoleCredentialsProvider"),
    ],
    others: &[
        "ProcessCredentialsProvider",
        "StaticCredentialsProvider",
        "HttpCredentialsProvider",
        "AwsCredentialsProviderChain",
        "AwsCredentialsProvider",
        "software.amazon.awssdk.services.sts.auth.StsAssumeRoleWithSamlCredentialsProvider",
        "software.amazon.awssdk.services.sts.auth.StsAssumeRoleWithWebIdentityCredentialsProvider",
        "software.amazon.awssdk.services.sts.auth.StsGetFederationTokenCredentialsProvider",
        "software.amazon.awssdk.services.sts.auth.StsGetSessionTokenCredentialsProvider",
        "software.amazon.awssdk.services.sts.auth.StsWebIdentityTokenFileCredentialsProvider",
    ],
};

/// Of 1.x and of 2.x before 2.7.0 (`AWSCredentialsProviderPropertyValueDecoder`).
const SDK_1: Sdk = Sdk {
    version: 1,
    packages: [
        "com.amazonaws.auth.",
        "software.amazon.kinesis.multilang.auth.",
    ],
    own: "com.amazonaws.",
    providers: &[
        up_to(0, "DefaultAWSCredentialsProviderChain"),
        up_to(0, "EnvironmentVariableCredentialsProvider"),
        up_to(0, "SystemPropertiesCredentialsProvider"),
        up_to(2, "profile.ProfileCredentialsProvider"),
        up_to(0, "InstanceProfileCredentialsProvider"),
        up_to(0, "ContainerCredentialsProvider"),
        up_to(0, "EC2ContainerCredentialsProviderWrapper"),
        up_to(0, "WebIdentityTokenCredentialsProvider"),
        up_to(1, "ClasspathPropertiesFileCredentialsProvider"),
        exactly(1, "the file", "PropertiesFileCredentialsProvider"),
        exactly(2, "the ARN of a role and the name of a session", STS),
        exactly(
            3,
            "token, provider and the ARN of a role",
            "WebIdentityFederationSessionCredentialsProvider",
        ),
        role("KclSTSAssumeRoleSessionCredentialsProvider"),
    ],
    others: &[
        "ProcessCredentialsProvider",
        "AWSStaticCredentialsProvider",
        "AWSCredentialsProviderChain",
        "AWSCredentialsProvider",
        "STSSessionCredentialsProvider",
        "STSAssumeRoleWithWebIdentitySessionCredentialsProvider",
    ],
};

/// In a jar of its own, which 2.x has and 1.x has not.
const STS: &str = "STSAssumeRoleSessionCredentialsProvider";

/// A provider that takes a static key, which is too new to be tested: 2 or 3 arguments.
const STATIC: &str = "KclStaticCredentialsProvider";

/// Whether an element of the list becomes a provider, and if so, what is odd about it.
enum Made {
    Well,
    /// It is made, and does something else than it says, or may not be made by every daemon.
    Oddly(String, &'static str, String),
    Not(String, String),
}

impl Sdk {
    fn of(version: Version) -> &'static Sdk {
        if version.has_sdk_2() { &SDK_2 } else { &SDK_1 }
    }

    /// A class by its name below the packages that are looked into.
    fn short<'a>(&self, name: &'a str) -> &'a str {
        let below = self
            .packages
            .iter()
            .find_map(|package| name.strip_prefix(package));
        below.unwrap_or(name)
    }
}

/// Which of a list of providers can be made. A class of somebody else's is left alone.
pub(super) fn examine(text: &str, version: Version) -> Option<Trouble> {
    let elements: Vec<&str> = text
        .split(',')
        .map(str::trim)
        .filter(|e| !e.is_empty())
        .collect();
    let made: Vec<Made> = elements
        .iter()
        .map(|element| make(element, version))
        .collect();
    // One that can be made is enough for the daemon: the others then cost nothing but a surprise.
    let is_any = made.iter().any(|made| !matches!(made, Made::Not(..)));
    let first = made.into_iter().find(|made| !matches!(made, Made::Well))?;
    Some(match first {
        Made::Not(what, fix) if is_any => (
            "provider-unusable",
            Severity::Warning,
            what,
            "The daemon uses the providers of the list that it can create, and silently skips the others.",
            fix,
        ),
        Made::Not(what, fix) => (
            "provider-unusable",
            Severity::Error,
            what,
            "The daemon uses the providers of the list that it can create, and ends at once if there is none.",
            fix,
        ),
        Made::Oddly(what, why, fix) => ("provider-doubtful", Severity::Warning, what, why, fix),
        Made::Well => return None,
    })
}

fn make(element: &str, version: Version) -> Made {
    let sdk = Sdk::of(version);
    // Java's split leaves what is empty at the end out.
    let mut parts = element.trim_end_matches('|').split('|');
    let name = parts.next().unwrap_or_default();
    let arguments: Vec<&str> = parts.collect();
    let short = sdk.short(name);
    if let Some(provider) = sdk.providers.iter().find(|provider| provider.name == short) {
        return with(provider, &arguments, version);
    }
    let newer = short == STATIC && version > Version::TESTED[0];
    match () {
        () if newer && (2..=3).contains(&arguments.len()) => Made::Well,
        () if sdk.others.contains(&short) => Made::Not(
            format!("'{short}' cannot be created from a text"),
            format!("Write {}.", sdk.providers[0].name),
        ),
        () if is_of_another(name, sdk) => Made::Not(
            format!(
                "'{}' is of another version of the AWS SDK than that of KCL {version}",
                shown(name)
            ),
            format!(
                "Write the provider of version {}: {}.",
                sdk.version,
                counterpart(short, sdk)
            ),
        ),
        () if name.contains('.') && !name.starts_with("profile.") => Made::Well,
        () => Made::Not(
            format!(
                "KCL {version} has no credentials provider '{}'",
                shown(name)
            ),
            format!("Write {}.", counterpart(name, sdk)),
        ),
    }
}

/// Whether a class is one of the SDK that this daemon takes no providers from.
fn is_of_another(name: &str, sdk: &Sdk) -> bool {
    let other = if sdk.version == 2 {
        SDK_1.own
    } else {
        SDK_2.own
    };
    name.starts_with(other)
}

/// The provider that does what one of another name does, or looks like it; else the default.
fn counterpart(name: &str, sdk: &Sdk) -> &'static str {
    let last = name.rsplit('.').next().unwrap_or_default();
    let mut near: Vec<(usize, &'static str)> = sdk
        .providers
        .iter()
        .map(|provider| {
            let own = provider.name.rsplit('.').next().unwrap_or_default();
            (strsim::osa_distance(own, last), provider.name)
        })
        .collect();
    near.sort_by_key(|(distance, _)| *distance);
    match near.first() {
        Some((distance, name)) if *distance <= 3 => name,
        _ => sdk.providers[0].name,
    }
}

fn with(provider: &Provider, arguments: &[&str], version: Version) -> Made {
    let (name, count) = (provider.name, arguments.len());
    match provider.arguments {
        Arguments::UpTo(most) if count <= most => Made::Well,
        Arguments::UpTo(most) => too_many(name, most, count, version),
        Arguments::Exactly(needed, _) if count == needed => of_another_jar(name, version),
        Arguments::Exactly(_, words) => Made::Not(
            format!(
                "'{name}' cannot be created from {}",
                plural(count, "argument")
            ),
            format!("After its name, write '|' and then {words}, separated by '|'."),
        ),
        Arguments::Role if version.generation() == 1 => Made::Not(
            format!("KCL {version} has no credentials provider '{name}'"),
            format!("Write {}.", SDK_1.providers[0].name),
        ),
        Arguments::Role => with_role(name, arguments),
    }
}

/// A class of 1.x that is not among the daemon's own jars.
fn of_another_jar(name: &str, version: Version) -> Made {
    if name == STS && version.generation() == 1 {
        Made::Oddly(
            format!("'{name}' is not in any of the daemon's own jars"),
            "It needs the jar aws-java-sdk-sts; without that the daemon ends at once.",
            "Add that jar, or use another provider.".to_owned(),
        )
    } else {
        Made::Well
    }
}

/// From 2.x on, what cannot be made with its arguments is made without.
fn too_many(name: &str, most: usize, count: usize, version: Version) -> Made {
    let fix = match most {
        0 => "Write its name alone.".to_owned(),
        _ => format!("Write it with {} at most.", plural(most, "argument")),
    };
    match version.generation() {
        1 => Made::Not(
            format!(
                "'{name}' cannot be created from {}",
                plural(count, "argument")
            ),
            fix,
        ),
        _ => Made::Oddly(
            format!("'{name}' is created without its arguments"),
            "It does not accept these arguments, so the daemon creates it without any.",
            fix,
        ),
    }
}

fn with_role(name: &str, arguments: &[&str]) -> Made {
    const FORM: &str = "|arn:aws:iam::ACCOUNT:role/ROLE|SESSION";
    let [role, _session, more @ ..] = arguments else {
        return Made::Not(
            format!(
                "'{name}' cannot be created from {}",
                plural(arguments.len(), "argument")
            ),
            format!("It needs the ARN of a role and the name of a session: write {name}{FORM}."),
        );
    };
    if !role.starts_with("arn:") {
        return Made::Oddly(
            format!("'{}' is not the ARN of a role", shown(role)),
            "AWS refuses it, and the daemon has no credentials.",
            format!("Write {name}{FORM}."),
        );
    }
    let odd = more.iter().map(|argument| nested(argument));
    odd.into_iter()
        .find(|made| !matches!(made, Made::Well))
        .unwrap_or(Made::Well)
}

/// One of the arguments after role and session (`NestedPropertyKey`).
fn nested(argument: &str) -> Made {
    const FORM: &str = "Write endpointRegion=REGION, endpoint=URL^REGION or externalId=ID.";
    let parts: Vec<&str> = argument.trim_end_matches('=').split('=').collect();
    match parts[..] {
        ["endpointRegion", region] if !matches!(Region::of(region), Region::Known) => {
            let fix = match regions::nearest(region) {
                Some(near) => format!("Write endpointRegion={near}."),
                None => FORM.to_owned(),
            };
            match Region::of(region) {
                Region::Unknown => Made::Oddly(
                    format!("'{}' is not a region that kclpipe knows", shown(region)),
                    "If the daemon does not know it either, it creates no provider, and ends if there is no other.",
                    fix,
                ),
                Region::Known | Region::Odd | Region::Impossible => Made::Not(
                    format!("endpointRegion '{}' is not a region", shown(region)),
                    fix,
                ),
            }
        }
        ["endpoint", endpoint] if endpoint.trim_end_matches('^').split('^').count() != 2 => {
            Made::Not(
                format!("endpoint '{}' is without its region", shown(endpoint)),
                FORM.to_owned(),
            )
        }
        ["endpointRegion" | "endpoint" | "externalId", _] => Made::Well,
        _ => Made::Oddly(
            format!(
                "'{}' is skipped",
                shown(argument.split('=').next().unwrap_or_default())
            ),
            "After role and session the daemon looks only for the three words that it knows.",
            FORM.to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ERROR: Option<Severity> = Some(Severity::Error);
    const WARNING: Option<Severity> = Some(Severity::Warning);

    fn severity(text: &str, version: Version) -> Option<Severity> {
        examine(text, version).map(|(_, severity, ..)| severity)
    }

    #[test]
    fn providers_are_those_of_the_version() {
        for (text, three, two, one) in [
            ("DefaultCredentialsProvider", None, ERROR, ERROR),
            ("DefaultAWSCredentialsProviderChain", ERROR, None, None),
            ("EnvironmentVariableCredentialsProvider", None, None, None),
            ("com.example.Mine|x", None, None, None),
            ("Mine, DefaultCredentialsProvider", WARNING, ERROR, ERROR),
            ("\"DefaultCredentialsProvider\"", ERROR, ERROR, ERROR),
            (
                "com.amazonaws.auth.profile.ProfileCredentialsProvider|reader",
                ERROR,
                None,
                None,
            ),
            (
                "software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider",
                None,
                ERROR,
                ERROR,
            ),
            ("profile.ProfileCredentialsProvider|a|b", ERROR, None, None),
            ("ProcessCredentialsProvider|x", ERROR, ERROR, ERROR),
            ("DefaultCredentialsProvider|x", WARNING, ERROR, ERROR),
            (
                "InstanceProfileCredentialsProvider|x",
                WARNING,
                WARNING,
                ERROR,
            ),
            ("InstanceProfileCredentialsProvider|", None, None, None),
            ("InstanceProfileCredentialsProvider |x", ERROR, ERROR, ERROR),
            ("ProfileCredentialsProvider|reader", None, ERROR, ERROR),
            ("PropertiesFileCredentialsProvider", ERROR, ERROR, ERROR),
            ("PropertiesFileCredentialsProvider|f", ERROR, None, None),
            (
                "STSAssumeRoleSessionCredentialsProvider|arn:x|y",
                ERROR,
                None,
                WARNING,
            ),
        ] {
            let [v3, v2, v1] = Version::TESTED;
            assert_eq!(
                [v3, v2, v1].map(|version| severity(text, version)),
                [three, two, one],
                "{text}"
            );
            let (new, old) = (Version(2, 7, 0), Version(2, 6, 1));
            assert_eq!(
                (severity(text, new), severity(text, old)),
                (three, two),
                "{text}"
            );
        }
    }

    #[test]
    fn a_role_needs_a_session_and_perhaps_more() {
        for (arguments, expected) in [
            ("", ERROR),
            ("|arn:r", ERROR),
            ("|arn:r|", ERROR),
            ("|arn:r|s", None),
            ("|role|s", WARNING),
            ("|arn:r|s|endpointRegion=eu-west-1", None),
            ("|arn:r|s|endpointRegion=nowhere", ERROR),
            ("|arn:r|s|endpointRegion=eu-cental-1", WARNING),
            ("|arn:r|s|endpoint=https://x^eu-west-1|externalId=e", None),
            ("|arn:r|s|endpoint=https://x", ERROR),
            ("|arn:r|s|region=eu-west-1", WARNING),
        ] {
            for (name, version) in [
                ("StsAssumeRoleCredentialsProvider", Version(3, 1, 3)),
                (
                    "KclSTSAssumeRoleSessionCredentialsProvider",
                    Version(2, 5, 4),
                ),
            ] {
                let found = severity(&format!("{name}{arguments}"), version);
                assert_eq!(found, expected, "{name}{arguments}");
            }
        }
    }

    #[test]
    fn the_fix_names_what_was_meant() {
        for (text, said) in [
            (
                "DefaultCredentialProvider",
                "Write DefaultCredentialsProvider.",
            ),
            (
                "com.amazonaws.auth.profile.ProfileCredentialsProvider",
                " ProfileCredentialsProvider.",
            ),
            (
                "DefaultAWSCredentialsProviderChain",
                "Write DefaultCredentialsProvider.",
            ),
        ] {
            let (.., fix) = examine(text, Version::TESTED[0]).expect(text);
            assert!(fix.contains(said), "{fix}");
        }
    }
}
