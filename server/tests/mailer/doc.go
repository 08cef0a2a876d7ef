// Package mailer runs the example of client/example/mailer as processes of their own: two instances, over two servers, over Redis with
// Sentinels, with a real SMTP server. They are killed at each step of a mail, and all mails in the inbox are compared with what the
// simulated Stripe said. It knows the mailer by its command line, its steps and its mails alone.
package mailer
