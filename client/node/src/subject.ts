/**
 * Subject selects the session of a call: one session by Stripe's id (`vs_...`), or the newest session with the caller's own
 * id for a person or case (Stripe's client_reference_id, at most 255 bytes). When a newer session with the reference appears,
 * a watch continues with that session, whose revisions start at 1 again.
 */
export type Subject =
  | { readonly session: string; readonly reference?: undefined }
  | { readonly reference: string; readonly session?: undefined };
