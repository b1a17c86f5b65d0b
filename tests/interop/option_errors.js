// Calls one function of tls with each of some options, read as JSON lines of [function, options]; prints the codes of what they throw.
'use strict';
const tls = require('tls');
const lines = require('fs').readFileSync(0, 'utf8').trim().split('\n').map((line) => JSON.parse(line));

// JSON has neither functions nor bytes: {"function": 1} and {"bytes": "00ff"} stand for them.
function revive(value) {
  if (value === null || typeof value !== 'object') return value;
  if ('function' in value) return () => {};
  if ('bytes' in value) return Buffer.from(value.bytes, 'hex');
  if (Array.isArray(value)) return value.map(revive);
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, revive(one)]));
}

function codeOf(what, options) {
  try {
    if (what === 'context') tls.createSecureContext(options);
    else if (what === 'server') tls.createServer(options);
    else tls.connect({ port: 1, host: '127.0.0.1', ...options }).on('error', () => {}).destroy();
    return null;
  } catch (error) {
    return error.code || 'no code';
  }
}

console.log(JSON.stringify(lines.map(([what, options]) => codeOf(what, revive(options)))));
process.exit(0);
