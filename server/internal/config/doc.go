// Package config has the settings of the server: their names, defaults and helps, the files that secrets are read from,
// and the checks that refuse an unsafe or contradictory set.
//
// It does not know what the settings are used for: it opens no connection and starts nothing. The struct tags are those of
// alecthomas/kong.
package config
