//! Integration tests, one program.

/// `kclpipe check`, a properties file for each mistake.
mod check;
/// The command line, its other two sources, and the log.
mod cli;
/// Completions, typed in each shell.
mod completions;
/// The files of docs/container/.
mod container;
/// Deaths at random moments, while records are held over several reads.
mod deaths;
#[path = "../dockerfile.rs"]
mod dockerfile;
/// What README and docs/ say, held against the program.
mod docs;
mod emf;
/// The recipes of docs/recipes.md.
mod examples;
/// What goes wrong around handlers, and on the daemon's side.
mod failure;
mod filter;
/// The built program between a scripted daemon and scripted handlers.
mod harness;
/// `kclpipe init`, up to what a check and replay make of its files.
mod init;
/// Several handlers at a time.
mod jobs;
/// `kclpipe lambda`, with a function that is this program.
mod lambda;
/// `kclpipe launch`, with stand-ins for Java and Maven.
mod launch;
/// Limits for a machine, and for a shard.
mod limits;
/// What is there for people at a terminal: the manual page, help, first steps.
mod people;
/// One handler process per batch.
mod per_batch;
mod per_event;
/// One handler process per record.
mod per_record;
/// One handler process for the lease.
mod per_shard;
/// A handler pool with real handlers and no daemon.
mod pool;
/// Records that are held over several reads.
mod read_ahead;
/// `kclpipe replay`, and children that break the daemon's rules.
mod redrive;
mod replay;
/// What is told of a lease: metrics, the line that sums up, levels.
mod reporting;
/// What no death, rotation, lock or full disk may break.
mod safe;
/// The commands beside the handlers: what takes dead letters, and the hook.
mod sidecars;
/// What holds up its shard, and how that is seen.
mod standstill;
/// `kclpipe status`.
mod status;
/// The repository checks itself.
mod tidy;
/// Whole conversations with the daemon, without a process.
mod transcript;
/// Replay's daemon as a value: in one thread, and in a time of its own.
mod virtual_daemon;
mod words;
