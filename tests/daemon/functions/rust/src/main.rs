//! The function with the crate lambda_runtime, as a bootstrap.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(service_fn(handle)).await
}

async fn handle(event: LambdaEvent<Value>) -> Result<Value, Error> {
    let mut large = 0;
    for record in event.payload["Records"].as_array().ok_or("no records")? {
        let kinesis = &record["kinesis"];
        let data = STANDARD.decode(kinesis["data"].as_str().unwrap_or_default())?;
        let text = String::from_utf8(data)?;
        let (word, number) = text.split_once(' ').unwrap_or((&text, ""));
        match word {
            "partial" => {
                let failed = json!({ "itemIdentifier": kinesis["sequenceNumber"] });
                return Ok(json!({ "batchItemFailures": [failed] }));
            }
            "raise" => return Err("it cannot be handled".into()),
            "exit" => std::process::exit(0),
            "hang" => tokio::time::sleep(Duration::from_secs(1000)).await,
            "large" => large = number.split(' ').next().unwrap_or_default().parse()?,
            _ => {}
        }
        done(&text)?;
    }
    Ok(json!({ "batchItemFailures": [], "large": "x".repeat(large) }))
}

fn done(text: &str) -> Result<(), Error> {
    let journal = std::env::var("JOURNAL")?;
    let mut journal = OpenOptions::new().append(true).create(true).open(journal)?;
    let line = format!("{} {text}\n", std::process::id());
    Ok(journal.write_all(line.as_bytes())?)
}
