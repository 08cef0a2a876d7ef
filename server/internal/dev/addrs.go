package dev

import (
	"errors"
	"fmt"
	"net"
	"strconv"

	"example.com/verification-status/server/internal/app"
)

// addr is one of the four addresses, with its flag.
type addr struct {
	flag string
	addr *string
}

func (c *Config) addrs() []addr {
	return []addr{{"--grpc-addr", &c.GRPCAddr}, {"--webhook-addr", &c.WebhookAddr}, {"--admin-addr", &c.AdminAddr}, {"--stripe-addr", &c.StripeAddr}}
}

// placed returns the Config with PortOffset added to its ports. It returns an error that names every address that cannot be used, so
// that a developer can correct all of them at once.
func (c Config) placed() (Config, error) {
	var wrong []error
	for _, a := range c.addrs() {
		wrong = append(wrong, a.move(c.PortOffset))
	}
	if err := errors.Join(wrong...); err != nil {
		return c, err
	}
	return c, c.checkFree()
}

// move adds offset to the port, unless the port is 0. It refuses an address that other machines can reach, since the key of the
// simulator is well known.
func (a addr) move(offset int) error {
	host, port, err := net.SplitHostPort(*a.addr)
	if ip := net.ParseIP(host); err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("%s %s: dev listens on this machine only: give 127.0.0.1 and a port", a.flag, *a.addr)
	}
	number, _ := strconv.Atoi(port) // a port name stays
	if number == 0 || offset == 0 {
		return nil
	}
	if moved := number + offset; moved < 1 || moved > 65535 {
		return fmt.Errorf("%s %s: with --port-offset %d its port is %d: choose an offset that gives a port from 1 to 65535", a.flag, *a.addr, offset, moved)
	}
	*a.addr = net.JoinHostPort(host, strconv.Itoa(number+offset))
	return nil
}

// checkFree opens all addresses for a moment. It returns an error that names those that are taken.
func (c Config) checkFree() error {
	var wrong []error
	for _, a := range c.addrs() {
		listener, err := app.Listen(a.flag, *a.addr)
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		defer listener.Close()
	}
	if len(wrong) > 1 {
		wrong = append(wrong, errors.New("if another dev is running: start this one beside it with --port-offset 100"))
	}
	return errors.Join(wrong...)
}
