package telemetry

import "runtime/debug"

// build returns what Go has recorded in this binary. A value is "unknown" if Go has not recorded it, such as the revision of a
// test binary.
func build() (version, revision, goVersion string) {
	version, revision, goVersion = "unknown", "unknown", "unknown"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return version, revision, goVersion
	}
	if info.Main.Version != "" {
		version = info.Main.Version
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			revision = setting.Value
		}
	}
	return version, revision, info.GoVersion
}
