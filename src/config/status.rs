//! What was typed after `status`, turned into what a look needs.

use crate::cli::StatusOptions;
use crate::status::Settings;

pub(super) fn settings(options: StatusOptions) -> Settings {
    Settings {
        directory: options.directory,
        watch: options.watch,
        json: options.json,
        limits: options.fail_if.unwrap_or_default(),
        listen: options.listen,
    }
}
