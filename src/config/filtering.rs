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

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = r#"{"data":{"status":["paid"]}}"#;
    const KEY: &str = r#"{"partitionKey":["k"]}"#;

    fn options(patterns: &[&str], file: Option<&str>) -> Filtering {
        Filtering {
            filter: patterns.iter().map(|text| (*text).to_owned()).collect(),
            filter_file: file.map(Into::into),
            filter_non_json: Some(NonJsonName::Skip),
        }
    }

    #[test]
    fn patterns_of_options_and_of_a_file_are_one_filter() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("more"), KEY).expect("written");
        let both = filter(&options(&[STATUS], Some("more")), folder.path());
        let both = both.expect("sound").expect("a filter");
        assert!(both.passes("k", None), "by the file");
        assert!(both.passes("l", Some(br#"{"status":"paid"}"#)));
        assert!(!both.passes("l", Some(b"no JSON")));
        let off = filter(&options(&[STATUS, OFF], Some("missing")), folder.path());
        assert_eq!(off.expect("nothing is read"), None);
        assert_eq!(
            filter(&options(&[], None), folder.path()).expect("sound"),
            None
        );
    }

    #[test]
    fn a_mistake_names_where_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("bad"), "\n{}").expect("written");
        for (patterns, file, said) in [
            (&["{}"][..], None, "--filter, line 1 column 1: "),
            (
                &[STATUS, "{}"],
                None,
                "--filter number 2, line 1 column 1: ",
            ),
            (&[], Some("bad"), "'bad' (--filter-file), line 2 column 1: "),
            (&[], Some("none"), "cannot read 'none' (--filter-file)"),
        ] {
            let error = filter(&options(patterns, file), folder.path()).expect_err(said);
            assert!(format!("{error:#}").starts_with(said), "{error:#}");
        }
    }
}
