package app

import (
	"log/slog"

	"example.com/verification-status/server/internal/access"
	"example.com/verification-status/server/internal/config"
)

// CheckAccess reads the files that say who may call. Its error names every one that is not as it should
// be, a line each.
func CheckAccess(c *config.Config) error {
	_, err := openAccess(c, slog.New(slog.DiscardHandler))
	return err
}

func openAccess(c *config.Config, logger *slog.Logger) (*access.Access, error) {
	return access.Open(access.Config{
		CertFile: c.GRPCTLSCertFile, KeyFile: c.GRPCTLSKeyFile, ClientCAFile: c.GRPCClientCAFile,
		PolicyFile: c.GRPCAuthzPolicyFile, TokensFile: c.GRPCTokensFile,
		Rate: int(c.CallerRate), MaxStreamsEach: int(c.CallerMaxStreams), MaxStreams: int(c.GRPCMaxStreams),
		Logger: logger,
	})
}
