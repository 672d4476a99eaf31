#!/usr/bin/env node
const finish = (error, reply) => {
    if (error) console.error(error);
    else console.log(JSON.stringify(reply ?? null));
    process.exit(error ? 1 : 0);
};
const event = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const reply = require('./index.js').handler(event, {}, finish);
const isPromise = typeof reply?.then === 'function';
if (isPromise) reply.then((reply) => finish(null, reply));
process.on('beforeExit', () => finish(isPromise && 'the promise was never settled', reply));
