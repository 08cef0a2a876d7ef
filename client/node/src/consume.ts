import type { Transport } from "./attempt.js";
import type { FullJitter } from "./backoff.js";
import type { ConsumeOptions, Handler } from "./consume-options.js";
export interface Base { readonly transport: Transport; readonly backoff: FullJitter; readonly closed: AbortSignal }
export function consume(_base: Base, _name: string, _handle: Handler, _options: ConsumeOptions): Promise<void> {
  return Promise.reject(new Error("not written yet"));
}
