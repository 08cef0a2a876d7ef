// Takes webhooks the way Stripe's documentation shows for Node (docs.stripe.com/webhooks): the raw body,
// its signature checked and the event made of it by Stripe's library, an answer. Nothing is kept. It says on
// the standard error where it listens, and ends when the standard input does.
import express from 'express';
import Stripe from 'stripe';

const stripe = new Stripe('sk_test_unused'); // it is never called
const secret = process.env.STRIPE_WEBHOOK_SECRET;

const app = express();
app.post('/webhook', express.raw({ type: 'application/json' }), (request, response) => {
  try {
    stripe.webhooks.constructEvent(request.body, request.headers['stripe-signature'], secret);
  } catch (error) {
    response.status(400).send(`Webhook Error: ${error.message}`);
    return;
  }
  response.json({ received: true });
});

const server = app.listen(0, '127.0.0.1', (error) => {
  if (error) throw error;
  console.error(JSON.stringify({ msg: 'listening', webhook: `127.0.0.1:${server.address().port}` }));
});
process.stdin.resume().on('end', () => process.exit());
