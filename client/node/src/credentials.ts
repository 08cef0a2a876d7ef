import { readFileSync } from "node:fs";

import { ChannelCredentials } from "@grpc/grpc-js";

import type { ConnectOptions } from "./options.js";
import type { Endpoint } from "./target.js";
import type { TlsOptions } from "./tls.js";

const needsTLS = "bearer tokens are sent in plain text to loopback addresses only: remove the option plaintext";

/** Credentials make the credentials of each connection. */
export class Credentials {
  /** Whether connections have no TLS. */
  readonly plaintext: boolean;
  /** Whether connections to other machines are refused, because they would send a token in plain text. */
  readonly localOnly: boolean;
  readonly #tls: TlsOptions;
  readonly #ca: Buffer | null;

  /** Throws a TypeError if options contradict each other, and the error of a file that cannot be read. */
  constructor(options: ConnectOptions) {
    this.plaintext = options.plaintext ?? false;
    this.localOnly = this.plaintext && options.token !== undefined;
    this.#tls = options.tls ?? {};
    const { ca, caFile, cert, key, certFile, keyFile } = this.#tls;
    if (this.plaintext && options.tls !== undefined) {
      throw new TypeError("plaintext contradicts tls: choose one");
    }
    if (ca !== undefined && caFile !== undefined) {
      throw new TypeError("tls: ca contradicts caFile: choose one");
    }
    if ((cert ?? key) !== undefined && (certFile ?? keyFile) !== undefined) {
      throw new TypeError("tls: cert and key contradict certFile and keyFile: choose one pair");
    }
    if ((cert === undefined) !== (key === undefined) || (certFile === undefined) !== (keyFile === undefined)) {
      throw new TypeError("tls: a certificate needs its key, and a key its certificate");
    }
    this.#ca = caFile === undefined ? bytes(ca) : readFileSync(caFile);
    if (this.#ca !== null && !this.#ca.includes("-----BEGIN CERTIFICATE-----")) {
      throw new TypeError(`tls: ${caFile ?? "ca"} has no certificate in PEM`); // each call would fail as if the server were wrong
    }
    if (!this.plaintext) {
      this.#secure(); // so that connect throws the error of a wrong file
    }
  }

  /** Throws an error for an endpoint that must not get a token in plain text. */
  check(endpoint: Endpoint): void {
    if (this.localOnly && !endpoint.local) {
      throw new TypeError(needsTLS);
    }
  }

  /** Returns the credentials of one connection. It reads the files of certificates. It throws their errors and that of check. */
  forConnection(endpoint: Endpoint): ChannelCredentials {
    this.check(endpoint);
    return this.plaintext ? ChannelCredentials.createInsecure() : this.#secure();
  }

  /** The name that the server's certificate must have, or "" for that of the target. */
  get serverName(): string {
    return this.#tls.serverName ?? "";
  }

  #secure(): ChannelCredentials {
    const { cert, key, certFile, keyFile } = this.#tls;
    const certificate = certFile === undefined ? bytes(cert) : readFileSync(certFile);
    return ChannelCredentials.createSsl(this.#ca, keyFile === undefined ? bytes(key) : readFileSync(keyFile), certificate);
  }
}

function bytes(text: string | Uint8Array | undefined): Buffer | null {
  return text === undefined ? null : Buffer.from(text);
}
