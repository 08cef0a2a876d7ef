/**
 * TlsOptions are the certificates of a client. Texts are in PEM. Files are in PEM too. They are read again for each connection,
 * so that a renewed certificate needs no restart; `caFile` is read once, by `connect`.
 */
export interface TlsOptions {
  /** The authorities of the server's certificate. Default: Node's. */
  readonly ca?: string | Uint8Array;
  /** The file of `ca`. */
  readonly caFile?: string;
  /** The client's certificate, for mutual TLS. It needs `key`. */
  readonly cert?: string | Uint8Array;
  /** The key of `cert`. */
  readonly key?: string | Uint8Array;
  /** The file of the client's certificate. It needs `keyFile`. */
  readonly certFile?: string;
  /** The file of the key of `certFile`. */
  readonly keyFile?: string;
  /** The name that the server's certificate must have. Default: the host of the target. */
  readonly serverName?: string;
}
