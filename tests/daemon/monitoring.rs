//! Prometheus' own programs take what kclpipe gives them: promtool the metrics and the rules, node_exporter
//! the file, Prometheus the rules and every query of the dashboard. They are Debian's packages `prometheus`
//! and `prometheus-node-exporter`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::served::{Blocked, Server, get};
use crate::harness::wait::until;

/// A name that needs every escape there is.
const NAME: &str = r#"my "own" \ name"#;

fn in_repository(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

#[test]
#[ignore = "needs promtool"]
fn the_alerts_fire_when_they_should_and_only_then() {
    for arguments in [
        ["check", "rules", "docs/alerts.yml"],
        ["test", "rules", "tests/daemon/support/alerts.test.yml"],
    ] {
        let output = Command::new("promtool")
            .args(arguments)
            .current_dir(in_repository(""))
            .output()
            .expect("promtool can be started");
        assert!(output.status.success(), "{output:?}");
    }
}

#[test]
#[ignore = "needs promtool, prometheus and prometheus-node-exporter"]
fn what_kclpipe_writes_reaches_prometheus_and_the_dashboard() {
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory can be made");
    let metrics = folder.path().join("metrics");
    fs::create_dir(&metrics).expect("a directory can be made");
    let _kclpipe = Blocked::start(folder.path(), &metrics, NAME);
    until("the metrics of a blocked shard", || {
        text_of(&metrics).contains("class=\"fail\"} 2")
    });
    check_metrics(&text_of(&metrics));

    let collector = format!("--collector.textfile.directory={}", metrics.display());
    let arguments = [collector.as_str(), "--web.listen-address=127.0.0.1:0"];
    let exporter = Server::start(folder.path(), "prometheus-node-exporter", &arguments);
    let scraped = get(&exporter.address, "/metrics");
    assert!(
        scraped.contains("node_textfile_scrape_error 0"),
        "{scraped}"
    );
    let sample = scraped
        .lines()
        .find(|line| line.starts_with("kclpipe_blocked{"));
    let expected = r#"kclpipe_blocked{name="my \"own\" \\ name",shard="shardId-0"} 1"#;
    assert_eq!(sample, Some(expected));

    let prometheus = start_prometheus(folder.path(), &exporter.address);
    for query in queries() {
        until(&format!("an answer to {query}"), || {
            !ask(&prometheus.address, &query).is_empty()
        });
    }
    until("a judgement of every rule", || {
        let rules = rules(&prometheus.address);
        assert!(
            rules.iter().all(|rule| rule["health"] != "err"),
            "{rules:?}"
        );
        rules.len() > 10 && rules.iter().all(|rule| rule["health"] == "ok")
    });
}

/// What the one metrics file has.
fn text_of(metrics: &Path) -> String {
    let entries = fs::read_dir(metrics)
        .expect("the directory is there")
        .flatten();
    let mut files = entries.map(|entry| entry.path());
    let file = files.find(|path| path.extension().is_some_and(|ending| ending == "prom"));
    file.and_then(|path| fs::read_to_string(path).ok())
        .unwrap_or_default()
}

/// promtool has nothing to say of it: neither of its form nor of the names.
pub(crate) fn check_metrics(text: &str) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool can be started");
    let mut input = promtool.stdin.take().expect("a pipe");
    input.write_all(text.as_bytes()).expect("promtool reads");
    drop(input);
    let output = promtool.wait_with_output().expect("promtool ends");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

/// Prometheus, with the rules, which scrapes this address.
pub(crate) fn start_prometheus(folder: &Path, target: &str) -> Server {
    let configuration = json!({
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [in_repository("docs/alerts.yml")],
        "scrape_configs": [{"job_name": "node", "static_configs": [{"targets": [target]}]}],
    });
    // JSON is YAML.
    fs::write(folder.join("prometheus.yml"), configuration.to_string()).expect("written");
    let arguments = [
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=data",
        "--web.listen-address=127.0.0.1:0",
    ];
    let prometheus = Server::start(folder, "prometheus", &arguments);
    until("Prometheus is ready", || {
        get(&prometheus.address, "/-/ready").contains("is Ready")
    });
    prometheus
}

/// The queries of the dashboard's panels, with the variables that Grafana replaces.
fn queries() -> Vec<String> {
    let text = fs::read_to_string(in_repository("docs/grafana-dashboard.json")).expect("read");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().expect("targets"));
    let queries = targets.map(|target| target["expr"].as_str().expect("a query").to_owned());
    let replaced = queries.map(|query| {
        let query = query
            .replace("$__rate_interval", "1m")
            .replace("$__range", "1m");
        let query = query.replace("$name", ".*").replace("$shard", ".*");
        assert!(!query.contains('$'), "{query}");
        query
    });
    replaced.collect()
}

/// What Prometheus answers to a query, which it must understand.
#[track_caller]
pub(crate) fn ask(prometheus: &str, query: &str) -> Vec<Value> {
    let reply = get(
        prometheus,
        &format!("/api/v1/query?query={}", escaped(query)),
    );
    let reply: Value = serde_json::from_str(&reply).expect("JSON");
    assert_eq!(reply["status"], "success", "{query}: {reply}");
    reply["data"]["result"].as_array().expect("a list").clone()
}

fn rules(prometheus: &str) -> Vec<Value> {
    let reply: Value = serde_json::from_str(&get(prometheus, "/api/v1/rules")).expect("JSON");
    let groups = reply["data"]["groups"].as_array().expect("groups").iter();
    let rules = groups.flat_map(|group| group["rules"].as_array().expect("rules"));
    rules.cloned().collect()
}

/// A text as a part of a URL.
fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
