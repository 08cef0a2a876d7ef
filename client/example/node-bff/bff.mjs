// A backend for frontends in Node. GET /events streams a signed-in person's live status to their browser.
//
//	npm ci && npm start      # beside "go run ./server dev"; then: curl -N -b person=user-42 http://127.0.0.1:8081/events
import { createServer } from 'node:http';
import { once } from 'node:events';
import { connect, watch } from './watch.mjs';

const { VERIFICATION_STATUS = '127.0.0.1:50051', PORT = '8081', PING_MS = '30000', HEARTBEAT_S = '5' } = process.env;
const client = connect(VERIFICATION_STATUS, { ping: Number(PING_MS) });

// signedIn returns the person of a request. Replace it by your site's own sign-in. The browser must never choose whose status it
// sees.
const signedIn = (request) => /(?:^|; )person=([\w-]{1,64})(?:;|$)/.exec(request.headers.cookie ?? '')?.[1];

// shown returns the fields of a verification that a browser may see. New fields of the contract stay private.
const shown = (v) => ({
  status: v.status, revision: v.revision, settled: v.settled,
  resolution: v.resolution && { kind: v.resolution.kind },
  lastError: v.last_error && { code: v.last_error.code, reason: v.last_error.reason },
  retry: v.retry && { allowed: v.retry.allowed, denial: v.retry.denial, retriesRemaining: v.retry.retries_remaining, overrideOpen: v.retry.override_open },
});

async function events(request, response) {
  const gone = new AbortController();
  response.on('close', () => gone.abort());
  response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache, no-transform', 'X-Accel-Buffering': 'no' });
  response.write('retry: 2000\n\n');
  const token = request.headers['last-event-id'] ?? '';
  // "live" follows each message of the service; "stale" means that the service cannot be reached. See the Go package client/sse.
  const onBreak = (error) => {
    console.error(`resuming: ${error.message}`);
    response.write('event: stale\ndata: {}\n\n');
  };
  const options = { token, heartbeat: Number(HEARTBEAT_S), signal: gone.signal, onBreak };
  for await (const update of watch(client, { client_reference_id: signedIn(request) }, options)) {
    const reset = update.reset ? 'event: reset\ndata: {}\n\n' : '';
    const status = update.verification ? `id: ${update.token}\nevent: status\ndata: ${JSON.stringify(shown(update.verification))}\n\n` : '';
    if (!response.write(`${reset}${status}id: ${update.token}\nevent: live\ndata: {}\n\n`)) await once(response, 'drain', { signal: gone.signal });
  }
}

const server = createServer((request, response) => {
  if (request.method !== 'GET' || request.url !== '/events') return response.writeHead(404).end();
  if (!signedIn(request)) return response.writeHead(401).end();
  events(request, response).then(() => response.end(), (error) => {
    console.error(`ended: ${error.message}`);
    // The browser reconnects by itself, without a token: the empty id drops an invalid one.
    response.end('event: reset\nid:\ndata: {}\n\n');
  });
});
server.listen(Number(PORT), '127.0.0.1', () => console.log(`listening on ${server.address().port}`));
process.once('SIGTERM', () => {
  server.close(() => client.close());
  server.closeAllConnections(); // the streams: browsers reconnect to another process
});
