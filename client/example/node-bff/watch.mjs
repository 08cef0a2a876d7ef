// watch follows a status of verification-status over gRPC and goes on by itself, whatever breaks.
import grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';

const api = fileURLToPath(new URL('../../../api', import.meta.url)); // copy the proto beside your code
const definition = loadSync('verification/v1/verification.proto', { includeDirs: [api], keepCase: true, enums: String, longs: Number });
const { VerificationService } = grpc.loadPackageDefinition(definition).verification.v1;

// connect does not wait; one client is enough for a program. The pings notice a connection whose other end
// has gone without a word. The server allows them every 5 s, other servers and proxies often less: too many
// are answered with ENHANCE_YOUR_CALM, and the connection ends.
export function connect(target, { credentials = grpc.credentials.createInsecure(), ping = 30_000 } = {}) {
  return new VerificationService(target, credentials, {
    'grpc.keepalive_time_ms': ping,
    'grpc.keepalive_timeout_ms': 10_000,
    'grpc.keepalive_permit_without_calls': 0,
    'grpc.initial_reconnect_backoff_ms': 500,
    'grpc.max_reconnect_backoff_ms': 3_000,
    'grpc.service_config': JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] }),
  });
}

const { INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, PERMISSION_DENIED, FAILED_PRECONDITION, OUT_OF_RANGE, UNIMPLEMENTED, UNAUTHENTICATED } = grpc.status;
// What another try cannot fix. All else it can, whatever its name: proxies cut with INTERNAL or CANCELLED.
const final = new Set([INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, PERMISSION_DENIED, FAILED_PRECONDITION, UNIMPLEMENTED, UNAUTHENTICATED]);

// isFinal believes such a code from the service itself, whose errors carry an ErrorInfo of its domain, and as the
// very first answer. A proxy without a route for a moment says 404, which is UNIMPLEMENTED here, 403 or 401.
const isFinal = (error, first) => final.has(error.code) &&
  (first || (error.metadata?.get('grpc-status-details-bin') ?? []).some((details) => details.includes('verification.v1')));

// watch yields {verification, token, reset}: the current status and then every later revision, none twice and
// none left out. A heartbeat yields a token alone. With reset, forget what was shown. The subject is
// {session_id} or {client_reference_id}. It ends with an error that trying again cannot mend, or by the signal.
export async function* watch(client, subject, { token = '', heartbeat = 15, signal, onBreak = () => {} } = {}) {
  let failures = 0, reset = false, first = true;
  while (!signal?.aborted) {
    const call = client.WatchStatus({ ...subject, resume_token: token, ...(heartbeat && { heartbeat: { seconds: heartbeat } }) });
    call.on('error', () => {}); // one that comes when nobody reads any more must not end the process
    const cancel = () => call.cancel();
    signal?.addEventListener('abort', cancel);
    // The watchdog: a stream that shows no sign of life for longer than it must is given up. It also guards
    // the first response: a server that accepts connections and then says nothing.
    const watchdog = setTimeout(cancel, (heartbeat || 30) * 2_500);
    try {
      for await (const { verification, resume_token } of call) {
        failures = 0;
        first = false;
        if (heartbeat) watchdog.refresh();
        else clearTimeout(watchdog);
        yield { verification, token: resume_token, reset };
        token = resume_token; // only now: it was handled
        if (verification) reset = false;
      }
      onBreak(new Error('the stream ended without an error'));
    } catch (error) {
      if (signal?.aborted) return;
      if (isFinal(error, first)) throw error;
      first = false;
      if (error.code === OUT_OF_RANGE) [token, reset] = ['', true]; // what followed the token is gone
      onBreak(error);
    } finally {
      clearTimeout(watchdog);
      signal?.removeEventListener('abort', cancel);
      call.cancel(); // also where the reader has left the loop
    }
    // Full jitter: those who were cut off together do not come back together.
    await sleep(Math.random() * Math.min(3_000, 500 * 2 ** failures++), undefined, { signal }).catch(() => {});
  }
}
