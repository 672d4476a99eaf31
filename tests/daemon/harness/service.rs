//! A client for the two services: one JSON request per connection, which is all that they need.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

/// Neither server checks the signature, but both want to see one.
const SIGNATURE: &str = "AWS4-HMAC-SHA256 \
    Credential=AKIAEXAMPLE/20250101/us-east-1/any/aws4_request, \
    SignedHeaders=host, Signature=none";

/// One of the two services, at its loopback address.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    /// `http://HOST:PORT`, as the daemon wants it.
    pub(crate) url: String,
    target: &'static str,
    content_type: &'static str,
}

impl Service {
    /// Kinesis at this URL.
    pub(crate) fn kinesis(url: &str) -> Self {
        Self {
            url: url.into(),
            target: "Kinesis_20131202",
            content_type: "application/x-amz-json-1.1",
        }
    }

    /// DynamoDB at this URL.
    pub(crate) fn dynamodb(url: &str) -> Self {
        Self {
            url: url.into(),
            target: "DynamoDB_20120810",
            content_type: "application/x-amz-json-1.0",
        }
    }

    /// Makes a request that must succeed.
    #[track_caller]
    pub(crate) fn call(&self, operation: &str, body: &Value) -> Value {
        self.try_call(operation, body)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Makes a request, and says why it failed.
    pub(crate) fn try_call(&self, operation: &str, body: &Value) -> Result<Value, String> {
        match self.post(operation, &body.to_string()) {
            Ok((200, reply)) => Ok(serde_json::from_str(&reply).unwrap_or(Value::Null)),
            Ok((_, reply)) => Err(format!("{operation} failed: {reply}")),
            Err(error) => Err(format!(
                "{operation}: the service cannot be reached: {error}"
            )),
        }
    }

    /// Speaks HTTP/1.0, so that the reply is neither chunked nor followed by another.
    fn post(&self, operation: &str, body: &str) -> std::io::Result<(u16, String)> {
        let address = self.url.trim_start_matches("http://");
        let head = format!(
            "POST / HTTP/1.0\r\n\
             Host: {address}\r\n\
             Content-Type: {}\r\n\
             Content-Length: {}\r\n\
             X-Amz-Target: {}.{operation}\r\n\
             X-Amz-Date: 20250101T000000Z\r\n\
             Authorization: {SIGNATURE}\r\n\r\n",
            self.content_type,
            body.len(),
            self.target,
        );
        let mut connection = TcpStream::connect(address)?;
        connection.write_all(head.as_bytes())?;
        connection.write_all(body.as_bytes())?;
        let mut reply = String::new();
        connection.read_to_string(&mut reply)?;
        let (head, body) = reply.split_once("\r\n\r\n").expect("a reply has a head");
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|word| word.parse().ok())
            .expect("a head has a status");
        Ok((status, body.into()))
    }
}
