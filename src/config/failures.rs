//! What happens when a record fails: when it is tried again, when kclpipe gives up on it, and what follows.

use std::time::Duration;

use super::beside::beside;
use super::off_or;
use super::watching::with_name;
use crate::backoff::Delays;
use crate::cli::{OnFailureName, Options};
use crate::handler::{Limits, OnFailure};

const MAX_ATTEMPTS: u32 = 5;
const MAX_CONSECUTIVE_FAILURES: u32 = 10;
/// The delay before the second attempt.
pub(super) const RETRY_DELAY: Duration = Duration::from_secs(1);
const RETRY_MAX_DELAY: Duration = Duration::from_secs(60);

/// The delays between attempts; a first one that is longer than the longest by default makes that longer.
pub(super) fn delays(options: &Options) -> Delays {
    let first = options.failures.retry_delay.unwrap_or(RETRY_DELAY);
    let longest = options.failures.retry_max_delay;
    Delays {
        first,
        longest: longest.unwrap_or(RETRY_MAX_DELAY.max(first)),
        jitter: true,
    }
}

/// What becomes of a record that kclpipe gave up on.
pub(super) fn on_failure(options: &Options) -> OnFailure {
    if let Some(words) = &options.failures.dead_letter_command {
        return OnFailure::DeadLetterCommand(beside(words, options));
    }
    match (&options.failures.dead_letter, options.failures.on_failure) {
        (Some(file), _) => OnFailure::DeadLetter(with_name(file, options)),
        (None, Some(OnFailureName::Skip)) => OnFailure::Skip,
        (None, Some(OnFailureName::Halt)) => OnFailure::Halt,
        (None, None | Some(OnFailureName::Block | OnFailureName::DeadLetter)) => OnFailure::Block,
    }
}

/// When kclpipe gives up on a record; never, by default, where that would only block its shard.
pub(super) fn limits(options: &Options, on_failure: &OnFailure) -> Limits {
    let default = (*on_failure != OnFailure::Block).then_some(MAX_ATTEMPTS);
    Limits {
        max_attempts: options
            .failures
            .max_attempts
            .map_or(default, |max| Some(max).filter(|max| *max > 0)),
        max_age: off_or(options.failures.max_record_age, None),
        max_consecutive_failures: options
            .failures
            .max_consecutive_failures
            .unwrap_or(MAX_CONSECUTIVE_FAILURES),
    }
}
