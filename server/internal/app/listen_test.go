package app

import (
	"os"
	"strings"
	"testing"
)

func TestListen(t *testing.T) {
	first, err := Listen("GRPC_ADDR", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	addr := first.Addr().String()
	_, err = Listen("GRPC_ADDR", addr)
	if want := "GRPC_ADDR " + addr + " is taken by another process: stop it or choose another address"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if _, err = Listen("WEBHOOK_ADDR", "192.0.2.1:4242"); err == nil || !strings.Contains(err.Error(), "WEBHOOK_ADDR 192.0.2.1:4242 is not an address of this machine") {
		t.Errorf("a foreign address: %v", err)
	}
	if _, err = Listen("ADMIN_ADDR", "127.0.0.1:99999"); err == nil || !strings.Contains(err.Error(), "ADMIN_ADDR 127.0.0.1:99999 cannot be used") {
		t.Errorf("a bad port: %v", err)
	}
	if os.Getuid() != 0 {
		if listener, err := Listen("ADMIN_ADDR", "127.0.0.1:1"); err == nil {
			listener.Close() // this machine allows low ports to every user
		} else if !strings.Contains(err.Error(), "above 1023") {
			t.Errorf("a port of the system's: %v", err)
		}
	}
}
