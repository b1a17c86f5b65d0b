// Node with a pre-shared key: `node psk.js client|server OPTIONS`, OPTIONS in JSON as tls.connect and tls.createServer take them,
// with identity and psk (in hex) besides. The client sends its standard input and writes what comes back to its standard output.
// The server writes its port there, serves one connection and sends back what comes. Both report one line of JSON on standard error.
'use strict';

const tls = require('tls');

const [role, text] = process.argv.slice(2);
const { identity, psk, ...options } = JSON.parse(text);
const key = Buffer.from(psk, 'hex');
let given = null;

function report(socket, error) {
  const seen = { given, authorized: socket.authorized, reused: socket.reused, cipher: socket.suite, error: error ? error.code : '' };
  process.stderr.write(`${JSON.stringify(seen)}\n`);
}

// Node forgets these when the socket closes.
function note(socket) {
  socket.reused = socket.isSessionReused();
  socket.suite = socket.getCipher().name;
}

function server() {
  const made = tls.createServer({ ...options, allowHalfOpen: true, pskCallback }, (socket) => {
    note(socket);
    socket.on('close', () => report(socket, null));
    socket.on('error', () => {});
    socket.pipe(socket);
    made.close();
  });
  function pskCallback(_socket, who) {
    given = who;
    return who === identity ? key : null;
  }
  made.on('tlsClientError', (error, socket) => { report(socket, error); made.close(); });
  made.listen(0, '127.0.0.1', () => process.stdout.write(`${made.address().port}\n`));
}

function client(input) {
  let failure = null;
  const pskCallback = (hint) => { given = hint; return { identity, psk: key }; };
  // Node's documentation wants the check to be replaced: by default it looks for a certificate.
  const socket = tls.connect({ ...options, host: '127.0.0.1', pskCallback, checkServerIdentity() {} }, () => {
    note(socket);
    socket.end(input);
  });
  socket.on('data', (chunk) => process.stdout.write(chunk));
  socket.on('error', (error) => { failure = error; });
  socket.on('close', () => report(socket, failure));
}

if (role === 'server') {
  server();
} else {
  const chunks = [];
  process.stdin.on('data', (chunk) => chunks.push(chunk));
  process.stdin.on('end', () => client(Buffer.concat(chunks)));
}
