package app

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// Listen opens a TCP listener on addr. name is the setting that holds the address ("GRPC_ADDR"), so
// that the error can say what to change. Port 0 takes a free one.
func Listen(name, addr string) (net.Listener, error) {
	listener, err := net.Listen("tcp", addr)
	switch {
	case err == nil:
		return listener, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s %s is taken by another process: stop it or choose another address", name, addr)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("%s %s is no address of this machine: choose one that is, or only a port, such as :4242", name, addr)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("%s %s is not allowed to this user: choose a port above 1023", name, addr)
	default:
		return nil, fmt.Errorf("%s %s cannot be listened on, choose another address: %w", name, addr, err)
	}
}
