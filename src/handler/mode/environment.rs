//! What a handler finds in its environment.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Given;
use crate::clean;
use crate::handler::{HookEvent, Settings};
use crate::outcome::{Class, REJECT, RETRY};
use crate::record::{Header, Position};

/// The variables that handlers, hooks and what takes dead letters may find.
pub const VARIABLES: [&str; 27] = [
    "KCLPIPE_SHARD_ID",
    "KCLPIPE_STREAM",
    "KCLPIPE_APPLICATION",
    "KCLPIPE_TOKEN",
    "KCLPIPE_EXIT_REJECT",
    "KCLPIPE_EXIT_RETRY",
    "KCLPIPE_EXIT_CHECKPOINT",
    "KCLPIPE_EXIT_HALT",
    "KCLPIPE_ATTEMPT",
    "KCLPIPE_MILLIS_BEHIND_LATEST",
    "KCLPIPE_SEQUENCE_NUMBER",
    "KCLPIPE_SUB_SEQUENCE_NUMBER",
    "KCLPIPE_PARTITION_KEY",
    "KCLPIPE_PARTITION_KEY_BASE64",
    "KCLPIPE_ARRIVAL_TIMESTAMP",
    "KCLPIPE_ID",
    "KCLPIPE_BATCH_COUNT",
    "KCLPIPE_BATCH_BYTES",
    "KCLPIPE_FIRST_SEQUENCE_NUMBER",
    "KCLPIPE_FIRST_SUB_SEQUENCE_NUMBER",
    "KCLPIPE_FIRST_ARRIVAL_TIMESTAMP",
    "KCLPIPE_LAST_SEQUENCE_NUMBER",
    "KCLPIPE_LAST_SUB_SEQUENCE_NUMBER",
    "KCLPIPE_LAST_ARRIVAL_TIMESTAMP",
    "KCLPIPE_LANE",
    "KCLPIPE_INFLIGHT",
    "KCLPIPE_EVENT",
];

/// Variables with their values.
pub(in crate::handler) type Environment = Vec<(&'static str, OsString)>;

/// The names of our own variables, the options among them: none of them is for the handler.
pub(in crate::handler) fn ours() -> Vec<OsString> {
    let names = std::env::vars_os().map(|(name, _)| name);
    names
        .filter(|name| name.as_bytes().starts_with(b"KCLPIPE_"))
        .collect()
}

/// What every command of the user's gets.
fn of_all(shard_id: &str, settings: &Settings) -> Environment {
    let known = [
        ("KCLPIPE_STREAM", &settings.stream),
        ("KCLPIPE_APPLICATION", &settings.application),
    ];
    let known = known
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_ref()?.into())));
    std::iter::once(("KCLPIPE_SHARD_ID", shard_id.into()))
        .chain(known)
        .collect()
}

/// What every handler gets.
pub(in crate::handler) fn of_handler(
    shard_id: &str,
    token: &str,
    settings: &Settings,
) -> Environment {
    let mut environment = of_all(shard_id, settings);
    environment.extend([
        ("KCLPIPE_TOKEN", token.into()),
        ("KCLPIPE_EXIT_REJECT", REJECT.to_string().into()),
        ("KCLPIPE_EXIT_RETRY", RETRY.to_string().into()),
    ]);
    for (name, class) in [
        ("KCLPIPE_EXIT_CHECKPOINT", Class::Checkpoint),
        ("KCLPIPE_EXIT_HALT", Class::Halt),
    ] {
        environment.extend(
            settings
                .on_exit
                .code_for(class)
                .map(|code| (name, code.to_string().into())),
        );
    }
    environment
}

/// What a handler of one record gets besides. A field that is null leaves its variable unset.
pub(in crate::handler) fn of_record(
    environment: &mut Environment,
    record: Header<'_>,
    millis_behind_latest: Option<i64>,
    attempt: u32,
) {
    environment.push(("KCLPIPE_SEQUENCE_NUMBER", record.sequence_number.into()));
    environment.push((
        "KCLPIPE_SUB_SEQUENCE_NUMBER",
        record.sub_sequence_number.to_string().into(),
    ));
    environment.push(partition_key(record.partition_key));
    environment.push(("KCLPIPE_ATTEMPT", attempt.to_string().into()));
    let numbers = [
        (
            "KCLPIPE_ARRIVAL_TIMESTAMP",
            record.approximate_arrival_timestamp,
        ),
        ("KCLPIPE_MILLIS_BEHIND_LATEST", millis_behind_latest),
    ];
    for (name, number) in numbers {
        environment.extend(number.map(|number| (name, number.to_string().into())));
    }
}

/// What a handler of a batch gets besides.
pub(in crate::handler) fn of_batch(
    environment: &mut Environment,
    given: &Given<'_>,
    millis_behind_latest: Option<i64>,
) {
    let mut memory = [String::new(), String::new()];
    let [in_first, in_last] = &mut memory;
    let first = given.queue.header(given.first, in_first);
    let last = given.queue.header(given.last, in_last);
    let numbers = [
        ("KCLPIPE_BATCH_COUNT", Some(given.count as i128)),
        ("KCLPIPE_BATCH_BYTES", Some(i128::from(given.bytes))),
        ("KCLPIPE_ATTEMPT", Some(i128::from(given.attempt))),
        (
            "KCLPIPE_FIRST_SUB_SEQUENCE_NUMBER",
            Some(i128::from(first.sub_sequence_number)),
        ),
        (
            "KCLPIPE_LAST_SUB_SEQUENCE_NUMBER",
            Some(i128::from(last.sub_sequence_number)),
        ),
        (
            "KCLPIPE_FIRST_ARRIVAL_TIMESTAMP",
            first.approximate_arrival_timestamp.map(i128::from),
        ),
        (
            "KCLPIPE_LAST_ARRIVAL_TIMESTAMP",
            last.approximate_arrival_timestamp.map(i128::from),
        ),
        (
            "KCLPIPE_MILLIS_BEHIND_LATEST",
            millis_behind_latest.map(i128::from),
        ),
    ];
    for (name, number) in numbers {
        environment.extend(number.map(|number| (name, number.to_string().into())));
    }
    environment.push((
        "KCLPIPE_FIRST_SEQUENCE_NUMBER",
        first.sequence_number.into(),
    ));
    environment.push(("KCLPIPE_LAST_SEQUENCE_NUMBER", last.sequence_number.into()));
}

/// What names the records that a handler gets, and is the same whenever the same records are given: safe as
/// the name of a file.
pub(in crate::handler) fn of_id(environment: &mut Environment, given: &Given<'_>) {
    environment.push(("KCLPIPE_ID", id(given).into()));
}

/// The shard and the position of the first record. Always with the place within the aggregate: a border may
/// cut one, and both parts would have one name.
pub(in crate::handler) fn id(given: &Given<'_>) -> String {
    let first = given.queue.position(given.first);
    format!("{}-{first}", clean::file_name(given.shard_id))
}

/// What a handler that lives as long as the lease gets besides.
pub(in crate::handler) fn of_lane(environment: &mut Environment, lane: usize) {
    environment.push(("KCLPIPE_LANE", lane.to_string().into()));
}

/// What a handler gets besides that may have several records without an answer, each with a number.
pub(in crate::handler) fn of_inflight(environment: &mut Environment, inflight: usize) {
    environment.push(("KCLPIPE_INFLIGHT", inflight.to_string().into()));
}

/// What a command gets that runs beside the handlers, and where it is about a position.
pub(in crate::handler) fn of_sidecar(
    shard_id: &str,
    position: Option<&Position>,
    settings: &Settings,
) -> Environment {
    let mut environment = of_all(shard_id, settings);
    if let Some(position) = position {
        let sub_sequence_number = position.sub_sequence_number.to_string();
        environment.push((
            "KCLPIPE_SEQUENCE_NUMBER",
            position.sequence_number.as_str().into(),
        ));
        environment.push(("KCLPIPE_SUB_SEQUENCE_NUMBER", sub_sequence_number.into()));
    }
    environment
}

/// What a hook gets; at the beginning also the checkpoint, if there is one.
pub(in crate::handler) fn of_hook(
    shard_id: &str,
    hook_event: &HookEvent,
    settings: &Settings,
) -> Environment {
    let stored = match hook_event {
        HookEvent::Initialize(stored) => stored.as_ref(),
        HookEvent::LeaseLost | HookEvent::ShardEnd | HookEvent::Shutdown => None,
    };
    let mut environment = of_sidecar(shard_id, stored, settings);
    environment.push(("KCLPIPE_EVENT", hook_event.name().into()));
    environment
}

/// No variable can hold a NUL, so a key with one goes in base64.
fn partition_key(key: &str) -> (&'static str, OsString) {
    if key.contains('\0') {
        ("KCLPIPE_PARTITION_KEY_BASE64", STANDARD.encode(key).into())
    } else {
        ("KCLPIPE_PARTITION_KEY", key.into())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Instant;

    use super::*;
    use crate::handler::Per;
    use crate::handler::held::Queue;
    use crate::handler::pool::tests::settings;
    use crate::outcome::OnExit;
    use crate::record::Batch;

    /// Two records.
    fn queue() -> Queue {
        let mut queue = Queue::default();
        let record = |number| {
            format!(
                r#"{{"data":"YWJj","partitionKey":"k","sequenceNumber":"{number}","approximateArrivalTimestamp":5}}"#
            )
        };
        let line = format!(
            r#"{{"action":"processRecords","records":[{},{}]}}"#,
            record(11),
            record(12)
        );
        queue.push(Batch::of(&line), Instant::now());
        queue
    }

    #[test]
    fn the_variables_that_are_set_are_those_that_are_named() {
        let settings = Settings {
            on_exit: OnExit(vec![(99, Class::Checkpoint), (98, Class::Halt)]),
            stream: Some("orders".to_owned()),
            application: Some("reader".to_owned()),
            ..settings(Per::Record)
        };
        let mut set = of_handler("shard", "token", &settings);
        for key in ["key", "with a \0"] {
            let record = Header {
                sequence_number: "1",
                sub_sequence_number: 0,
                partition_key: key,
                approximate_arrival_timestamp: Some(1),
            };
            of_record(&mut set, record, Some(7), 1);
        }
        let queue = queue();
        let given = Given {
            queue: &queue,
            first: 0,
            last: 1,
            count: 2,
            bytes: 6,
            shard_id: "shard",
            attempt: 1,
            slot: 0,
        };
        of_batch(&mut set, &given, Some(7));
        of_id(&mut set, &given);
        of_lane(&mut set, 0);
        of_inflight(&mut set, 1);
        set.extend(of_hook("shard", &HookEvent::ShardEnd, &settings));
        let names: BTreeSet<&str> = set.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, VARIABLES.into());
    }
}
