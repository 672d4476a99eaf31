//! Which records are handed over at all.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::cli::{Filtering, NonJsonName};
use crate::filter::{Filter, NonJson, patterns};

/// Turns all patterns off: also those of the environment, and of a file with arguments.
const OFF: &str = "off";

/// The filter, if there is one. A relative file is looked up in `directory`.
///
/// # Errors
/// A pattern is none, and where; or the file cannot be read.
pub(super) fn filter(options: &Filtering, directory: &Path) -> Result<Option<Filter>> {
    let mut all = Vec::new();
    if options.filter.iter().any(|pattern| pattern == OFF) {
        return Ok(None);
    }
    for (number, text) in (1..).zip(&options.filter) {
        let name = match options.filter.len() {
            1 => "--filter".to_owned(),
            _ => format!("--filter number {number}"),
        };
        all.extend(patterns(&name, text)?);
    }
    if let Some(file) = &options.filter_file {
        let name = format!("'{}' (--filter-file)", file.display());
        let text = fs::read_to_string(directory.join(file));
        all.extend(patterns(
            &name,
            &text.with_context(|| format!("cannot read {name}"))?,
        )?);
    }
    let non_json = match options.filter_non_json {
        None | Some(NonJsonName::Pass) => NonJson::Pass,
        Some(NonJsonName::Skip) => NonJson::Skip,
    };
    Ok((!all.is_empty()).then(|| Filter::new(all, non_json)))
}
