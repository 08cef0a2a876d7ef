// watch follows a status of verification-status over gRPC and resumes by itself after interruptions.
import grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';

const api = fileURLToPath(new URL('../../../api', import.meta.url)); // copy the proto beside your code
const definition = loadSync('verification/v1/verification.proto', { includeDirs: [api], keepCase: true, enums: String, longs: Number });
const { VerificationService } = grpc.loadPackageDefinition(definition).verification.v1;

// connect returns a client and does not wait for a connection. One client is enough for a program. Pings detect a lost connection
// that was not closed. The service allows a ping every 5 s; other servers and proxies often allow fewer, and close the connection
// with ENHANCE_YOUR_CALM.
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
// Errors that another try cannot fix. It can fix all others: proxies cut streams with INTERNAL or CANCELLED.
const final = new Set([INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, PERMISSION_DENIED, FAILED_PRECONDITION, UNIMPLEMENTED, UNAUTHENTICATED]);

// isFinal returns whether an error ends the watch: such a code from the service itself, whose errors have an ErrorInfo with its
// domain, or in the very first answer. A proxy that has no route for a while answers 404 (UNIMPLEMENTED here), 403 or 401.
const isFinal = (error, first) => final.has(error.code) &&
  (first || (error.metadata?.get('grpc-status-details-bin') ?? []).some((details) => details.includes('verification.v1')));

// watch yields {verification, token, reset}: the current status and then every later revision, without a gap or a repetition. A
// heartbeat has a token alone. With reset, drop what was shown. The subject is {session_id} or {client_reference_id}. watch ends
// with an error that another try cannot fix, or when the signal is aborted.
export async function* watch(client, subject, { token = '', heartbeat = 15, signal, onBreak = () => {} } = {}) {
  let failures = 0, reset = false, first = true;
  while (!signal?.aborted) {
    const call = client.WatchStatus({ ...subject, resume_token: token, ...(heartbeat && { heartbeat: { seconds: heartbeat } }) });
    call.on('error', () => {}); // an error after the last read must not end the process
    const cancel = () => call.cancel();
    signal?.addEventListener('abort', cancel);
    // The watchdog cancels a stream that is silent for longer than two and a half heartbeats, also before the first response:
    // a server can accept connections and never answer.
    const watchdog = setTimeout(cancel, (heartbeat || 30) * 2_500);
    try {
      for await (const { verification, resume_token } of call) {
        failures = 0;
        first = false;
        if (heartbeat) watchdog.refresh();
        else clearTimeout(watchdog);
        yield { verification, token: resume_token, reset };
        token = resume_token; // only now is the update handled
        if (verification) reset = false;
      }
      onBreak(new Error('the stream ended without an error'));
    } catch (error) {
      if (signal?.aborted) return;
      if (isFinal(error, first)) throw error;
      first = false;
      if (error.code === OUT_OF_RANGE) [token, reset] = ['', true]; // the changes after the token are no longer kept
      onBreak(error);
    } finally {
      clearTimeout(watchdog);
      signal?.removeEventListener('abort', cancel);
      call.cancel(); // also if the reader has left the loop
    }
    // Full jitter: watchers that were cut together do not return together.
    await sleep(Math.random() * Math.min(3_000, 500 * 2 ** failures++), undefined, { signal }).catch(() => {});
  }
}
