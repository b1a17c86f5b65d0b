// A Node that does as it is told. Each line of standard input is [number, call, ...arguments] in JSON, each line of standard
// output [number, result] or [number, null, error code]. One server and one socket at a time are kept. Bytes come as
// {"base64": "..."}, and leave as base64.
'use strict';

const tls = require('tls');
const net = require('net');
const { once } = require('events');
const { createInterface } = require('readline');

let kept = [];
let server = null;
let socket = null;
let lines = [];
let errors = [];
let input = Buffer.alloc(0);
let ended = false;
let sessions = [];
let chunks = [];
let responses = [];
let resumed = [];

const text = (buffer) => (buffer ? buffer.toString('base64') : null);
const plain = (value) => JSON.parse(JSON.stringify(value, (_name, one) => (one && one.type === 'Buffer' ? Buffer.from(one.data).toString('base64') : one)));

function chain(certificate) {
  const found = [];
  for (let one = certificate; one && one.subject && !found.includes(one.fingerprint256); one = one.issuerCertificate) found.push(one.fingerprint256);
  return found;
}

function keep(one) {
  kept.push(one);
  return one;
}

function take(made) {
  socket = keep(made);
  const on = (event, note) => made.on(event, (...given) => {
    if (made === socket) note(...given); // what an earlier one still tells is of no interest
    made.emit('news');
  });
  on('data', (chunk) => { input = Buffer.concat([input, chunk]); chunks.push(chunk.length); });
  on('end', () => { ended = true; });
  on('close', () => { ended = true; });
  on('session', (data) => { sessions.push(data); });
  on('OCSPResponse', (response) => { responses.push(text(response)); });
  on('error', (error) => { errors.push(error.code || String(error)); });
}

async function until(done) {
  while (!done()) await once(socket, 'news');
}

const calls = {
  async listen(options, { path, contexts = {}, starttls = false, response, echo = false, greet = false, store = false } = {}) {
    const made = keep(tls.createServer(options));
    server = made;
    made.on('secureConnection', (accepted) => {
      resumed.push(accepted.isSessionReused());
      if (echo) accepted.pipe(accepted);
      if (greet) accepted.once('data', () => accepted.end(accepted.isSessionReused() ? 'resumed' : 'new'));
      take(accepted);
      made.emit('news');
    });
    if (store) {
      const known = new Map();
      made.on('newSession', (id, data, done) => { known.set(id.toString('hex'), data); done(); });
      made.on('resumeSession', (id, done) => done(null, known.get(id.toString('hex')) || null));
    }
    made.on('tlsClientError', (error) => { if (made === server) errors.push(error.code); made.emit('news'); });
    made.on('keylog', (line) => lines.push(line.toString()));
    if (response) made.on('OCSPRequest', (_certificate, _issuer, answer) => answer(null, response));
    for (const [name, context] of Object.entries(contexts)) made.addContext(name, context);
    const below = starttls ? keep(net.createServer((plainSocket) => {
      keep(plainSocket).once('data', () => {
        plainSocket.write('go ahead\n', () => {
          const upgraded = new tls.TLSSocket(plainSocket, { isServer: true, secureContext: tls.createSecureContext(options) });
          upgraded.on('secure', () => { take(upgraded); made.emit('news'); });
        });
      });
    })) : made;
    below.listen(path ? { path } : { port: 0, host: '127.0.0.1' });
    await once(below, 'listening');
    return path ? null : below.address().port;
  },

  async accepted() {
    while (socket === null && errors.length === 0) await once(server, 'news');
    if (socket === null) throw Object.assign(new Error(), { code: errors[0] });
    return calls.facts();
  },

  async failed() {
    while (errors.length === 0) await once(server, 'news');
    return errors[0];
  },

  async connect(options, { starttls = false } = {}) {
    const given = { host: options.path ? undefined : '127.0.0.1', ...options };
    if (starttls) {
      const below = keep(net.connect({ port: options.port, host: '127.0.0.1' }));
      below.write('please\n');
      await once(below, 'data');
      given.socket = below;
    }
    const made = tls.connect(given);
    made.on('keylog', (line) => lines.push(line.toString()));
    take(made);
    await once(made, 'secureConnect');
    return calls.facts();
  },

  facts() {
    const peer = socket.getPeerCertificate(true);
    return plain({
      protocol: socket.getProtocol(),
      cipher: socket.getCipher().standardName,
      alpn: socket.alpnProtocol || null,
      servername: socket.servername || null,
      authorized: socket.authorized,
      authorizationError: socket.authorizationError || null,
      chain: chain(peer),
      subject: peer && peer.subject ? { ...peer.subject } : null,
      finished: text(socket.getFinished()),
      peerFinished: text(socket.getPeerFinished()),
      exported: [undefined, Buffer.alloc(0), Buffer.from('context')].map((one) => text(socket.exportKeyingMaterial(128, 'EXPERIMENTAL parity', one))),
      key: socket.getEphemeralKeyInfo(),
      reused: socket.isSessionReused(),
    });
  },

  certificate() {
    const { issuerCertificate, ...rest } = socket.getPeerCertificate(true);
    return plain(rest);
  },

  write(data) { socket.write(data); },
  end(data) { socket.end(data); },
  async read(size) { await until(() => input.length >= size || ended); const got = input.subarray(0, size); input = input.subarray(size); return got.toString(); },
  async rest() { await until(() => ended); return input.toString(); },
  chunks: () => chunks,
  lines: () => lines,
  responses: () => responses,
  resumed: () => resumed,
  setTicketKeys(keys) { server.setTicketKeys(keys); },
  async error() { await until(() => errors.length > 0); return errors[0]; },
  setMaxSendFragment: (size) => socket.setMaxSendFragment(size),
  renegotiate: (options) => new Promise((resolve, reject) => {
    if (!socket.renegotiate(options, (error) => (error ? reject(error) : resolve(true)))) resolve(false);
    socket.once('close', () => resolve('closed'));
  }),
  async session() { await until(() => sessions.length > 0); return text(sessions.at(-1)); },
  check(table) {
    return table.map(([host, subject, subjectaltname]) => {
      try {
        const error = tls.checkServerIdentity(host, { subject, ...(subjectaltname === null ? {} : { subjectaltname }) });
        return error ? error.reason : 'OK';
      } catch (error) {
        return error.code;
      }
    });
  },

  refuse(options) {
    try {
      tls.createSecureContext(options);
      return null;
    } catch (error) {
      return error.code;
    }
  },

  forget() { socket = null; },

  release: () => Number(process.versions.node.split('.')[0]),

  async reset() {
    for (const one of kept) (one.close && !one.destroy ? one.close() : one.destroy());
    [kept, server, socket, lines, errors, input] = [[], null, null, [], [], Buffer.alloc(0)];
    [ended, sessions, chunks, responses, resumed] = [false, [], [], [], []];
  },
};

createInterface({ input: process.stdin }).on('line', async (line) => {
  const [number, call, ...given] = JSON.parse(line, (_name, one) => (one && one.base64 !== undefined ? Buffer.from(one.base64, 'base64') : one));
  let answer;
  try {
    answer = [number, (await calls[call](...given)) ?? null];
  } catch (error) {
    answer = [number, null, error.code || String(error)];
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}).on('close', () => process.exit());
