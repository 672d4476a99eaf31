'use strict'

// Kinesis for the daemon tests: kinesalite on two free ports of the loopback interface, one for HTTP/1.1
// (the tests, KCL 1.x) and one for HTTP/2 with prior knowledge, the only HTTP that KCL 2 and 3 speak.
//
// usage: node kinesis.js DIRECTORY     where DIRECTORY/node_modules/kinesalite is
//
// Prints {"http": URL, "http2": URL} when it is ready and ends with its standard input, so it cannot outlive the tests.
// What kinesalite lacks of the real service, and the tests need, is added in memory; its files are not touched.

const crypto = require('crypto')
const fs = require('fs')
const http2 = require('http2')
const Module = require('module')
const path = require('path')

const { withFanOut } = require('./fanout')

const MIB = 1024 * 1024
const LARGEST_RECORD = 10 * MIB
// A record of 10 MiB in base64, and the JSON around it.
const LARGEST_REQUEST = 16 * MIB
// What one GetRecords returns at most, unless its first record is larger.
const LARGEST_REPLY = 10 * MIB

const home = path.resolve(process.argv[2], 'node_modules', 'kinesalite')
const db = require(path.join(home, 'db'))

allowLargeRecords()
wrapAction('getRecords', likeTheService)
wrapAction('getShardIterator', withMilliseconds)
serve(loadKinesalite())

// Kinesis streams may be configured for records of up to 10 MiB; kinesalite knows only the default, 1 MiB.
function allowLargeRecords() {
  const types = request => require(path.join(home, 'validations', request)).types
  types('putRecord').Data.lengthLessThanOrEqual = LARGEST_RECORD
  types('putRecords').Records.children.children.Data.lengthLessThanOrEqual = LARGEST_RECORD
}

// kinesalite takes its actions from the module cache: what is put there first is what it serves.
function wrapAction(name, wrapper) {
  const file = require.resolve(path.join(home, 'actions', name))
  const original = require(file)
  require.cache[file].exports = wrapper(original)
}

// The first SDK sends a time in milliseconds, which the service takes; kinesalite takes all times for seconds.
function withMilliseconds(getShardIterator) {
  const latest = 1e11
  return (store, request, reply) => {
    if (request.Timestamp > latest) request.Timestamp /= 1000
    getShardIterator(store, request, reply)
  }
}

function likeTheService(getRecords) {
  return (store, request, reply) => getRecords(store, request, (error, response) => {
    if (error) return reply(error)
    const [, stream, shard] = decodeIterator(request.ShardIterator)
    capReply(response, stream, shard)
    if (response.NextShardIterator !== undefined) return reply(null, response)
    addChildShards(store, response, stream, shard, reply)
  })
}

// An iterator is "time/stream/shard/sequence number/padding", encrypted after eight bytes of version.
function decodeIterator(iterator) {
  const decipher = crypto.createDecipheriv('aes-256-cbc', db.ITERATOR_PWD_KEY, db.ITERATOR_PWD_IV)
  const encrypted = Buffer.from(iterator, 'base64').subarray(8)
  return Buffer.concat([decipher.update(encrypted), decipher.final()]).toString().split('/')
}

// Leaves for the next call what does not fit this one, as the service does.
function capReply(response, stream, shard) {
  let bytes = 0
  const fits = response.Records.findIndex((record, index) => {
    bytes += Buffer.byteLength(record.Data, 'base64') + Buffer.byteLength(record.PartitionKey)
    return bytes > LARGEST_REPLY && index > 0
  })
  if (fits === -1) return
  response.Records.length = fits
  const last = db.parseSequence(response.Records[fits - 1].SequenceNumber)
  response.NextShardIterator = db.createShardIterator(stream, shard, db.incrementSequence(last))
  response.MillisBehindLatest = 1000
}

// The last reply of a closed shard names its children. Without them KCL takes the end of a shard for an error.
function addChildShards(store, response, stream, shard, reply) {
  store.getStream(stream, (error, description) => {
    if (error) return reply(error)
    response.ChildShards = description.Shards
      .map(child => ({
        ShardId: child.ShardId,
        ParentShards: [child.ParentShardId, child.AdjacentParentShardId].filter(Boolean),
        HashKeyRange: child.HashKeyRange,
      }))
      .filter(child => child.ParentShards.includes(shard))
    reply(null, response)
  })
}

// The limit of a request is a constant inside kinesalite's index.js, so that file is loaded with another one.
function loadKinesalite() {
  const file = path.join(home, 'index.js')
  const source = fs.readFileSync(file, 'utf8')
  const changed = source.replace('MAX_REQUEST_BYTES = 7 * 1024 * 1024', `MAX_REQUEST_BYTES = ${LARGEST_REQUEST}`)
  if (changed === source) throw new Error(`${file} has no MAX_REQUEST_BYTES to change`)
  const kinesalite = new Module(file, module)
  kinesalite.filename = file
  kinesalite.paths = Module._nodeModulePaths(home)
  kinesalite._compile(changed, file)
  return kinesalite.exports
}

function serve(kinesalite) {
  const http1 = kinesalite({ createStreamMs: 20, updateStreamMs: 20, shardLimit: 1000 })
  const url = server => `http://127.0.0.1:${server.address().port}`
  const second = http2.createServer(withFanOut(http1.listeners('request')[0], () => url(http1)))
  http1.listen(0, '127.0.0.1', () => second.listen(0, '127.0.0.1', () => {
    console.log(JSON.stringify({ http: url(http1), http2: url(second) }))
  }))
}

process.stdin.resume().on('end', () => process.exit(0))

// kinesalite throws when a client is killed in the middle of a request, which the tests do for a living.
process.on('uncaughtException', error => {
  const clientIsGone = error.message === 'aborted' || ['ECONNRESET', 'ERR_HTTP2_STREAM_ERROR'].includes(error.code)
  if (clientIsGone) return
  console.error(error)
  process.exit(1)
})
