// A web site by http and https, and a proxy that asks for a password; prints their ports, and each request as a line of JSON.
'use strict';
const http = require('http');
const https = require('https');
const net = require('net');
const { cert, key } = JSON.parse(require('fs').readFileSync(0));

const tell = (entry) => console.log(JSON.stringify(entry));

function site(kind) {
  return (request, response) => {
    const parts = [];
    request.on('data', (part) => parts.push(part));
    request.on('end', () => {
      const body = Buffer.concat(parts);
      tell([kind, request.method, request.url, request.headers, body.toString(), request.socket.remotePort]);
      if (request.url.startsWith('/to?')) {
        const [status, place] = request.url.slice(4).split(',');
        response.writeHead(Number(status), { Location: decodeURIComponent(place) });
        return response.end('moved');
      }
      response.setHeader('Replay-Nonce', 'n1');
      response.setHeader('Link', ['<a>;rel="up"', '<b>;rel="index"']);
      if (request.url === '/chunks') {
        response.write('hel');
        return setImmediate(() => response.end('lo'));
      }
      if (request.url === '/missing') response.statusCode = 404;
      response.end(body.length ? body : 'hello');
    });
  };
}

const proxy = http.createServer((request, response) => {
  tell(['proxy', request.method, request.url, request.headers]);
  if (request.headers['proxy-authorization'] !== 'Basic ' + Buffer.from('me:pass word').toString('base64')) {
    response.writeHead(407, { 'Proxy-Authenticate': 'Basic' });
    return response.end('who are you?');
  }
  const forwarded = http.request(request.url, { method: request.method, headers: request.headers }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  request.pipe(forwarded);
});
proxy.on('connect', (request, socket) => {
  tell(['proxy', request.method, request.url, request.headers]);
  if (request.headers['proxy-authorization'] !== 'Basic ' + Buffer.from('me:pass word').toString('base64')) {
    return socket.end('HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 3\r\n\r\nwho');
  }
  const beyond = net.connect(new URL('http://' + request.url).port, '127.0.0.1', () => {
    socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
    beyond.pipe(socket).pipe(beyond);
  });
  for (const one of [beyond, socket]) one.on('error', () => { beyond.destroy(); socket.destroy(); });
});

const servers = [http.createServer(site('http')), https.createServer({ cert, key }, site('https')), proxy];
let left = servers.length;
for (const server of servers) {
  server.keepAliveTimeout = 0; // none
  server.listen(0, '127.0.0.1', () => --left || tell(servers.map((one) => one.address().port)));
}
