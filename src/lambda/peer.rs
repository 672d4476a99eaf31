//! Who has made a connection. Everything on this machine can reach the API, and in a pod all of it has one user: only
//! the function's own processes may speak for it.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

/// How often the processes are looked at. The list that the kernel makes of a process's children may miss one while
/// another ends.
const LOOKS: usize = 3;

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// The process that was asked about, or one that descends from it. What a process started and left becomes the
    /// child of its subreaper, so it descends from that.
    Descendant,
    Stranger,
    /// It has closed the connection by now.
    Gone,
}

impl Peer {
    /// Who is at `address` and connected to `server`, seen from the process `ancestor`.
    pub(super) fn at(address: SocketAddr, server: SocketAddr, ancestor: u32) -> Peer {
        let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
        let tables = tables.map(|table| fs::read_to_string(table).unwrap_or_default());
        let inode = tables
            .iter()
            .find_map(|table| inode(table, address, server));
        // A socket that no process has is none of a file system's.
        let Some(inode) = inode.filter(|inode| *inode != "0") else {
            return Peer::Gone;
        };
        let socket = format!("socket:[{inode}]");
        let holds = |pid: &u32| has_open(*pid, &socket);
        match (0..LOOKS).any(|_| descendants(ancestor).iter().any(holds)) {
            true => Peer::Descendant,
            false => Peer::Stranger,
        }
    }
}

/// The socket whose own address is `local` and whose other end is `remote`, in a table of the kernel's.
fn inode(table: &str, local: SocketAddr, remote: SocketAddr) -> Option<&str> {
    let (local, remote) = (written(local)?, written(remote)?);
    let mut rows = table.lines().map(str::split_ascii_whitespace);
    rows.find_map(|mut row| {
        // A number comes before the two addresses, and six other columns after them.
        let is_it = row.nth(1)?.ends_with(&local) && row.next()?.ends_with(&remote);
        is_it.then(|| row.nth(6))?
    })
}

/// An address as the kernel's tables have it, which ends in the same way where it is mapped into IPv6.
fn written(address: SocketAddr) -> Option<String> {
    let ip: Ipv4Addr = match address.ip() {
        IpAddr::V4(ip) => ip,
        IpAddr::V6(ip) => ip.to_ipv4_mapped()?,
    };
    let word = u32::from_ne_bytes(ip.octets());
    Some(format!("{word:08X}:{:04X}", address.port()))
}

/// A process and all that descend from it.
fn descendants(ancestor: u32) -> Vec<u32> {
    let mut found = vec![ancestor];
    let mut looked_at = 0;
    while let Some(&pid) = found.get(looked_at) {
        found.extend(children(pid));
        looked_at += 1;
    }
    found
}

/// The children of all threads of a process.
fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    let threads = threads.into_iter().flatten().flatten();
    let lists =
        threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let pids = |list: String| {
        list.split_whitespace()
            .flat_map(str::parse)
            .collect::<Vec<_>>()
    };
    lists.flat_map(pids).collect()
}

fn has_open(pid: u32, socket: &str) -> bool {
    let files = fs::read_dir(format!("/proc/{pid}/fd"));
    let mut files = files.into_iter().flatten().flatten();
    files.any(|file| fs::read_link(file.path()).is_ok_and(|to| to == Path::new(socket)))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_row_of_the_table_is_found_by_both_ends() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 11 1 0 100 0 0 10 0
   1: 0100007F:1F90 0100007F:D431 01 00000000:00000000 00:00000000 00000000  1000        0 22 1 0 20 4 30 10 -1
   2: 0000000000000000FFFF00000100007F:D431 0000000000000000FFFF00000100007F:1F90 01 0:0 00:0 0 1000 0 33 1 0 20
";
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let (client, server) = (address(0xd431), address(0x1f90));
        assert_eq!(inode(table, client, server), Some("33"));
        assert_eq!(inode(table, server, client), Some("22"));
        assert_eq!(inode(table, address(1), server), None);
    }

    #[test]
    fn a_process_may_connect_for_its_ancestors_and_for_nobody_else() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let server = listener.local_addr().expect("an address");
        let client = TcpStream::connect(server).expect("connected");
        let peer = client.local_addr().expect("an address");
        let own = std::process::id();
        assert_eq!(Peer::at(peer, server, own), Peer::Descendant);
        let mut other = Command::new("cat");
        let mut other = other.stdin(Stdio::piped()).spawn().expect("started");
        assert_eq!(Peer::at(peer, server, other.id()), Peer::Stranger);
        assert!(descendants(std::process::id()).contains(&other.id()));
        drop(client);
        assert_eq!(Peer::at(peer, server, own), Peer::Gone);
        drop(other.stdin.take());
        other.wait().expect("ended");
    }
}
