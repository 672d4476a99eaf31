//! The files of docs/container/, held to what docs/operations.md demands of a container.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use kclpipe::testing::properties::Properties;
use rustix::fs::{FlockOperation, flock};
use serde_json::Value;

use crate::dockerfile::Dockerfile;

/// Seconds that a stop needs besides the daemon's grace: for a batch under way, and for Java's own end.
const BESIDES: u64 = 20;

/// The longest that Fargate waits for a container.
const FARGATE: u64 = 120;

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(path).expect(name)
}

/// The number in a text that has nothing else.
#[track_caller]
fn number(text: &str) -> u64 {
    text.parse()
        .unwrap_or_else(|_| panic!("'{text}' is no number"))
}

/// The grace of the daemon, in seconds.
fn grace(properties: &Properties) -> u64 {
    number(properties.get("shutdownGraceMillis").expect("a grace")) / 1000
}

#[test]
fn the_image_passes_its_stop_on_and_runs_as_its_own_user() {
    let image = Dockerfile::read();
    assert_eq!(image.last("STOPSIGNAL"), "SIGTERM");
    // Without -g, for kclpipe and its handlers are not to get the signal.
    assert_eq!(
        image.words("ENTRYPOINT"),
        ["tini", "--", "kclpipe", "launch"]
    );
    assert_eq!(image.words("CMD"), ["/etc/kclpipe/kclpipe.properties"]);
    assert_eq!(image.last("USER"), "kclpipe");
    let makes_user = |run: &str| run.contains("useradd --system --uid 900 ");
    assert!(image.all("RUN").any(makes_user));
}

#[test]
fn the_image_keeps_letters_on_a_volume_where_the_daemon_starts() {
    let image = Dockerfile::read();
    assert_eq!(image.last("VOLUME"), image.last("WORKDIR"));
}

#[test]
fn the_image_finds_what_it_copied() {
    let image = Dockerfile::read();
    let copies: Vec<&str> = image.all("COPY").collect();
    for variable in image.all("ENV") {
        let (_, folder) = variable.split_once('=').expect("NAME=VALUE");
        let is_there = copies
            .iter()
            .any(|copy| copy.ends_with(&format!(" {folder}")));
        assert!(is_there, "nothing is copied to {folder}");
    }
}

#[test]
fn the_image_is_built_with_the_oldest_rust_that_does() {
    let (image, manifest) = (Dockerfile::read(), read("Cargo.toml"));
    let wanted = manifest
        .split("rust-version = \"")
        .nth(1)
        .expect("a version");
    let wanted = wanted.split('"').next().expect("its end");
    let first = image.all("FROM").next().expect("a first stage");
    assert!(
        first.starts_with(&format!("rust:{wanted}-slim-")),
        "{first}"
    );
}

/// The text of a file in a ConfigMap: the lines after `NAME: |` that are further in than it.
fn embedded(yaml: &str, name: &str) -> String {
    let mut lines = yaml.lines();
    let start = format!("  {name}: |");
    lines.find(|line| *line == start).expect(name);
    let inside = lines.map_while(|line| line.strip_prefix("    "));
    inside.map(|line| format!("{line}\n")).collect()
}

/// The value of a key that is there once.
#[track_caller]
fn value<'a>(yaml: &'a str, key: &str) -> &'a str {
    let mut values = yaml.lines().filter_map(|line| {
        let line = line.trim_start();
        line.trim_start_matches("- ")
            .strip_prefix(key)?
            .strip_prefix(": ")
    });
    let value = values.next().unwrap_or_else(|| panic!("no {key}"));
    assert_eq!(values.next(), None, "{key} is there twice");
    value
}

#[test]
fn kubernetes_waits_longer_than_the_daemon() {
    let yaml = read("docs/container/kubernetes.yaml");
    let text = embedded(&yaml, "kclpipe.properties");
    let properties = Properties::parse(text.as_bytes()).expect("sound");
    let patience = number(value(&yaml, "terminationGracePeriodSeconds"));
    assert!(patience >= grace(&properties) + BESIDES);
}

#[test]
fn kubernetes_names_each_worker_after_its_pod_and_gives_it_a_volume() {
    let yaml = read("docs/container/kubernetes.yaml");
    // Only a StatefulSet's pods keep their names.
    assert!(yaml.contains("\nkind: StatefulSet\n"));
    let (_, worker) = yaml
        .split_once("- name: KCLPIPE_PROPERTY_workerId\n")
        .expect("it");
    assert!(
        worker
            .lines()
            .take(3)
            .any(|line| line.trim() == "fieldPath: metadata.name")
    );
    let letters = Dockerfile::read().last("VOLUME").to_owned();
    assert!(yaml.contains(&format!("mountPath: {letters}\n")));
    assert!(yaml.contains("\n  volumeClaimTemplates:\n"));
    assert_eq!(value(&yaml, "runAsNonRoot"), "true");
    assert_eq!(value(&yaml, "runAsUser"), value(&yaml, "fsGroup"));
    for part in ["requests:", "limits:"] {
        assert!(yaml.contains(part), "no {part}");
    }
}

/// Where workers keep the files that `kclpipe status` reads.
const METRICS_DIR: &str = "/run/kclpipe";

/// The containers of the pod, each from its name on.
fn pod() -> Vec<String> {
    let yaml = read("docs/container/kubernetes.yaml");
    let (_, pod) = yaml.split_once("      containers:").expect("containers");
    let (pod, _) = pod.split_once("      volumes:\n").expect("their end");
    let containers = pod.split("\n        - name: ").skip(1);
    containers.map(str::to_owned).collect()
}

/// The words of the `command:` in a text, which is written as a list of JSON.
fn command(yaml: &str) -> Vec<String> {
    serde_json::from_str(value(yaml, "command")).expect("a list of words")
}

/// The words of the health check of the task for ECS, without the one that says that there is no shell.
fn health_check() -> Vec<String> {
    let task: Value = serde_json::from_str(&read("docs/container/ecs-task.json")).expect("JSON");
    let words = &task["containerDefinitions"][0]["healthCheck"]["command"];
    let mut words: Vec<String> = serde_json::from_value(words.clone()).expect("words");
    assert_eq!(words.remove(0), "CMD");
    words
}

#[test]
fn a_probe_restarts_the_worker_and_nothing_else() {
    let pod = pod();
    let (worker, others) = pod.split_first().expect("a worker");
    assert!(worker.starts_with("worker\n"));
    assert_eq!(worker.matches("Probe:").count(), 1);
    let (_, probe) = worker.split_once("livenessProbe:\n").expect("it");
    assert!(probe.trim_start().starts_with("exec:\n"));
    assert!(others.iter().all(|other| !other.contains("Probe:")));
}

#[test]
fn what_serves_the_metrics_is_ended_by_its_stop_and_changes_nothing() {
    let server = &pod()[1];
    let words = command(server);
    // The system ignores a signal to process 1 that this does not handle.
    assert_eq!(words[..4], ["tini", "--", "kclpipe", "status"]);
    assert_eq!(words.last().map(String::as_str), Some(METRICS_DIR));
    assert_eq!(value(server, "readOnly"), "true");
    let port = value(server, "containerPort");
    assert!(words.contains(&format!("0.0.0.0:{port}")));
}

#[test]
fn workers_keep_their_files_where_the_probes_look() {
    let yaml = read("docs/container/kubernetes.yaml");
    assert!(embedded(&yaml, "handler.args").contains(&format!("--metrics-dir {METRICS_DIR}\n")));
    let mount = format!("mountPath: {METRICS_DIR}\n");
    assert_eq!(
        yaml.matches(&mount).count(),
        2,
        "of the worker and of what serves them"
    );
    let image = Dockerfile::read();
    let is_made =
        |run: &str| run.contains(&format!("--owner=kclpipe --group=kclpipe {METRICS_DIR}"));
    assert!(image.all("RUN").any(is_made));
    let task = read("docs/container/ecs-task.json");
    assert!(task.contains(&format!(
        r#"{{"name": "KCLPIPE_METRICS_DIR", "value": "{METRICS_DIR}"}}"#
    )));
    for probe in [command(&pod()[0]), health_check()] {
        assert_eq!(probe.last().map(String::as_str), Some(METRICS_DIR));
    }
}

/// How a probe ends, run as it stands, of a worker with these files.
fn probed(probe: &[String], directory: &Path) -> Option<i32> {
    assert_eq!(probe[0], "kclpipe");
    let (_, options) = probe[1..].split_last().expect("words");
    let mut command = Command::new(env!("CARGO_BIN_EXE_kclpipe"));
    let output = command.args(options).arg(directory).output();
    output.expect("started").status.code()
}

/// What a kclpipe keeps of its shard that has written this long ago, in seconds.
fn shard_file(directory: &Path, ago: u64, blocked: &str) -> File {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let written = now.expect("after 1970").as_millis() as u64 - ago * 1000;
    let text = format!(
        r#"{{"name":"orders","shardId":"s-{ago}","pid":1,"version":"","since":0,"written":{written},"records":0,"recordsPerSecond":0.0,"inFlight":0,"heldRecords":0,"heldBytes":0,"unsavedRecords":0,"blocked":{blocked}}}"#
    );
    let path = directory.join(format!("kclpipe-orders-s-{ago}-1.json"));
    fs::write(&path, text).expect("written");
    File::open(path).expect("there")
}

/// Says that the writer of this file lives.
fn alive(file: &File) {
    flock(file, FlockOperation::LockExclusive).expect("locked");
}

#[test]
fn a_probe_fails_for_a_kclpipe_that_stands_still_and_for_nothing_else() {
    for probe in [command(&pod()[0]), health_check()] {
        let folder = tempfile::tempdir().expect("a folder");
        let here = folder.path();
        assert_eq!(probed(&probe, here), Some(0), "no shard is leased");
        let blocked = r#"{"sequenceNumber":"1","subSequenceNumber":0,"since":0,"attempts":9}"#;
        let stuck = shard_file(here, 1, blocked);
        alive(&stuck);
        assert_eq!(probed(&probe, here), Some(0), "a record blocks");
        let _gone = shard_file(here, 3600, "null");
        assert_eq!(probed(&probe, here), Some(0), "of a worker before this one");
        let still = shard_file(here, 600, "null");
        alive(&still);
        assert_eq!(probed(&probe, here), Some(1), "it stands still");
        assert_eq!(probed(&probe, &here.join("no")), Some(66));
    }
}

#[test]
fn the_configuration_for_kubernetes_passes_a_check() {
    let yaml = read("docs/container/kubernetes.yaml");
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path().to_str().expect("UTF-8");
    for name in ["kclpipe.properties", "handler.args"] {
        let text = embedded(&yaml, name).replace("/usr/local/bin/handler", "true");
        let text = text
            .replace("/etc/kclpipe", here)
            .replace("/var/lib/kclpipe", here)
            .replace(METRICS_DIR, here);
        fs::write(folder.path().join(name), text).expect("written");
    }
    let own = Path::new(env!("CARGO_BIN_EXE_kclpipe"));
    let path = std::env::var("PATH").expect("a PATH");
    let beside = own.parent().expect("a folder").display();
    let checked = Command::new(own)
        .args(["check", "kclpipe.properties"])
        .current_dir(&folder)
        .env_clear()
        .env("PATH", format!("{beside}:{path}"))
        .output()
        .expect("started");
    assert!(checked.status.success(), "{checked:?}");
}

#[test]
fn ecs_waits_longer_than_the_daemon_and_keeps_letters_on_a_volume() {
    let task: Value = serde_json::from_str(&read("docs/container/ecs-task.json")).expect("JSON");
    let container = &task["containerDefinitions"][0];
    let set = |name: &str| {
        let all = container["environment"].as_array().expect("variables");
        let found = all.iter().find(|variable| variable["name"] == name);
        found
            .and_then(|variable| variable["value"].as_str())
            .expect("a value")
            .to_owned()
    };
    let patience = container["stopTimeout"].as_u64().expect("a number");
    let grace = number(&set("KCLPIPE_PROPERTY_shutdownGraceMillis")) / 1000;
    assert!(patience >= grace + BESIDES && patience <= FARGATE);
    let mount = &container["mountPoints"][0];
    let folder = mount["containerPath"].as_str().expect("a path");
    assert_eq!(folder, Dockerfile::read().last("VOLUME"));
    assert_eq!(mount["sourceVolume"], task["volumes"][0]["name"]);
    assert!(set("KCLPIPE_DEAD_LETTER").starts_with(folder));
    // A task has a new name each time, so none is as good.
    let is_named = |variable: &Value| variable["name"] == "KCLPIPE_PROPERTY_workerId";
    assert!(
        !container["environment"]
            .as_array()
            .expect("them")
            .iter()
            .any(is_named)
    );
}
