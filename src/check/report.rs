//! What was found, and how it is told.

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

/// What is wrong with a value: how bad it is, and the three sentences of a [`Finding`].
pub(super) type Trouble = (Severity, String, &'static str, String);

/// A value that ends the daemon, and what it must look like.
pub(super) fn refused(text: &str, form: &str) -> Trouble {
    (
        Severity::Error,
        format!("'{}' is not what it must be", shown(text)),
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
    /// What is wrong.
    pub what: String,
    /// Why that matters.
    pub why: String,
    /// What to do about it.
    pub mend: String,
}

impl Finding {
    /// A finding about a line, without its three sentences.
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
            what: String::new(),
            why: String::new(),
            mend: String::new(),
        }
    }

    /// Says what is wrong, why it matters, and the mend.
    pub(super) fn says(
        self,
        what: impl Into<String>,
        why: impl Into<String>,
        mend: impl Into<String>,
    ) -> Finding {
        Finding {
            what: what.into(),
            why: why.into(),
            mend: mend.into(),
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
                "{severity}: {}: {}",
                printable(&finding.key),
                printable(&finding.what)
            )?;
            writeln!(out, "    {}\n    {}", finding.why, finding.mend)?;
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
