// A client on Node's http2: makes the requests of test_real_peers.py and prints what came back, as one JSON object.
'use strict';

const crypto = require('crypto');
const fs = require('fs');
const http2 = require('http2');

const [url, ca] = process.argv.slice(2);
const session = http2.connect(url, { ca: fs.readFileSync(ca) });

function request(headers, body) {
  return new Promise((resolve, reject) => {
    const stream = session.request(headers, { endStream: body === undefined });
    const seen = { hints: [], size: 0, hash: crypto.createHash('sha256') };
    stream.on('headers', (informational) => seen.hints.push([informational[':status'], informational.link]));
    stream.on('response', (response) => { seen.status = response[':status']; seen.length = response['content-length']; });
    stream.on('trailers', (trailers) => { seen.trailers = { ...trailers }; });
    stream.on('data', (data) => { seen.size += data.length; seen.hash.update(data); });
    stream.on('error', reject);
    stream.on('close', () => resolve({ ...seen, hash: seen.hash.digest('hex'), code: stream.rstCode }));
    if (body !== undefined) stream.end(body);
  });
}

// One masked frame of RFC 6455, section 5.2, with less than 126 bytes.
function frame(opcode, payload) {
  const mask = crypto.randomBytes(4);
  const masked = payload.map((byte, index) => byte ^ mask[index % 4]);
  return Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | payload.length]), mask, masked]);
}

function websocket() {
  return new Promise((resolve, reject) => {
    const stream = session.request({
      ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/chat', 'sec-websocket-version': '13', 'sec-websocket-protocol': 'chat',
    });
    const seen = { received: [] };
    let data = Buffer.alloc(0);
    stream.on('response', (response) => {
      seen.status = response[':status'];
      seen.protocol = response['sec-websocket-protocol'];
      stream.write(frame(1, Buffer.from('hello')));
    });
    stream.on('data', (chunk) => {
      data = Buffer.concat([data, chunk]);
      while (data.length >= 2 && data.length >= 2 + data[1]) {
        const [opcode, payload] = [data[0] & 0xf, data.subarray(2, 2 + data[1])];
        data = data.subarray(2 + data[1]);
        seen.received.push([opcode, opcode === 8 ? payload.readUInt16BE() : payload.toString()]);
        if (opcode === 1) stream.write(frame(8, Buffer.from([0x0f, 0xa0])));
      }
    });
    stream.on('end', () => { seen.ended = true; });
    stream.on('error', reject);
    stream.on('close', () => resolve({ ...seen, code: stream.rstCode }));
  });
}

session.on('remoteSettings', async (settings) => {
  const body = Buffer.alloc(3_000_000, 'abcdefg');
  const result = { enableConnectProtocol: settings.enableConnectProtocol };
  [result.get, result.head, result.echo, result.hint, result.trailers, result.early, result.websocket] = await Promise.all([
    request({ ':path': '/hello' }),
    request({ ':path': '/hello', ':method': 'HEAD' }),
    request({ ':path': '/echo', ':method': 'POST' }, body),
    request({ ':path': '/hint' }),
    request({ ':path': '/trailers' }),
    request({ ':path': '/early', ':method': 'POST' }, body),
    websocket(),
  ]);
  result.echo.same = result.echo.hash === crypto.createHash('sha256').update(body).digest('hex');
  session.close(() => console.log(JSON.stringify(result)));
});
