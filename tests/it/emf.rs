//! `--stats-format emf`: what CloudWatch Logs takes metrics from, held against what its specification demands.

use serde_json::Value;

use crate::harness::Bridge;

/// The objects in a log, which are lines of their own.
fn objects(log: &str) -> Vec<Value> {
    let lines = log.lines().filter(|line| line.starts_with('{'));
    lines
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

/// As AWS's schema of the format has it.
#[track_caller]
fn assert_valid(object: &Value) {
    assert!(object.to_string().len() < 256 * 1024);
    let about = &object["_aws"];
    assert!(about["Timestamp"].is_u64(), "{object}");
    let directives = about["CloudWatchMetrics"].as_array().expect("directives");
    assert!(!directives.is_empty());
    for directive in directives {
        is_named(&directive["Namespace"], 1024);
        let sets = directive["Dimensions"].as_array().expect("dimensions");
        assert!(!sets.is_empty());
        for set in sets {
            let keys = set.as_array().expect("a set");
            assert!(keys.len() <= 30);
            for key in keys {
                let value = object[is_named(key, 250)].as_str().expect("a dimension");
                assert!(!value.trim().is_empty() && value.is_ascii() && value.len() <= 1024);
            }
        }
        let metrics = directive["Metrics"].as_array().expect("metrics");
        assert!((1..=100).contains(&metrics.len()));
        for metric in metrics {
            let value = &object[is_named(&metric["Name"], 1024)];
            assert!(value.is_number(), "{metric}: {value}");
            let unit = metric["Unit"].as_str().expect("a unit");
            assert!(["Count", "Seconds", "Bytes"].contains(&unit), "{metric}");
        }
    }
}

fn is_named(name: &Value, most: usize) -> &str {
    let name = name.as_str().expect("a name");
    assert!((1..=most).contains(&name.len()), "{name}");
    name
}

#[test]
fn each_interval_is_an_object_that_cloudwatch_takes_metrics_from() {
    // However few lines are logged.
    let options = "--stats-every 50ms --stats-format emf --log-level error --name b\u{fc}ro --retry-delay 20s";
    let mut daemon = Bridge::new("[ $(cat) != bad ]").options(options).start();
    daemon.initialize();
    daemon.payloads(&["good", "good", "bad"]);
    let log = daemon.expect_log("\"BlockedRecord\":\"3.0\"");
    let objects = objects(log.rsplit_once('\n').expect("a whole line").0);
    objects.iter().for_each(assert_valid);
    let sum = |name: &str| {
        objects
            .iter()
            .map(|of| of[name].as_u64().expect("a count"))
            .sum::<u64>()
    };
    assert_eq!((sum("RecordsDone"), sum("FailedAttempts")), (2, 1), "{log}");
    let last = objects.last().expect("one");
    assert_eq!(
        (&last["Name"], &last["Shard"]),
        (&"b?ro".into(), &"shardId-0".into())
    );
    assert_eq!(last["RecordsHeld"], 1);
    assert!(last["BlockedSeconds"].as_f64() > Some(0.0), "{last}");
    daemon.end_input();
    daemon.wait_exit();
}
