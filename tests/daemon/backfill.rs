//! A time of the stream again, beside the application that has read it.

use std::fs;
use std::thread;
use std::time::{Duration, SystemTime};

use humantime::format_rfc3339_millis;
use serde_json::Value;

use crate::harness::{Application, Case, Checkpoint, Record, tests};

tests! {
    a_time_is_handed_over_again_and_no_more: kcl3_per_record kcl2_per_record kcl1_per_record;
}

/// The daemon begins at a whole second, and kclpipe ends at one.
fn next_second() -> SystemTime {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("it is later than 1970");
    let next = Duration::from_secs(since.as_secs() + 1);
    // Time itself is what is awaited here.
    thread::sleep(next - since + Duration::from_millis(50));
    SystemTime::UNIX_EPOCH + next
}

fn a_time_is_handed_over_again_and_no_more(case: Case) {
    let mut application = Application::new(case, "--metrics-dir .");
    let put = |to: &Application| to.put_on_both(&Record::many(5)).concat();
    put(&application);
    let from = next_second();
    let wanted = put(&application);
    let until = next_second();
    put(&application);

    let time = format!(
        "{}..{}",
        format_rfc3339_millis(from),
        format_rfc3339_millis(until)
    );
    let daemon = application.start_with(&["--backfill", &time]);
    daemon.until("what is wanted", || application.journal.has(&wanted));
    daemon.until("both shards are complete", || {
        // Something has to arrive, for time to pass in the stream.
        put(&application);
        thread::sleep(Duration::from_secs(1));
        states(&application)
            .iter()
            .filter(|state| state["complete"] == true)
            .count()
            == 2
    });
    // These, and no others.
    application.journal.assert_done_once(&wanted);
    let said = daemon.logged();
    let fresh = format!("{}-backfill-", application.leases.application);
    assert!(
        said.contains(&fresh) && said.contains("Delete afterwards"),
        "{said}"
    );
    daemon.terminate();
    daemon.wait();
    for shard in application.shards() {
        let own = application.leases.checkpoint(&shard.id);
        assert_eq!(
            own,
            Checkpoint::TrimHorizon,
            "production's checkpoints stay"
        );
    }
}

/// What kclpipes say of their shards.
fn states(application: &Application) -> Vec<Value> {
    let entries = fs::read_dir(application.directory())
        .expect("readable")
        .flatten();
    let files = entries.map(|entry| entry.path()).filter(|path| {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        name.starts_with("kclpipe-") && name.ends_with(".json")
    });
    files
        .filter_map(|path| serde_json::from_str(&fs::read_to_string(path).ok()?).ok())
        .collect()
}
