//! What was found, and how it is reported.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::Version;
use crate::plural::plural;
use crate::properties::Property;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The daemon would not start or not stay up, or would do something else than the line says.
    Error,
    /// The daemon would do as the line says, and that is rarely what is wanted.
    Warning,
}

/// The ids of all findings.
pub const IDS: [&str; 61] = [
    "access-key-in-value",
    "address-invalid",
    "arn-invalid",
    "byte-order-mark",
    "command-blank",
    "command-comment",
    "command-leading-blank",
    "command-operator",
    "command-quotes",
    "command-variable",
    "comment-in-value",
    "curl-exit-code",
    "directory-missing",
    "duration-invalid",
    "empty-batches-missing",
    "fan-out-disabled",
    "fan-out-key-ignored",
    "flag-invalid",
    "flag-not-applied",
    "grace-missing",
    "grace-too-short",
    "hand-off-too-short",
    "key-missing",
    "key-of-another-version",
    "key-repeated",
    "key-spelled-twice",
    "key-unknown",
    "key-unusable",
    "key-unused",
    "latest-with-window",
    "name-invalid",
    "number-invalid",
    "number-too-small",
    "number-zero",
    "option-after-dashes",
    "options-invalid",
    "polling-key-ignored",
    "position-before-1970",
    "position-in-milliseconds",
    "position-invalid",
    "program-missing",
    "program-relative",
    "provider-doubtful",
    "provider-unusable",
    "reads-too-often",
    "records-too-many",
    "region-invalid",
    "region-missing",
    "region-unknown",
    "sample-value",
    "script-interpreter-missing",
    "script-line-ending",
    "script-without-interpreter",
    "secret-in-command",
    "stream-arn-differs",
    "threads-too-few",
    "timeout-too-short",
    "trailing-blank",
    "variable-not-expanded",
    "word-invalid",
    "worker-id-empty",
];

/// What is wrong with a value: the id, how bad it is, and the three sentences of a [`Finding`].
pub(super) type Trouble = (&'static str, Severity, String, &'static str, String);

/// A value that ends the daemon, and what it must look like.
pub(super) fn refused(id: &'static str, text: &str, form: &str) -> Trouble {
    (
        id,
        Severity::Error,
        format!("'{}' is not a valid value", shown(text)),
        "The daemon ends at once, with a Java exception.",
        format!("Write {form}."),
    )
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The line that it is on, from 1; 0 if it is about a key that no line has.
    pub line: usize,
    /// The key, as it stands in the file; of a very long one the beginning.
    pub key: String,
    /// How bad it is.
    pub severity: Severity,
    /// The name of what is wrong, which stays the same when the sentences change; `docs/check.md` has all.
    pub id: &'static str,
    /// What is wrong.
    pub what: String,
    /// Why that matters.
    pub why: String,
    /// What to do about it.
    pub fix: String,
}

impl Finding {
    /// A finding about a line, without its id and sentences.
    pub(super) fn about(property: &Property, severity: Severity) -> Finding {
        Finding {
            line: property.line,
            ..Finding::missing(&property.key, severity)
        }
    }

    /// A finding about a key that is not there.
    pub(super) fn missing(key: &str, severity: Severity) -> Finding {
        Finding {
            line: 0,
            key: shown(key),
            severity,
            id: "",
            what: String::new(),
            why: String::new(),
            fix: String::new(),
        }
    }

    /// Names what is wrong, and says what it is, why it matters, and the fix.
    pub(super) fn says(
        self,
        id: &'static str,
        what: impl Into<String>,
        why: impl Into<String>,
        fix: impl Into<String>,
    ) -> Finding {
        debug_assert!(IDS.contains(&id), "{id} is not among the ids");
        Finding {
            id,
            what: what.into(),
            why: why.into(),
            fix: fix.into(),
            ..self
        }
    }
}

/// All findings in a file. Its text has one to three lines for each, of which the first begins with file
/// and line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The file's name.
    pub file: PathBuf,
    /// The version of the KCL whose keys were taken.
    #[serde(serialize_with = "as_text")]
    pub kcl: Version,
    /// How many errors there are.
    pub errors: usize,
    /// How many warnings there are.
    pub warnings: usize,
    /// In the order of the file, those without a line first.
    pub findings: Vec<Finding>,
}

fn as_text<S: serde::Serializer>(version: &Version, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(version)
}

impl Report {
    pub(super) fn new(file: PathBuf, kcl: Version, mut findings: Vec<Finding>) -> Report {
        findings.sort_by_key(|finding| (finding.line, finding.severity));
        let count = |severity| findings.iter().filter(|f| f.severity == severity).count();
        Report {
            file,
            kcl,
            errors: count(Severity::Error),
            warnings: count(Severity::Warning),
            findings,
        }
    }

    /// One JSON object on one line.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        for finding in &self.findings {
            match finding.line {
                // What is missing has no line.
                0 => write!(out, "{file}: ")?,
                line => write!(out, "{file}:{line}: ")?,
            }
            let severity = match finding.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            };
            writeln!(
                out,
                "{severity}: {}: {} [{}]",
                printable(&finding.key),
                printable(&finding.what),
                finding.id
            )?;
            writeln!(out, "    {}\n    {}", finding.why, finding.fix)?;
        }
        let (errors, warnings) = (
            plural(self.errors, "error"),
            plural(self.warnings, "warning"),
        );
        match self.findings.len() {
            0 => write!(out, "{file}: nothing found (KCL {})", self.kcl),
            _ => write!(out, "{file}: {errors}, {warnings} (KCL {})", self.kcl),
        }
    }
}

/// The beginning of a text of the file, which may be anything.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// A text without anything that a terminal would obey.
fn printable(text: &str) -> String {
    let escaped = text.chars().map(|c| {
        if c.is_control() {
            c.escape_default().to_string()
        } else {
            c.to_string()
        }
    });
    escaped.collect()
}

/// Blanks after a value, which Java keeps.
pub(super) fn trailing_blanks(text: &str) -> Option<Trouble> {
    let name = text.trim_end();
    (name != text).then(|| {
        (
            "trailing-blank",
            Severity::Error,
            "there are blanks after the value".to_owned(),
            "Java's properties keep them, and the daemon takes them as part of the value.",
            "Remove them.".to_owned(),
        )
    })
}
