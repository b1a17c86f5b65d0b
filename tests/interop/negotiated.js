// A client that prints, as JSON, what it knows of one connection. argv: port, version, groups, the CA's certificate.
'use strict';
const tls = require('tls');
const [port, version, ecdhCurve, ca] = process.argv.slice(2);
const socket = tls.connect({ port, host: '127.0.0.1', servername: 'localhost', minVersion: version, maxVersion: version, ecdhCurve, ca }, () => {
  console.log(JSON.stringify({
    finished: socket.getFinished().toString('hex'),
    peerFinished: socket.getPeerFinished().toString('hex'),
    exported: socket.exportKeyingMaterial(128, 'EXPERIMENTAL parity').toString('hex'),
    exportedWithContext: socket.exportKeyingMaterial(32, 'EXPERIMENTAL parity', Buffer.from('context')).toString('hex'),
    exportedWithEmptyContext: socket.exportKeyingMaterial(32, 'EXPERIMENTAL parity', Buffer.alloc(0)).toString('hex'),
    key: socket.getEphemeralKeyInfo(),
    subjectaltname: socket.getPeerCertificate().subjectaltname,
    fingerprint256: socket.getPeerCertificate().fingerprint256,
    pubkey: socket.getPeerCertificate().pubkey.toString('hex'),
  }));
  socket.end();
});
socket.on('error', (error) => { console.error(error); process.exit(1); });
socket.resume();
