// Package access is the trust boundary of the gRPC API: TLS, who a caller is, what a caller may do,
// and how much of it. Callers have a client certificate or a bearer token; what they may do is in
// grpc's own authorization policy and in the tokens' file. All files are read again when they change.
//
// It refuses to know what the calls do: it looks at a request only to see which right it needs, keeps
// no session, asks no store, and decides before anything is looked up.
package access

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/credentials"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// Config says who may call. The zero value but for Logger and MaxStreams lets everyone call, in plain
// text. Fields that contradict each other let nobody in; to say so is for whoever checks the settings.
type Config struct {
	// CertFile and KeyFile are the server's certificate chain and key in PEM. Both or neither; without
	// them gRPC is in plain text.
	CertFile, KeyFile string
	// ClientCAFile holds the authorities, in PEM, that client certificates may be from. Needs CertFile.
	ClientCAFile string
	// PolicyFile is grpc's authorization policy (google.golang.org/grpc/authz), which says what the
	// holders of client certificates may do. Needed with ClientCAFile, and useless without.
	PolicyFile string
	// TokensFile holds hashed bearer tokens; see ParseTokens.
	TokensFile string

	// Rate is how many calls a second each principal may make, with bursts of one second's worth. 0:
	// any number.
	Rate int
	// MaxStreamsEach is how many streams each principal may have open. 0: any number.
	MaxStreamsEach int
	// MaxStreams is how many streams may be open in all, and as many health watches beside them. At
	// least 1.
	MaxStreams int

	// Every is how often the files are looked at. 0: every 5 s.
	Every time.Duration
	// Logger gets a line when a file was read again, or could not be. Required.
	Logger *slog.Logger
	// Observe is called for each call that is refused here, with the reason, by many goroutines at
	// once. nil: nobody counts.
	Observe func(reason verificationv1.ErrorReason)
	// Reloaded is called when a changed file was read, with the setting's name, and whether it is now
	// in force. nil: nobody counts.
	Reloaded func(setting string, inForce bool)
}

// Access decides about every call. It is safe for concurrent use.
type Access struct {
	config Config
	files  []*watched
	tls    *serverTLS // nil: plain text
	policy atomic.Pointer[policy]
	tokens atomic.Pointer[tokens]
	limits *limits
	// generation changes when rights may have; open streams then look again.
	generation atomic.Uint64
}

const defaultEvery = 5 * time.Second

// Open reads all files. Its error names every file that is not as it should be, a line each, by its
// setting. It starts nothing: Run does.
func Open(config Config) (*Access, error) {
	if config.Every == 0 {
		config.Every = defaultEvery
	}
	if config.Observe == nil {
		config.Observe = func(verificationv1.ErrorReason) {}
	}
	if config.Reloaded == nil {
		config.Reloaded = func(string, bool) {}
	}
	a := &Access{config: config, limits: newLimits(config)}
	if config.CertFile != "" && config.KeyFile != "" {
		a.tls = &serverTLS{}
		a.watch("GRPC_TLS_CERT_FILE and GRPC_TLS_KEY_FILE", a.tls.setPair, config.CertFile, config.KeyFile)
	}
	if config.ClientCAFile != "" && a.tls != nil {
		a.watch("GRPC_CLIENT_CA_FILE", a.tls.setAuthorities, config.ClientCAFile)
	}
	if config.PolicyFile != "" {
		a.watch("GRPC_AUTHZ_POLICY_FILE", a.setPolicy, config.PolicyFile)
	}
	if config.TokensFile != "" {
		a.watch("GRPC_TOKENS_FILE", a.setTokens, config.TokensFile)
	}
	var problems []error
	for _, file := range a.files {
		if _, err := file.reload(); err != nil {
			problems = append(problems, err)
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return a, nil
}

// Run reads files again that change, until ctx ends. A file that cannot be used leaves what was in
// force in force, and is told of in the log, once.
func (a *Access) Run(ctx context.Context) {
	ticker := time.NewTicker(a.config.Every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			a.reload()
		}
	}
}

// reload looks at every file once.
func (a *Access) reload() {
	for _, file := range a.files {
		changed, err := file.reload()
		switch {
		case err != nil:
			a.config.Logger.Error("a changed file cannot be used; what was read before stays in force", "error", err)
		case changed:
			a.config.Logger.Info("a changed file is in force", "setting", file.setting)
		default:
			continue
		}
		a.config.Reloaded(file.setting, err == nil)
	}
}

func (a *Access) watch(setting string, load func(contents [][]byte) error, paths ...string) {
	a.files = append(a.files, &watched{setting: setting, paths: paths, load: load})
}

// open reports whether everyone may do everything.
func (a *Access) open() bool { return a.config.ClientCAFile == "" && a.config.TokensFile == "" }

// Credentials are what the server speaks TLS with; nil for plain text.
func (a *Access) Credentials() credentials.TransportCredentials {
	if a.tls == nil {
		return nil
	}
	return credentials.NewTLS(a.tls.config())
}

func (a *Access) setPolicy(contents [][]byte) error {
	read, err := newPolicy(string(contents[0]))
	if err != nil {
		return err
	}
	a.policy.Store(read)
	a.generation.Add(1)
	return nil
}

func (a *Access) setTokens(contents [][]byte) error {
	read, err := ParseTokens(string(contents[0]))
	if err != nil {
		return err
	}
	a.tokens.Store(&tokens{read})
	a.generation.Add(1)
	return nil
}
