import type { DescMethod, DescService } from "@bufbuild/protobuf";
import type { ServiceDefinition } from "@grpc/grpc-js";

import { decoder, encode, methodOf } from "../wire.js";

/** Returns the definition of a service for a server of grpc-js. Its methods have the service's local names. */
export function definitionOf(service: DescService): ServiceDefinition {
  return Object.fromEntries(service.methods.map((method) => [method.localName, definition(method)]));
}

function definition(method: DescMethod): ServiceDefinition[string] {
  const { path, input, output } = methodOf(method);
  return {
    path,
    requestStream: false,
    responseStream: method.methodKind === "server_streaming",
    requestSerialize: (message) => encode(input, message),
    requestDeserialize: decoder(input),
    responseSerialize: (message) => encode(output, message),
    responseDeserialize: decoder(output),
  };
}
