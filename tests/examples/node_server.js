// What examples/node_server.py is line by line: the manner of Node's documentation for tls.createServer().
'use strict';
const tls = require('tls');
const fs = require('fs');

const options = {
  key: fs.readFileSync('server-key.pem'),
  cert: fs.readFileSync('server-cert.pem'),
  requestCert: true,
  ca: [fs.readFileSync('client-cert.pem')],
};

const server = tls.createServer(options, (socket) => {
  console.log('server connected', socket.authorized ? 'authorized' : 'unauthorized');
  socket.write('welcome!\n');
  socket.setEncoding('utf8');
  socket.pipe(socket);
});

server.listen(Number(process.argv[2] ?? 8000), () => {
  console.log('server bound', server.address().port);
});
