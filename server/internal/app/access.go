package app

import (
	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/access"
	"example.com/verification-status/server/internal/config"
	"example.com/verification-status/server/internal/reload"
)

// CheckAccess reads the files that say which callers may call. Its error names every file that is wrong, one line each.
func CheckAccess(c *config.Config) error {
	_, err := access.Open(accessConfig(c), reload.New(reload.Config{}))
	return err
}

func (a *App) openAccess() (*access.Access, error) {
	settings := accessConfig(a.config)
	settings.Logger = a.logger
	settings.Observe = func(reason verificationv1.ErrorReason) { a.metrics.CallRefused(reason.String()) }
	settings.Shed = a.shedding.Shed
	return access.Open(settings, a.files)
}

func accessConfig(c *config.Config) access.Config {
	return access.Config{
		CertFile: c.GRPCTLSCertFile, KeyFile: c.GRPCTLSKeyFile, ClientCAFile: c.GRPCClientCAFile,
		PolicyFile: c.GRPCAuthzPolicyFile, TokensFile: c.GRPCTokensFile,
		Rate: int(c.CallerRate), MaxStreams: int(c.GRPCMaxStreams),
		SharePercent: int(c.CallerSharePercent), MaxStreamsEach: int(c.CallerMaxStreams),
	}
}
