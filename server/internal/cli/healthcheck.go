package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"example.com/verification-status/server/internal/config"
)

// maxReport bounds the part of an answer that is printed, in bytes.
const maxReport = 256

// healthcheckCommand asks the server in the same container, which has the same settings, whether it is ready.
type healthcheckCommand struct {
	AdminAddr string        `name:"admin-addr" env:"ADMIN_ADDR" default:"127.0.0.1:9090" placeholder:"HOST:PORT" help:"The ADMIN_ADDR of the server, for its /readyz."`
	Timeout   time.Duration `name:"timeout" default:"3s" placeholder:"DURATION" help:"How long to wait for an answer."`
}

// Run returns nil if the server is ready, else an error that says why not.
func (h *healthcheckCommand) Run(ctx context.Context) error {
	host, port, err := net.SplitHostPort(h.AdminAddr)
	if err != nil || h.Timeout <= 0 {
		return errors.New("ADMIN_ADDR must be HOST:PORT or :PORT, such as 127.0.0.1:9090, and --timeout more than 0s")
	}
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(config.OwnHost(host), port)+"/readyz", nil)
	if err != nil {
		return fmt.Errorf("ADMIN_ADDR: %w", err)
	}
	// Use no proxy of the environment, and keep no connection.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("the server cannot be asked on ADMIN_ADDR: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusOK {
		return nil
	}
	text, _ := io.ReadAll(io.LimitReader(response.Body, maxReport))
	return fmt.Errorf("%s: %s", response.Status, strings.TrimSpace(string(text)))
}
