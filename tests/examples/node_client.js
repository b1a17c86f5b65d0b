// What examples/node_client.py is line by line: the manner of Node's documentation for tls.connect().
'use strict';
const tls = require('tls');
const fs = require('fs');

const options = {
  key: fs.readFileSync('client-key.pem'),
  cert: fs.readFileSync('client-cert.pem'),
  ca: [fs.readFileSync('server-cert.pem')],
  checkServerIdentity: () => null,
};

const socket = tls.connect(Number(process.argv[2] ?? 8000), options, () => {
  console.log('client connected', socket.authorized ? 'authorized' : 'unauthorized');
  process.stdin.pipe(socket);
  process.stdin.resume();
});
socket.setEncoding('utf8');
socket.on('data', (data) => process.stdout.write(data));
socket.on('end', () => console.log('server ends connection'));
