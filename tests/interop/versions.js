// Node's half of a table: `node versions.js server|client TABLE`, TABLE in JSON: {common, rows}, each row some options.
// The server listens for each row and writes all ports as one line, a code in place of a port where the options are refused;
// it ends with its standard input. The client connects for each row and writes what it came to: a version, or a code.
'use strict';

const tls = require('tls');
const { once } = require('events');

const [role, text] = process.argv.slice(2);
const { common, rows } = JSON.parse(text);

async function listen(options) {
  try {
    const server = tls.createServer({ ...common, ...options }, (socket) => socket.on('error', () => {}).end());
    server.on('tlsClientError', () => {});
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return server.address().port;
  } catch (error) {
    return error.code;
  }
}

async function connect(options) {
  try {
    const socket = tls.connect({ ...common, ...options, host: '127.0.0.1', servername: 'localhost' });
    socket.on('error', () => {});
    await once(socket, 'secureConnect');
    const version = socket.getProtocol();
    socket.destroy();
    return version;
  } catch (error) {
    return error.code;
  }
}

async function main() {
  const found = [];
  for (const row of rows) found.push(await (role === 'server' ? listen : connect)(row));
  console.log(JSON.stringify(found));
  if (role === 'server') process.stdin.resume().on('end', () => process.exit());
}

main();
