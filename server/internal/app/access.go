package app

import (
	"log/slog"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/access"
	"example.com/verification-status/server/internal/config"
)

// CheckAccess reads the files that say who may call. Its error names every one that is not as it should
// be, a line each.
func CheckAccess(c *config.Config) error {
	_, err := access.Open(accessConfig(c, slog.New(slog.DiscardHandler)))
	return err
}

func (a *App) openAccess() (*access.Access, error) {
	settings := accessConfig(a.config, a.logger)
	settings.Observe = func(reason verificationv1.ErrorReason) { a.metrics.CallRefused(reason.String()) }
	settings.Reloaded = a.metrics.FileReloaded
	return access.Open(settings)
}

func accessConfig(c *config.Config, logger *slog.Logger) access.Config {
	return access.Config{
		CertFile: c.GRPCTLSCertFile, KeyFile: c.GRPCTLSKeyFile, ClientCAFile: c.GRPCClientCAFile,
		PolicyFile: c.GRPCAuthzPolicyFile, TokensFile: c.GRPCTokensFile,
		Rate: int(c.CallerRate), MaxStreamsEach: int(c.CallerMaxStreams), MaxStreams: int(c.GRPCMaxStreams),
		Logger: logger,
	}
}
