// Signs webhook bodies with Stripe's own library for Node. In: a JSON object a line, with payload and
// secret. Out: the Stripe-Signature header for it, a line each.
import { createInterface } from 'node:readline';
import Stripe from 'stripe';

for await (const line of createInterface({ input: process.stdin })) {
  const { payload, secret } = JSON.parse(line);
  console.log(Stripe.webhooks.generateTestHeaderString({ payload, secret }));
}
