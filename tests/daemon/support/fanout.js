'use strict'

// Enhanced fan-out on top of kinesalite, which has none: RegisterStreamConsumer, DescribeStreamConsumer and
// SubscribeToShard. What a subscription pushes is what GetRecords returns, in frames of AWS's event stream.
// At the end of a shard the last event names the children and has no place to go on from, and the subscription ends.

module.exports = { withFanOut }

// The service ends a subscription after five minutes, and the KCL subscribes anew. Here every test is to see that.
const SUBSCRIPTION_MS = 2000
const PAUSE_MS = 200
const RECORDS_PER_EVENT = 500

const JSON_TYPE = 'application/x-amz-json-1.1'
const TARGET = 'Kinesis_20131202.'

// A listener that answers these three operations, and leaves the others to LISTENER. URL() is kinesalite over HTTP/1.1.
function withFanOut(listener, url) {
  const consumers = new Map()
  const subscriptions = new Map()
  const operations = { RegisterStreamConsumer: register, DescribeStreamConsumer: describe, SubscribeToShard: subscribe }
  return (request, response) => {
    const operation = operations[(request.headers['x-amz-target'] || '').slice(TARGET.length)]
    if (!operation) return listener(request, response)
    body(request).then(input => operation(input, response)).catch(error => refuse(response, error))
  }

  async function register({ StreamARN, ConsumerName }, response) {
    const ConsumerARN = `${StreamARN}/consumer/${ConsumerName}:1`
    const consumer = { ConsumerARN, ConsumerName, ConsumerStatus: 'ACTIVE', ConsumerCreationTimestamp: Date.now() / 1000 }
    consumers.set(ConsumerARN, consumer)
    reply(response, 200, { Consumer: consumer })
  }

  async function describe({ StreamARN, ConsumerName, ConsumerARN = `${StreamARN}/consumer/${ConsumerName}:1` }, response) {
    const consumer = known(ConsumerARN)
    reply(response, 200, { ConsumerDescription: { ...consumer, StreamARN: ConsumerARN.split('/consumer/')[0] } })
  }

  // A consumer has one subscription to a shard: a new one ends the old one.
  async function subscribe({ ConsumerARN, ShardId, StartingPosition }, response) {
    known(ConsumerARN)
    const place = await begin(ConsumerARN.split('/')[1], ShardId, StartingPosition)
    const key = `${ConsumerARN} ${ShardId}`
    subscriptions.set(key, response)
    response.writeHead(200, { 'Content-Type': 'application/vnd.amazon.eventstream' })
    response.write(frame('initial-response', {}))
    const end = Date.now() + SUBSCRIPTION_MS
    while (place.iterator && Date.now() < end && subscriptions.get(key) === response && !response.destroyed) {
      response.write(frame('SubscribeToShardEvent', await next(place)))
      await new Promise(resolve => setTimeout(resolve, PAUSE_MS))
    }
    response.end()
  }

  function known(ConsumerARN) {
    if (consumers.has(ConsumerARN)) return consumers.get(ConsumerARN)
    throw Object.assign(new Error(`no consumer ${ConsumerARN}`), { type: 'ResourceNotFoundException' })
  }

  async function begin(StreamName, ShardId, { Type, SequenceNumber }) {
    const { Shards } = await kinesalite('ListShards', { StreamName })
    const shard = Shards.find(shard => shard.ShardId === ShardId)
    const { ShardIterator } = await kinesalite('GetShardIterator', {
      StreamName, ShardId, ShardIteratorType: Type, StartingSequenceNumber: SequenceNumber,
    })
    return { iterator: ShardIterator, last: SequenceNumber || shard.SequenceNumberRange.StartingSequenceNumber }
  }

  async function next(place) {
    const { Records, NextShardIterator, MillisBehindLatest, ChildShards } =
      await kinesalite('GetRecords', { ShardIterator: place.iterator, Limit: RECORDS_PER_EVENT })
    if (Records.length) place.last = Records[Records.length - 1].SequenceNumber
    place.iterator = NextShardIterator
    const ContinuationSequenceNumber = NextShardIterator ? place.last : undefined
    return { Records, ContinuationSequenceNumber, MillisBehindLatest, ChildShards }
  }

  async function kinesalite(operation, input) {
    const headers = {
      'Content-Type': JSON_TYPE, 'X-Amz-Target': TARGET + operation, 'X-Amz-Date': '20250101T000000Z',
      Authorization: 'AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/20250101/us-east-1/any/aws4_request, ' +
        'SignedHeaders=host, Signature=none',
    }
    const answer = await fetch(url(), { method: 'POST', headers, body: JSON.stringify(input) })
    const output = await answer.json()
    if (answer.ok) return output
    throw Object.assign(new Error(output.message), { type: output.__type })
  }
}

async function body(request) {
  const chunks = []
  for await (const chunk of request) chunks.push(chunk)
  return JSON.parse(Buffer.concat(chunks).toString())
}

function reply(response, status, output) {
  response.writeHead(status, { 'Content-Type': JSON_TYPE })
  response.end(JSON.stringify(output))
}

function refuse(response, error) {
  if (response.headersSent) return response.destroy()
  reply(response, error.type ? 400 : 500, { __type: error.type || 'InternalFailureException', message: error.message })
}

// Length of all, length of the headers, checksum of these two; headers; payload; checksum of all.
function frame(event, payload) {
  const headers = Buffer.concat([
    header(':message-type', 'event'), header(':event-type', event), header(':content-type', JSON_TYPE),
  ])
  const content = Buffer.from(JSON.stringify(payload))
  const prelude = Buffer.alloc(8)
  prelude.writeUInt32BE(8 + 4 + headers.length + content.length + 4, 0)
  prelude.writeUInt32BE(headers.length, 4)
  const message = Buffer.concat([prelude, checksum(prelude), headers, content])
  return Buffer.concat([message, checksum(message)])
}

// The name and a value of type 7, a string, each after its length.
function header(name, value) {
  const head = Buffer.from([name.length, ...Buffer.from(name), 7, 0, value.length])
  return Buffer.concat([head, Buffer.from(value)])
}

// CRC-32. Node's own, zlib.crc32, is not in every version.
function checksum(bytes) {
  let crc = ~0
  for (const byte of bytes) crc = (crc >>> 8) ^ TABLE[(crc ^ byte) & 0xff]
  const result = Buffer.alloc(4)
  result.writeUInt32BE(~crc >>> 0)
  return result
}

const TABLE = Int32Array.from({ length: 256 }, (_, index) => {
  let value = index
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1
  return value
})
