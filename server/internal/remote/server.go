package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"example.com/verification-status/server/internal/config"
)

// Server has the settings of a command that calls a running server: where it listens, how its certificate is checked, and with which
// credentials the command calls.
type Server struct {
	Addr       string        `name:"addr" env:"GRPC_ADDR" default:"127.0.0.1:50051" placeholder:"HOST:PORT" help:"The address of the server's gRPC listener."`
	Plaintext  bool          `name:"plaintext" help:"Call without TLS, as for dev. No credentials are sent then."`
	CAFile     string        `name:"ca-file" placeholder:"PATH" help:"A PEM file with the authorities that issue the server's certificate. By default those of the system."`
	ServerName string        `name:"server-name" placeholder:"NAME" help:"The name in the server's certificate. By default the host of --addr."`
	Token      string        `name:"token" env:"VERIFICATION_TOKEN" secret:"true" placeholder:"TOKEN" help:"A bearer token (vst_...), as server token new prints it. Better give a file."`
	TokenFile  string        `name:"token-file" env:"VERIFICATION_TOKEN_FILE" placeholder:"PATH" help:"A file with the bearer token."`
	CertFile   string        `name:"cert-file" placeholder:"PATH" help:"A PEM file with a client certificate. It needs --key-file."`
	KeyFile    string        `name:"key-file" placeholder:"PATH" help:"A PEM file with the private key of that certificate."`
	Timeout    time.Duration `name:"timeout" default:"10s" placeholder:"DURATION" help:"How long to wait for the server."`
}

// call dials the server, and calls do with a deadline of Timeout. It returns an error in plain words: one of the settings, or what
// explain makes of do's error. feature is what do needs of the server.
func (s *Server) call(ctx context.Context, feature string, do func(context.Context, grpc.ClientConnInterface) error) error {
	target, options, err := s.dialOptions()
	if err != nil {
		return err
	}
	conn, err := grpc.NewClient(target, options...)
	if err != nil {
		return fmt.Errorf("--addr: %w", err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	return s.explain(do(ctx, conn), feature)
}

// dialOptions checks the settings. Its error names each that is wrong, and quotes no secret.
func (s *Server) dialOptions() (target string, options []grpc.DialOption, err error) {
	target, name, errAddr := dialTarget(s.Addr)
	secure, errTLS := s.transport()
	token, errToken := s.token()
	wrong := []error{errAddr, errTLS, errToken}
	if s.Timeout <= 0 {
		wrong = append(wrong, errors.New("--timeout must be more than 0s"))
	}
	if s.Plaintext && (token != "" || s.CAFile+s.ServerName+s.CertFile+s.KeyFile != "") {
		wrong = append(wrong, errors.New("--plaintext sends no credentials and checks no certificate: leave it out, or leave out the token and the other flags of TLS"))
	}
	options = []grpc.DialOption{grpc.WithTransportCredentials(secure), grpc.WithDisableServiceConfig()}
	if name != "" && s.ServerName == "" {
		options = append(options, grpc.WithAuthority(name))
	}
	if token != "" {
		options = append(options, grpc.WithPerRPCCredentials(bearer(token)))
	}
	return target, options, errors.Join(wrong...)
}

// dialTarget returns where to dial, and the name that the server's certificate must have; "" if it is the host of addr. A server that
// listens on every interface is called on this machine, and its certificate is that of localhost.
func dialTarget(addr string) (target, name string, err error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", "", errors.New("--addr must be HOST:PORT, such as 127.0.0.1:50051")
	}
	own := config.OwnHost(host)
	if own != host {
		name = "localhost"
	}
	return net.JoinHostPort(own, port), name, nil
}

// transport returns the credentials of the connection: TLS 1.3, or none with Plaintext.
func (s *Server) transport() (credentials.TransportCredentials, error) {
	if s.Plaintext {
		return insecure.NewCredentials(), nil
	}
	settings := &tls.Config{MinVersion: tls.VersionTLS13, ServerName: s.ServerName}
	var wrong []error
	if s.CAFile != "" {
		settings.RootCAs = x509.NewCertPool()
		text, err := os.ReadFile(s.CAFile)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("--ca-file: %w", err))
		} else if !settings.RootCAs.AppendCertsFromPEM(text) {
			wrong = append(wrong, fmt.Errorf("--ca-file: %s has no PEM certificate", s.CAFile))
		}
	}
	switch {
	case (s.CertFile == "") != (s.KeyFile == ""):
		wrong = append(wrong, errors.New("--cert-file and --key-file go together"))
	case s.CertFile != "":
		own, err := tls.LoadX509KeyPair(s.CertFile, s.KeyFile)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("--cert-file and --key-file: %w", err))
		}
		settings.Certificates = []tls.Certificate{own}
	}
	return credentials.NewTLS(settings), errors.Join(wrong...)
}

// token returns the bearer token, or "" if there is none.
func (s *Server) token() (string, error) {
	if s.TokenFile == "" {
		return s.Token, nil
	}
	if s.Token != "" {
		return "", errors.New("VERIFICATION_TOKEN_FILE: the value itself is set too: remove one of the two")
	}
	text, err := config.ReadFile(s.TokenFile)
	if err != nil {
		return "", fmt.Errorf("VERIFICATION_TOKEN_FILE: %w", err)
	}
	return text, nil
}

// bearer sends a token with each call, through TLS only.
type bearer string

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (bearer) RequireTransportSecurity() bool { return true }
