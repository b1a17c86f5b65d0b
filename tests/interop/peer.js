// A foreign peer: `node peer.js client|server OPTIONS`, OPTIONS in JSON as tls.connect and tls.createServer take them.
// The client sends its standard input and writes what comes back to its standard output. The server writes its port there,
// serves one connection and sends back what comes. Both report on standard error, one line of JSON for each connection.
'use strict';

const tls = require('tls');

const [role, text] = process.argv.slice(2);
const options = JSON.parse(text);

function report(socket, error) {
  const line = JSON.stringify({
    protocol: socket.protocol,
    who: socket.who,
    alpn: socket.alpnProtocol || null,
    reused: Boolean(socket.reused),
    error: error ? error.code : '',
  });
  process.stderr.write(line + '\n');
}

// Node forgets these when the socket closes.
function note(socket) {
  const certificate = socket.getPeerCertificate();
  socket.protocol = socket.getProtocol();
  socket.reused = socket.isSessionReused();
  socket.who = certificate && certificate.subject ? certificate.subject.CN : null;
}

// One connection after the other, each with the newest session.
function client(input, [port, ...others], session) {
  let next = session;
  let failure = null;
  const socket = tls.connect({ ...options, host: '127.0.0.1', port, servername: 'localhost', session }, () => {
    note(socket);
    socket.end(input);
  });
  socket.on('session', (data) => { next = data; });
  socket.on('data', (chunk) => process.stdout.write(chunk));
  socket.on('error', (error) => { failure = error; });
  socket.on('close', () => {
    report(socket, failure);
    if (others.length > 0) client(input, others, next);
  });
}

function server() {
  const made = tls.createServer({ ...options, allowHalfOpen: true }, (socket) => {
    let failure = null;
    note(socket);
    socket.on('error', (error) => { failure = error; });
    socket.on('close', () => report(socket, failure));
    socket.pipe(socket);
    made.close();
  });
  made.on('tlsClientError', (error, socket) => { report(socket, error); made.close(); });
  made.listen(0, '127.0.0.1', () => process.stdout.write(`${made.address().port}\n`));
}

if (role === 'server') {
  server();
} else {
  const chunks = [];
  process.stdin.on('data', (chunk) => chunks.push(chunk));
  process.stdin.on('end', () => client(Buffer.concat(chunks), options.ports, undefined));
}
