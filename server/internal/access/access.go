package access

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/credentials"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/reload"
)

// Config configures an Access. With MaxStreams alone, every caller may make every call, in plain text. Fields that
// contradict each other refuse every call; config checks the settings for that.
type Config struct {
	// CertFile and KeyFile are the server's certificate chain and key in PEM. Set both or neither. Without them gRPC is in
	// plain text.
	CertFile, KeyFile string
	// ClientCAFile has the authorities, in PEM, whose client certificates are accepted. Needs CertFile.
	ClientCAFile string
	// PolicyFile is grpc's authorization policy (google.golang.org/grpc/authz), with the rights of client certificates.
	// Needed with ClientCAFile, and useless without it.
	PolicyFile string
	// TokensFile has hashed bearer tokens; see ParseTokens.
	TokensFile string

	// Rate is how many calls a second each principal may make, with a burst of the same number. 0: any number.
	Rate int
	// MaxStreams is how many streams can be open in all, and how many health watches beside them. At least 1.
	MaxStreams int
	// SharePercent is the part of MaxStreams that each principal can have open, of streams and of health watches, in
	// percent. 0: no limit for one principal.
	SharePercent int
	// MaxStreamsEach is how many streams each principal can have open. 0: its share.
	MaxStreamsEach int

	// Logger gets a warning for each line of TokensFile with an unknown right, at start and at each change of the file.
	// nil: no warnings.
	Logger *slog.Logger
	// Observe is called for each refused call, with the reason, by many goroutines at once. nil: no calls.
	Observe func(reason verificationv1.ErrorReason)
	// Shed is called in place of Observe for each call that a limit refuses, with the full method and the setting of the
	// limit, by many goroutines at once. nil: no calls.
	Shed func(ctx context.Context, method, setting string)
}

// Access identifies callers and decides on their calls. It implements grpcserver.Access. It is safe for concurrent use.
type Access struct {
	config Config
	tls    *serverTLS // nil: plain text
	policy atomic.Pointer[policy]
	tokens atomic.Pointer[tokens]
	limits *limits
	// generation grows at each change of the policy and of the tokens. Open streams then check their caller again.
	generation atomic.Uint64
}

// maxFileBytes bounds each file.
const maxFileBytes = 1 << 20

// Open reads the files and adds them to the watcher, which applies their later changes. Its error has a line for each
// unusable file, with the name of its setting.
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

// isOpen reports whether access control is off: every caller may make every call.
func (a *Access) isOpen() bool { return a.config.ClientCAFile == "" && a.config.TokensFile == "" }

// Credentials returns the server's TLS credentials, or nil for plain text.
func (a *Access) Credentials() credentials.TransportCredentials {
	if a.tls == nil {
		return nil
	}
	return credentials.NewTLS(a.tls.config())
}

// CertificateExpiry returns when the server's certificate ends, or the zero time for plain text. A change of the files changes it.
func (a *Access) CertificateExpiry() time.Time {
	if a.tls == nil {
		return time.Time{}
	}
	return a.tls.expiry()
}

// CertificateStart returns since when the server's certificate is valid, or the zero time for plain text. With CertificateExpiry it says how long
// the certificate's life is.
func (a *Access) CertificateStart() time.Time {
	if a.tls == nil {
		return time.Time{}
	}
	return a.tls.start()
}

// MayRead reports whether the caller of the call with this context may call GetStatus.
func (a *Access) MayRead(ctx context.Context) bool {
	return a.check(a.callerOf(ctx), pathGetStatus) == nil
}

// MayOverride reports whether the caller of the call with this context may call AllowRetry.
func (a *Access) MayOverride(ctx context.Context) bool {
	return a.check(a.callerOf(ctx), pathAllowRetry) == nil
}

// MayNameOperators reports whether the caller of the call with this context may see the names of operators: it may list sessions
// or override. The rights are those of now, also for a stream that was opened before they changed.
func (a *Access) MayNameOperators(ctx context.Context) bool {
	who := a.callerOf(ctx)
	if !a.isOpen() && who.generation != a.generation.Load() {
		who = a.callerOf(a.Identify(ctx))
	}
	return a.check(who, pathList) == nil || a.check(who, pathAllowRetry) == nil
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
	// The line quotes nothing of the file: the text in the field of the rights can be a token.
	for _, o := range odd {
		a.config.Logger.Warn("unknown rights in a line of the tokens file are ignored; check their spelling",
			"file", "GRPC_TOKENS_FILE", "line", o.line, "principal", o.holder, "unknown", o.number, "without_any_right", o.none, "known", rightNames)
	}
	a.tokens.Store(newTokens(read))
	a.generation.Add(1)
	return nil
}
