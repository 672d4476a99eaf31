//! `kclpipe launch`, with stand-ins for Java and Maven that tell how they were started.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// A Java that prints its arguments, one a line, and the properties that it was given.
const JAVA: &str = r#"
echo "pid $$"
for argument; do echo "$argument"; properties=$argument; done
sed 's/^/property /' "$properties"
echo "jars ${KCLPIPE_JARS-unset}"
exit 42"#;

/// A Maven that makes the jars of KCL 3.1.3.
pub(crate) const MAVEN: &str = r#"
for argument; do
    case $argument in -DoutputDirectory=*) to=${argument#*=};; esac
done
for jar in multilang-3.1.3 3.1.3; do echo jar > "$to/amazon-kinesis-client-$jar.jar"; done"#;

const PROPERTIES: &str = "executableName = kclpipe -- cat\nstreamName = orders\napplicationName = reader\n\
    AWSCredentialsProvider = DefaultCredentialsProvider\nregionName = us-east-1\nshutdownGraceMillis = 60000\n\
    callProcessRecordsEvenForEmptyRecordList = true\n";

/// A folder with a properties file, jars, and a folder of programs that alone are in `PATH`, after those
/// of the system.
struct World {
    folder: TempDir,
}

impl World {
    fn new() -> World {
        let world = World {
            folder: tempfile::tempdir().expect("a folder"),
        };
        for folder in ["bin", "jars", "home"] {
            fs::create_dir(world.path(folder)).expect("made");
        }
        world.write("kcl.properties", PROPERTIES);
        world.write("jars/amazon-kinesis-client-multilang-3.1.3.jar", "jar");
        world.write("jars/amazon-kinesis-client-3.1.3.jar", "jar");
        world.program("bin/java", JAVA);
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("written");
    }

    fn program(&self, name: &str, text: &str) {
        self.write(name, &format!("#!/bin/sh{text}\n"));
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.path(name), mode).expect("executable");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kclpipe"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("KCLPIPE_") {
                command.env_remove(name);
            }
        }
        command.arg("launch").args(arguments);
        command.current_dir(self.folder.path());
        // Not the system's own folders, for Java and Maven may be there.
        for program in ["sh", "sed", "cat", "env", "sleep"] {
            let own = self.path("bin").join(program);
            if !own.exists() {
                std::os::unix::fs::symlink(system(program), own).expect("linked");
            }
        }
        command.env("PATH", self.path("bin"));
        command.env("HOME", self.path("home"));
        command.env("XDG_RUNTIME_DIR", self.path("home"));
        command.env_remove("XDG_DATA_HOME").env_remove("JAVA_HOME");
        for options in ["JDK_JAVA_OPTIONS", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS"] {
            command.env_remove(options);
        }
        command
    }

    fn launch(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("started")
    }

    /// Launches with the jars that are there.
    fn start(&self, arguments: &[&str]) -> Output {
        self.launch(&[&["--jars", "jars"], arguments].concat())
    }

    #[track_caller]
    fn fails(&self, arguments: &[&str], said: &str) {
        let output = self.launch(arguments);
        let stderr = text(&output.stderr);
        assert!(stderr.contains(said), "{stderr}");
        assert_eq!(output.status.code(), Some(78), "{stderr}");
        assert_eq!(text(&output.stdout), "", "Java did not run");
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).expect("readable");
        let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
        let mut names: Vec<String> = entries
            .map(|entry| name(entry).to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

fn system(program: &str) -> PathBuf {
    let folders = [Path::new("/bin"), Path::new("/usr/bin")];
    let files = folders.map(|folder| folder.join(program));
    let found = files.into_iter().find(|file| file.exists());
    found.unwrap_or_else(|| panic!("no {program}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn kclpipe_becomes_java_with_the_daemon_of_that_version() {
    let world = World::new();
    let options = ["-Xmx1g", "-XX:+UseG1GC", "-Da=b c"];
    let mut command =
        world.command(&[&["--jars", "jars"], &options[..], &["kcl.properties"]].concat());
    let child = command.stdout(std::process::Stdio::piped()).spawn();
    let child = child.expect("started");
    let id = child.id();
    let output = child.wait_with_output().expect("ended");
    assert_eq!(output.status.code(), Some(42), "Java's own exit code");

    let stdout = text(&output.stdout);
    let lines: Vec<&str> = stdout.lines().collect();
    let folder = world.folder.path().canonicalize().expect("a path");
    let folder = folder.display();
    let expected = [
        format!("pid {id}"),
        "-Dfile.encoding=UTF-8".to_owned(),
        "-Da=b c".to_owned(),
        "-Xmx1g".to_owned(),
        "-XX:+UseG1GC".to_owned(),
        "-cp".to_owned(),
        format!("{folder}/jars/*"),
        "software.amazon.kinesis.multilang.MultiLangDaemon".to_owned(),
        "--log-configuration".to_owned(),
    ];
    assert_eq!(lines[..9], expected);
    assert_eq!(lines[11], format!("{folder}/kcl.properties"));
    assert!(world.names("home").is_empty(), "nothing is left behind");
}

#[test]
fn a_small_machine_has_the_serial_collector_unless_another_is_chosen() {
    const SERIAL: &str = "-XX:+UseSerialGC";
    let world = World::new();
    let small = std::thread::available_parallelism().is_ok_and(|number| number.get() <= 4);
    let usual = text(&world.start(&["kcl.properties"]).stdout);
    assert_eq!(usual.matches(SERIAL).count(), usize::from(small), "{usual}");

    let typed = text(&world.start(&["-XX:+UseZGC", "kcl.properties"]).stdout);
    assert!(!typed.contains(SERIAL), "{typed}");
    for variable in ["JDK_JAVA_OPTIONS", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS"] {
        let mut command = world.command(&["--jars", "jars", "kcl.properties"]);
        command.env(variable, "-Xmx1g -XX:+UseParallelGC");
        let stdout = text(&command.output().expect("started").stdout);
        assert!(
            stdout.contains("pid ") && !stdout.contains(SERIAL),
            "{variable}: {stdout}"
        );
    }
}

#[test]
fn the_daemon_of_1_x_is_started_in_its_own_way() {
    let world = World::new();
    fs::create_dir(world.path("old")).expect("made");
    world.write("old/amazon-kinesis-client-1.15.3.jar", "jar");
    let provider = (
        "DefaultCredentialsProvider",
        "DefaultAWSCredentialsProviderChain",
    );
    world.write(
        "kcl.properties",
        &PROPERTIES.replace(provider.0, provider.1),
    );
    let output = world.launch(&["--jars", "old", "kcl.properties"]);
    let stdout = text(&output.stdout);
    assert!(
        stdout.contains("com.amazonaws.services.kinesis.multilang.MultiLangDaemon\n/"),
        "{stdout}"
    );
    assert!(!stdout.contains("\n--"), "{stdout}");
    world.fails(
        &[
            "--jars",
            "old",
            "--log-configuration",
            "kcl.properties",
            "kcl.properties",
        ],
        "KCL 1.15.3 does not support --log-configuration",
    );
}

#[test]
fn what_is_set_wins_over_the_environment_and_that_over_the_file() {
    let world = World::new();
    let mut command = world.command(&["--set", "streamName=set", "kcl.properties"]);
    command.env("KCLPIPE_PROPERTY_streamName", "environment");
    command.env("KCLPIPE_PROPERTY_workerId", "from = there");
    command.env("KCLPIPE_JARS", world.path("jars"));
    let output = command.output().expect("started");
    let stdout = text(&output.stdout);
    let last = |key: &str| {
        let start = format!("property {key}=");
        let mut values = stdout.lines().filter_map(|line| line.strip_prefix(&start));
        values.next_back().map(str::to_owned)
    };
    assert_eq!(last("streamName").as_deref(), Some("set"), "{stdout}");
    assert_eq!(last("workerId").as_deref(), Some("from \\= there"));
    assert!(
        stdout.contains("jars unset"),
        "what is ours does not reach the children"
    );
    assert!(world.names("home").is_empty(), "nothing is left behind");
}

#[test]
fn java_is_the_one_that_was_typed_or_of_java_home_or_of_path() {
    let world = World::new();
    fs::create_dir_all(world.path("home-of-java/bin")).expect("made");
    world.program("home-of-java/bin/java", "\necho of JAVA_HOME");
    world.program("typed", "\necho typed");
    let of = |arguments: &[&str]| {
        let mut command = world.command(&["--jars", "jars", "kcl.properties"]);
        command.args(arguments);
        command.env("JAVA_HOME", world.path("home-of-java"));
        text(&command.output().expect("started").stdout)
    };
    assert_eq!(of(&["--java", "./typed"]), "typed\n");
    assert_eq!(of(&[]), "of JAVA_HOME\n");
    assert!(text(&world.start(&["kcl.properties"]).stdout).starts_with("pid "));

    fs::remove_file(world.path("bin/java")).expect("removed");
    world.fails(&["--jars", "jars", "kcl.properties"], "no Java: install");
    world.fails(
        &["--jars", "jars", "--java", "no/java", "kcl.properties"],
        "--java",
    );
    let mut command = world.command(&["--jars", "jars", "kcl.properties"]);
    command.env("JAVA_HOME", "/no/such/java");
    let stderr = text(&command.output().expect("started").stderr);
    assert!(
        stderr.contains("JAVA_HOME") && stderr.contains("/no/such/java"),
        "{stderr}"
    );
}

#[test]
fn the_printed_command_does_the_same_in_a_shell() {
    let world = World::new();
    let arguments = ["-Da=it's $HOME", "--set", "workerId=a b", "kcl.properties"];
    let printed = world.start(&[&["--print"], &arguments[..]].concat());
    assert!(printed.status.success(), "{}", text(&printed.stderr));
    let pasted = Command::new("sh")
        .arg("-c")
        .arg(text(&printed.stdout))
        .env("PATH", world.path("bin"))
        .output()
        .expect("started");
    let pasted = text(&pasted.stdout);
    assert!(pasted.contains("-Da=it's $HOME\n"), "{pasted}");
    assert!(pasted.contains("property workerId=a b\n"), "{pasted}");
}

/// In a container, each launch has the process number 1.
#[test]
fn what_an_earlier_launch_of_the_same_number_left_is_not_in_the_way() {
    let world = World::new();
    let launch = world.command(&["--jars", "jars", "--set", "workerId=a", "kcl.properties"]);
    let earlier = r#"for left in "-logback.xml" ".properties"; do : > "home/kclpipe-$$$left"; done; exec "$0" "$@""#;
    let mut shell = Command::new(system("sh"));
    shell.args(["-c", earlier]).arg(launch.get_program());
    shell.args(launch.get_args()).current_dir(world.path(""));
    for (name, value) in launch.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let output = shell.output().expect("started");
    assert_eq!(output.status.code(), Some(42), "{}", text(&output.stderr));
    assert_eq!(world.names("home").len(), 2, "what was left is as it was");
}

#[test]
fn a_runtime_directory_that_is_none_is_passed_over() {
    let world = World::new();
    fs::create_dir(world.path("temporary")).expect("made");
    let print = ["--jars", "jars", "--print", "kcl.properties"];
    for (none, files) in [("", 1), ("bin", 2), ("/no/such/directory", 3)] {
        let mut command = world.command(&print);
        command.env("TMPDIR", world.path("temporary"));
        let output = command.env("XDG_RUNTIME_DIR", none).output();
        let output = output.expect("started");
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(world.names("temporary").len(), files, "'{none}'");
    }
}

#[test]
fn what_is_missing_or_wrong_is_told_before_java_starts() {
    let world = World::new();
    world.fails(&["kcl.properties"], "kclpipe launch --fetch");
    world.fails(
        &["--jars", "nowhere", "kcl.properties"],
        "no jars in 'nowhere'",
    );
    world.fails(
        &["--jars", "bin", "kcl.properties"],
        "'bin' has no amazon-kinesis-client-multilang",
    );
    world.fails(
        &["--jars", "jars", "no.properties"],
        "cannot read 'no.properties'",
    );
    world.fails(
        &["--jars", "jars", "--kcl", "2.5.4", "kcl.properties"],
        "3.1.3, not of 2.5.4",
    );
    let no_logback = [
        "--jars",
        "jars",
        "--log-configuration",
        "no.xml",
        "kcl.properties",
    ];
    world.fails(&no_logback, "'no.xml' (--log-configuration)");
    world.write("jars/amazon-kinesis-client-multilang-2.5.4.jar", "jar");
    world.fails(&["--jars", "jars", "kcl.properties"], "twice");
}

#[test]
fn errors_that_check_finds_stop_the_launch_and_warnings_do_not() {
    let world = World::new();
    world.write(
        "wrong.properties",
        &PROPERTIES.replace("streamName", "streamname"),
    );
    world.fails(&["--jars", "jars", "wrong.properties"], "streamName");
    let forced = world.start(&["--no-check", "wrong.properties"]);
    assert_eq!(forced.status.code(), Some(42));

    world.write(
        "warned.properties",
        &PROPERTIES.replace("shutdownGraceMillis", "#"),
    );
    let warned = world.start(&["warned.properties"]);
    assert!(text(&warned.stderr).contains("shutdownGraceMillis"));
    assert_eq!(warned.status.code(), Some(42));
}

#[test]
fn maven_fetches_what_is_not_there() {
    let world = World::new();
    world.program("bin/mvn", MAVEN);
    let fetched = world.launch(&["--fetch"]);
    assert!(fetched.status.success(), "{}", text(&fetched.stderr));
    let started = world.launch(&["kcl.properties"]);
    assert_eq!(started.status.code(), Some(42), "{}", text(&started.stderr));

    fs::remove_file(world.path("bin/mvn")).expect("removed");
    let again = world.launch(&["--fetch", "kcl.properties"]);
    assert_eq!(
        again.status.code(),
        Some(42),
        "what is there is not fetched again"
    );
    world.fails(&["--fetch", "--kcl", "2.5.4"], "no Maven");
    world.fails(
        &["--fetch", "--kcl", "2.5.4", "--jars", "jars"],
        "of KCL 3.1.3, not of 2.5.4",
    );
}

#[test]
fn maven_is_to_print_no_colours_and_keeps_the_options_that_it_has() {
    let world = World::new();
    let maven = format!("\necho \"told $* $MAVEN_OPTS.\"{MAVEN}");
    world.program("bin/mvn", &maven);
    let mut command = world.command(&["--fetch"]);
    let output = command.env("MAVEN_OPTS", "-Xmx1g").output();
    let stderr = text(&output.expect("started").stderr);
    assert!(stderr.contains("-Dstyle.color=never"), "{stderr}");
    assert!(stderr.contains(" -Xmx1g -Djansi.noreset=true."), "{stderr}");
}

#[test]
fn what_maven_leaves_half_done_is_never_taken_for_the_whole() {
    let world = World::new();
    world.program("bin/mvn", &format!("{MAVEN}\nexit 1"));
    world.fails(&["--fetch"], "Maven could not fetch");
    let parent = "home/.local/share/kclpipe";
    assert!(world.names(parent).is_empty(), "a failure cleans up");

    // Killed both, as by a machine that goes down.
    world.program("bin/mvn", &format!("{MAVEN}\nkill -9 $PPID"));
    let killed = world.launch(&["--fetch"]);
    assert_eq!(killed.status.signal(), Some(9));
    world.fails(&["kcl.properties"], "no jars in");

    world.program("bin/mvn", MAVEN);
    assert!(world.launch(&["--fetch"]).status.success());
    assert_eq!(world.names(parent), ["kcl-3.1.3"], "the next fetch sweeps");
}

#[test]
fn a_signal_is_javas_own() {
    let world = World::new();
    world.program("bin/java", "\nkill -TERM $$");
    let mut command = world.command(&["--jars", "jars", "kcl.properties"]);
    let output = command.process_group(0).output().expect("started");
    assert_eq!(output.status.signal(), Some(15));
}
