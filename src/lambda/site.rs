//! The API over HTTP: each request becomes a call, which waits here for its response.

use std::io::{PipeWriter, Write};
use std::net::SocketAddr;
use std::sync::mpsc::{Sender, channel};

use super::call::{self, Call};
use super::peer::Peer;
use crate::http::{Bounds, Client, Request, Response, Site};

/// The longest response of a function's: more than Lambda takes, which is 6 MB.
const BODY: usize = 16 * 1024 * 1024;

/// What the server copes with. The function's processes have no limit of time: until it gets an event, and until it has
/// handled it, hours may pass.
pub(super) const BOUNDS: Bounds = Bounds {
    connections: 64,
    body: BODY,
    patience: None,
};

/// A call that waits for its response.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) call: Call,
    pub(super) client: Client,
    /// Where the response goes.
    pub(super) reply: Sender<Response>,
}

/// What serves the API.
#[derive(Debug)]
pub(super) struct Api {
    /// Where the server listens.
    pub(super) address: SocketAddr,
    /// The calls go there.
    pub(super) asked: Sender<Asked>,
    /// What wakes whoever takes them.
    pub(super) bell: PipeWriter,
}

impl Site for Api {
    fn admits(&self, peer: SocketAddr) -> bool {
        match Peer::at(peer, self.address, std::process::id()) {
            Peer::Descendant => true,
            Peer::Gone => false,
            Peer::Stranger => {
                super::say("refused a connection from a process that the function did not start");
                false
            }
        }
    }

    fn answer(&self, request: Request, client: &Client) -> Response {
        match Call::of(request) {
            Ok(call) => self.ask(call, client),
            Err(response) => response,
        }
    }

    fn refuses(&self, request: &Request, status: u16, client: &Client) {
        if let Some(call) = Call::unreadable(request.clone(), status) {
            self.ask(call, client);
        }
    }
}

impl Api {
    fn ask(&self, call: Call, client: &Client) -> Response {
        let (reply, answered) = channel();
        let asked = Asked {
            call,
            client: client.clone(),
            reply,
        };
        if self.asked.send(asked).is_err() {
            return call::ending();
        }
        // Where the bell has no room it rings already.
        let _ = (&self.bell).write(&[0]);
        answered.recv().unwrap_or_else(|_| call::ending())
    }
}
