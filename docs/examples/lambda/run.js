#!/usr/bin/env node
require('./index.js').handler(JSON.parse(require('fs').readFileSync(0, 'utf8')), {})
    .then((reply) => { console.log(JSON.stringify(reply ?? null)); process.exit(); });
