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

	"google.golang.org/grpc/credentials"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/reload"
)

// Config says who may call. The zero value but for MaxStreams lets everyone call, in plain
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
	// MaxStreams is how many streams may be open in all, and as many health watches beside them. At
	// least 1.
	MaxStreams int
	// SharePercent is the part of MaxStreams that each principal may have open, of streams and of health watches, in
	// percent. 0: no bound for each.
	SharePercent int
	// MaxStreamsEach is how many streams each principal may have open. 0: its share.
	MaxStreamsEach int

	// Logger gets a warning for each line of TokensFile with a right that is not known, at start and at
	// each change of the file. nil: nobody is told.
	Logger *slog.Logger
	// Observe is called for each call that may not be made, with the reason, by many goroutines at
	// once. nil: nobody counts.
	Observe func(reason verificationv1.ErrorReason)
	// Shed is called in its place where a call is one too many, with the full method and the setting
	// whose limit is reached. nil: nobody counts.
	Shed func(ctx context.Context, method, setting string)
}

// Access decides about every call. It is safe for concurrent use.
type Access struct {
	config Config
	tls    *serverTLS // nil: plain text
	policy atomic.Pointer[policy]
	tokens atomic.Pointer[tokens]
	limits *limits
	// generation changes when rights may have; open streams then look again.
	generation atomic.Uint64
}

// maxFileBytes bounds each file.
const maxFileBytes = 1 << 20

// Open takes what the files say, and adds them to the watcher, which takes what they say later. Its
// error names every file that is not as it should be, a line each, by its setting.
func Open(config Config, files *reload.Watcher) (*Access, error) {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	if config.Observe == nil {
		config.Observe = func(verificationv1.ErrorReason) {}
	}
	if config.Shed == nil {
		config.Shed = func(context.Context, string, string) {}
	}
	a := &Access{config: config, limits: newLimits(config)}
	var problems []error
	watch := func(setting string, apply func(texts []string) error, paths ...string) {
		problems = append(problems, files.Add(reload.Source{Name: setting, Paths: paths, Read: readFile, Apply: apply}))
	}
	secured := &serverTLS{}
	if config.CertFile != "" && config.KeyFile != "" {
		a.tls = secured
		watch("GRPC_TLS_CERT_FILE and GRPC_TLS_KEY_FILE", secured.setPair, config.CertFile, config.KeyFile)
	}
	if config.ClientCAFile != "" {
		watch("GRPC_CLIENT_CA_FILE", secured.setAuthorities, config.ClientCAFile)
	}
	if config.PolicyFile != "" {
		watch("GRPC_AUTHZ_POLICY_FILE", a.setPolicy, config.PolicyFile)
	}
	if config.TokensFile != "" {
		watch("GRPC_TOKENS_FILE", a.setTokens, config.TokensFile)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return a, nil
}

func readFile(path string) (string, error) { return reload.ReadFile(path, maxFileBytes) }

// open reports whether everyone may do everything.
func (a *Access) open() bool { return a.config.ClientCAFile == "" && a.config.TokensFile == "" }

// Credentials are what the server speaks TLS with; nil for plain text.
func (a *Access) Credentials() credentials.TransportCredentials {
	if a.tls == nil {
		return nil
	}
	return credentials.NewTLS(a.tls.config())
}

// MayRead reports whether the caller of a call with this context may ask for the status of a session.
func (a *Access) MayRead(ctx context.Context) bool {
	return a.check(a.callerOf(ctx), pathGetStatus) == nil
}

func (a *Access) setPolicy(texts []string) error {
	read, err := newPolicy(texts[0])
	if err != nil {
		return err
	}
	a.policy.Store(read)
	a.generation.Add(1)
	return nil
}

func (a *Access) setTokens(texts []string) error {
	read, odd, err := readTokens(texts[0])
	if err != nil {
		return err
	}
	// Without a word of the file in it: what stands in the place of a right can be a token.
	for _, o := range odd {
		a.config.Logger.Warn("a token's line names rights that this version does not know; they are ignored, look for a typing error",
			"file", "GRPC_TOKENS_FILE", "line", o.line, "principal", o.holder, "unknown", o.number, "without_any_right", o.none, "known", rightNames)
	}
	a.tokens.Store(newTokens(read))
	a.generation.Add(1)
	return nil
}
