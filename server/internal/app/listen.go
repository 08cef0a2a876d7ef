package app

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// Listen opens a TCP listener on addr. Port 0 takes a free port. name is the setting with the address, such as "GRPC_ADDR". The error
// says what to change.
func Listen(name, addr string) (net.Listener, error) {
	listener, err := net.Listen("tcp", addr)
	switch {
	case err == nil:
		return listener, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s %s is taken by another process: stop it or choose another address", name, addr)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("%s %s is not an address of this machine: choose one of its addresses, or only a port, such as :4242", name, addr)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("%s %s is not allowed for this user: choose a port above 1023", name, addr)
	default:
		return nil, fmt.Errorf("%s %s cannot be used, choose another address: %w", name, addr, err)
	}
}
