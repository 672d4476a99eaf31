//! The log, the metrics, and what is captured: where they go.

use std::path::{Path, PathBuf};

use super::off_or;
use crate::capture::To;
use crate::cli::{LogFormatName, Options, StatsFormatName};
use crate::launched::Launched;
use crate::logging::{LogFormat, Logging};
use crate::reporting::{self, StatsFormat};

/// The level, form and place of the log.
pub(super) fn logging(options: &Options) -> Logging {
    Logging {
        level: options
            .watching
            .log_level
            .clone()
            .unwrap_or_else(|| "info".to_owned()),
        format: match options.watching.log_format {
            None | Some(LogFormatName::Text) => LogFormat::Text,
            Some(LogFormatName::Json) => LogFormat::Json,
        },
        file: options
            .watching
            .log_file
            .as_deref()
            .map(|file| with_name(file, options)),
    }
}

/// The summary line and the metrics.
pub(super) fn reporting(options: &Options, launched: &Launched) -> reporting::Settings {
    reporting::Settings {
        stats_every: off_or(options.watching.stats_every, None),
        stats_format: match options.watching.stats_format {
            None | Some(StatsFormatName::Text) => StatsFormat::Text,
            Some(StatsFormatName::Emf) => StatsFormat::Emf,
        },
        metrics_dir: options
            .watching
            .metrics_dir
            .as_deref()
            .map(|directory| with_name(directory, options)),
        name: name(options),
        stream: launched.stream.clone(),
    }
}

/// Where the conversation is captured.
pub(super) fn capture(options: &Options) -> Option<To> {
    let file = options.debugging.capture.as_deref()?;
    Some(To {
        file: with_name(file, options),
        data: options.debugging.capture_data,
    })
}

/// `{name}` in a file's name, replaced.
pub(super) fn with_name(file: &Path, options: &Options) -> PathBuf {
    let Some(text) = file.to_str().filter(|text| text.contains("{name}")) else {
        return file.to_path_buf();
    };
    text.replace("{name}", &name(options)).into()
}

/// The application's name.
pub(super) fn name(options: &Options) -> String {
    let of_directory = || {
        let directory = std::env::current_dir().unwrap_or_default();
        let last = directory.file_name().unwrap_or_default();
        last.to_string_lossy().into_owned()
    };
    options.watching.name.clone().unwrap_or_else(of_directory)
}
